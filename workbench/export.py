"""The bundle that leaves the house: with golden rows, verified, and registered in MLflow.

By default the run's newest step; any rung of the comparison can be, whether a language model answers in it or not.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelwright.bundle import Bundle, load, save, verify
from labelwright.calibration import Calibration
from labelwright.engine import Weights
from labelwright.errors import BundleError, RecipeError
from labelwright.task import Example, by_label
from workbench.engines import size_bytes
from workbench.folder import read_json
from workbench.run import Session


def export_bundle(session: Session) -> Path:
    """Write ``bundle/`` in the run folder, check it, register it; returns its path.

    Raises
    ------
    BundleError
        If what was written does not give the probabilities that were recorded.
    RecipeError
        If the recipe wants a rung that was not compared.
    """
    folder = session.folder.path
    target, table = folder / "bundle", session.recipe.export
    golden = golden_rows(session.splits.dev, table.golden_rows)
    display = session.display
    display.progress(0, 3, "writing the bundle")
    rung = rung_to_export(session)
    bundle = rung_bundle(session, rung) if rung else session.newest_bundle()
    # Where it goes the recipe does not; what may stay unexpanded is part of what was measured.
    bundle = replace(bundle, unexpanded_mass=session.recipe.model.unexpanded_mass)
    merged = folder / ".merged"
    try:
        if table.merge and bundle.weights.adapter is not None:
            from labelwright.models import save_merged

            shutil.rmtree(merged, ignore_errors=True)
            save_merged(bundle.weights, merged)
            bundle = replace(bundle, weights=Weights(bundle.weights.base, full=merged))
        engine = session.engines(bundle.weights)
        saved = save(bundle, target, engine=engine, golden=golden, test=_test_metrics(session, rung))
    finally:
        shutil.rmtree(merged, ignore_errors=True)
    display.progress(1, 3, "scoring its golden rows again")
    found = verify(target, session.engines(saved.weights))
    if not found.ok:
        raise BundleError(f"{target}: the bundle does not give back what was recorded: {found.problems[0]}")
    display.progress(2, 3, "registering it in MLflow")
    uri = session.tracking.model(target, [row.text for row in golden[:2]])
    session.folder.state["export"] = {
        "rung": rung,
        "step": newest_step(session),
        "settings": export_settings(session),
        "model_uri": uri,
        "size_bytes": size_bytes(target),
    }
    session.folder.save()
    display.progress(3, 3, f"{found.n_golden} golden rows, largest difference {found.max_difference:.2g}")
    return target


def export_settings(session: Session) -> dict[str, Any]:
    """What an export depends on besides the step; a changed one is exported again."""
    table = session.recipe.export
    return {"rung": rung_to_export(session), "merge": table.merge, "golden_rows": table.golden_rows}


def newest_step(session: Session) -> str:
    """The folder of the run's last finished step; empty where it has none."""
    done = session.folder.done_steps()
    return str(done[-1]["folder"]) if done else ""


def rung_to_export(session: Session) -> str:
    """The rung that the recipe wants exported; empty for the run's newest step.

    Raises
    ------
    RecipeError
        If nothing was compared yet, that rung is not among what was, or it failed.
    """
    wanted = session.recipe.export.rung
    if not wanted:
        if not session.folder.done_steps():
            raise RecipeError("the run has no step of its own to export: name a rung, as in make export RUNG=ship")
        return ""
    path = session.folder.path / "report.json"
    if not path.is_file():
        raise RecipeError(f"export of rung {wanted!r}: nothing is compared yet; run make compare first")
    report = read_json(path)
    name = str(report["verdict"][wanted]) if wanted in ("best", "ship") else wanted
    usable = [rung["name"] for rung in report["rungs"] if not rung["failed"] and rung["kind"] != "free"]
    if name not in usable:
        raise RecipeError(f"export of rung {name!r}: expected best, ship, or one of {', '.join(usable)}")
    return name


def rung_bundle(session: Session, name: str) -> Bundle:
    """The bundle behind a rung, with the calibration that the comparison gave it."""
    ladder = session.ladder()
    result = ladder.result(ladder.jobs(name)[0])
    if result is None:
        raise RecipeError(f"export of rung {name!r}: what it was made of changed since; run make compare again")
    bundle = load(result["bundle"])
    written = {key: result["calibration"][key] for key in ("temperature", "bias")}
    fitted = Calibration.from_dict(written)
    entry = {"stage": "compare", "rung": name, "variant": result["calibration"]["variant"]}
    return bundle.with_stage(entry, calibration=bundle.calibration.then(fitted))


def golden_rows(dev: Sequence[Example], n_rows: int) -> list[Example]:
    """Rows to record, label by label in turn, so that each label is held as soon as there is room. Never from test."""
    queues = list(by_label(dev).values())
    rounds = max(map(len, queues), default=0)
    return [rows[i] for i in range(rounds) for rows in queues if i < len(rows)][:n_rows]


def _test_metrics(session: Session, name: str) -> dict[str, Any] | None:
    """Test metrics of the rung, or of the newest step, for the card, where the newest comparison has them."""
    path = session.folder.path / "report.json"
    if not path.is_file():
        return None
    wanted = ("name", name) if name else ("step", newest_step(session))
    rung = next((one for one in read_json(path)["rungs"] if one[wanted[0]] == wanted[1] and one["test"]), None)
    return {metric: value for metric, value in rung["test"].items() if value} if rung else None
