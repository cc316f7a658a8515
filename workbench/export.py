"""The bundle that leaves the house: with golden rows and aggregates of dev, verified, and registered in MLflow.

By default the run's newest step; any candidate of the comparison can be, whether a language model answers in it or not.
What was compared ships as it was measured: the bundle that the comparison kept, with the calibration it made. Nothing
is fitted here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.bundle.files import bundle_identity, recover
from labelwright.bundle.store import load, save, verify
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, by_label
from labelwright.errors import BundleError, RecipeError
from labelwright.files import folder_bytes, folder_digest
from labelwright.models.weights import Adapter, Full
from labelwright.statistics.metrics import Floats
from labelwright.watch.making import make_reference
from workbench.compare.board import Entry
from workbench.compare.jobs import Comparison, comparison_of
from workbench.compare.together.money import of_card
from workbench.recipe.stages import Pipeline
from workbench.report.report import read_report
from workbench.run.folder import RunFolder
from workbench.run.session import Session
from workbench.run.steps import settings_of


@dataclass(frozen=True)
class Source:
    """What is to be exported.

    Attributes
    ----------
    candidate : str
        As the recipe wants it; empty for the run's newest step.
    folder : Path
        Of the bundle: the one that was compared, else the step's own.
    measured : Entry, optional
        What the report has of that very bundle; None where it was not compared.
    money : mapping of str to float
        What the report says that answering with it costs, as a card has it; empty where it does not.
    """

    candidate: str
    folder: Path
    measured: Entry | None = None
    money: Mapping[str, float] = field(default_factory=dict)

    @property
    def test(self) -> Mapping[str, Any] | None:
        """Its test metrics as JSON has them; with ``passed_on``, a share of the rows, of one that leaves some."""
        if self.measured is None:
            return None
        hosted = self.measured.together.hosted if self.measured.together else None
        passed_on = {"passed_on": hosted.share} if hosted and hosted.threshold else {}
        return {key: one._asdict() for key, one in self.measured.test.items()} | passed_on


def export_bundle(session: Session) -> Path:
    """Write ``bundle/`` in the run folder, check it, register it; returns its path.

    Raises
    ------
    BundleError
        If what was written does not give the probabilities that were recorded.
    RecipeError
        If the recipe wants a candidate that was not compared.
    """
    folder = session.folder.path
    target, table = folder / "bundle", session.recipe.export
    golden = golden_rows(session.splits.dev, table.golden_rows)
    display = session.display
    display.progress(0, 3, "writing the bundle")
    source = source_of_export(session)
    settings = export_settings(session, source)
    # Where it goes the recipe does not; what may stay unexpanded, and what long rows are, is part of what was measured.
    model = session.recipe.model
    bundle = replace(load(source.folder), unexpanded_mass=model.unexpanded_mass, long_rows=model.long_rows)
    measured, merged = bundle.weights, folder / ".merged"
    try:
        if table.merge and isinstance(bundle.weights, Adapter):
            from labelwright.models.loading import save_merged

            shutil.rmtree(merged, ignore_errors=True)
            save_merged(bundle.weights, merged)
            bundle = replace(bundle, weights=Full(bundle.weights.base, merged))
        # What was measured answers the golden rows: where merging rounds the weights, the check below says how much.
        engine, splits = session.engines(measured), session.splits
        reference = None
        # What is counted is a label a row, and the words of whole rows.
        if table.watch_rows and not bundle.task.points:
            known = dev_answers(session, source, replace(bundle, weights=measured))
            reference = make_reference(bundle, engine, splits.train, splits.dev, table.watch_rows, known_probs=known)
        saved = save(
            bundle, target, engine=engine, golden=golden, test=source.test, reference=reference, money=source.money
        )
    finally:
        shutil.rmtree(merged, ignore_errors=True)
    display.progress(1, 3, "scoring its golden rows again")
    found = verify(target, session.engines(saved.weights))
    if not found.ok:
        raise BundleError(f"{target}: the bundle does not give back what was recorded: {found.problems[0]}")
    display.progress(2, 3, "registering it in MLflow")
    rows = test_rows_of(session, source.measured)
    uri = session.tracking.model(target, [row.text for row in golden[:2]], source.measured, rows)
    session.folder.state["export"] = {
        "candidate": source.candidate,
        "step": session.folder.newest_step,
        "settings": settings,
        "bundle": bundle_identity(target),
        "model_uri": uri,
        "size_bytes": folder_bytes(target),
    }
    session.folder.save()
    display.progress(3, 3, f"{found.n_golden} golden rows, largest difference {found.max_difference:.2g}")
    return target


def export_settings(session: Session, source: Source) -> dict[str, Any]:
    """What an exported bundle depends on: the one it is made of, the numbers on its card, the recipe's settings."""
    table = session.recipe.export
    made_of = [folder_digest(source.folder), source.test, *([dict(source.money)] if source.money else [])]
    rows = {"golden_rows": table.golden_rows, "watch_rows": table.watch_rows}
    return {"candidate": source.candidate, "source": made_of, "merge": table.merge, **rows}


def exported(folder: RunFolder) -> dict[str, Any] | None:
    """What is recorded of the run's exported bundle; None where there is none, or another one lies in its place.

    A bundle is in place before it is recorded. Killed in between, an export leaves a bundle that the record does not
    know: each names the other by its hashes.
    """
    record: dict[str, Any] | None = folder.state.get("export")
    target = folder.path / "bundle"
    recover(target)
    if record is None or not (target / "bundle.json").is_file():
        return None
    # Older runs recorded no identity.
    return record if record.get("bundle") in (None, bundle_identity(target)) else None


def source_of_export(session: Session) -> Source:
    """The bundle that the recipe wants exported, and its numbers.

    Raises
    ------
    RecipeError
        If nothing was compared yet, that candidate is not among what was, it failed, or it has changed since; or the
        newest step decides by other prices than the recipe's.
    """
    wanted = session.recipe.export.candidate
    comparison = comparison_of(session.recipe, session.folder, session.rows, session.splits)
    report = read_report(session.folder)
    if not wanted:
        done = session.folder.done_steps()
        if not done:
            raise RecipeError(
                "the run has no step of its own to export: name a candidate, as in make export CANDIDATE=ship"
            )
        if found := _newest(session, comparison):
            return found
        path = session.folder.bundle_path(done[-1])
        if load(path).task.costs != session.task.costs:
            raise RecipeError(
                f"export of {path}: [costs] changed since it was made; run make optimize or make demo again"
            )
        return Source("", path)
    if report is None:
        raise RecipeError(f"export of candidate {wanted!r}: nothing is compared yet; run make compare first")
    name = {"best": report.verdict.best, "ship": report.verdict.ship}.get(wanted, wanted)
    usable = [entry.name for entry in report.scored if entry.kind != "free"]
    if name not in usable:
        raise RecipeError(f"export of candidate {name!r}: expected best, ship, or one of {', '.join(usable)}")
    found = _compared(session, comparison, name, name)
    if found is None:
        raise RecipeError(f"export of candidate {name!r}: what it was made of changed since; run make compare again")
    return found


def _newest(session: Session, comparison: Comparison) -> Source | None:
    """The run's newest step as it was compared; None where what was compared is another tuning or calibration."""
    last = session.folder.done_steps()[-1]
    tuning = [step for step in session.folder.done_steps() if step["stage"] not in ("untuned", "calibrate")]
    name = Pipeline(tuple(step["stage"] for step in tuning)).name
    if name not in comparison.names:
        return None
    steps = comparison.steps(comparison.jobs(name)[0])
    alike = [step.key for step in steps] == [step["key"] for step in tuning]
    if last["stage"] == "calibrate":
        alike &= last["settings"] == settings_of(comparison.calibration())
    return _compared(session, comparison, name, "") if alike else None


def _compared(session: Session, comparison: Comparison, name: str, candidate: str) -> Source | None:
    """A candidate as the newest report measured it; None where the report does not speak of it as it is now."""
    report = read_report(session.folder)
    if report is None or name not in comparison.names:
        return None
    job = comparison.jobs(name)[0]
    place = comparison.place(job)
    if session.folder.state["compare"]["candidates"].get(name) != place.name or comparison.result(job) is None:
        return None
    found = report.entry(name)
    if found.failed:
        return None
    return Source(candidate, place, found, of_card(found, report.money, report.person))


def dev_answers(session: Session, source: Source, bundle: Bundle) -> Floats | None:
    """What the bundle answers to dev, (n_dev, n_labels), where it was asked; None where nobody did.

    The comparison keeps it beside the bundle that it measured; a step leaves scores, which the bundle's calibration
    makes into the same.
    """
    if source.measured is not None:
        with np.load(source.folder.with_suffix(".npz"), allow_pickle=False) as kept:
            # One that is made of others was chosen on what these said.
            answers: Floats | None = kept.get("dev")
            return answers
    stored = session.steps.scores()
    scores = None if stored is None else stored.known(bundle, session.splits.dev)
    return None if scores is None else bundle.calibration.apply(scores)


def test_rows_of(session: Session, measured: Entry | None) -> list[tuple[str, bool, str | None, float | None]]:
    """Every test row's id, whether the bundle was right on it, its group, and with prices what the answer cost.

    None where it was not compared.
    """
    if measured is None:
        return []
    lines = (session.folder.path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    given = [(row, row["candidates"][measured.name]) for row in rows]
    return [(row["id"], one["label"] == row["label"], row["group"], one.get("cost")) for row, one in given]


def golden_rows(dev: Sequence[Example], n_rows: int) -> list[Example]:
    """Rows to record, label by label in turn, so that each label is held as soon as there is room. Never from test."""
    queues = list(by_label(dev).values())
    rounds = max(map(len, queues), default=0)
    return [rows[i] for i in range(rounds) for rows in queues if i < len(rows)][:n_rows]
