"""The bundle that leaves the house: the newest step's, with golden rows, verified, and registered in MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelwright.bundle import load, save, verify
from labelwright.engine import Weights
from labelwright.errors import BundleError
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
    """
    folder = session.folder.path
    step = session.folder.done_steps()[-1]
    target, table = folder / "bundle", session.recipe.export
    golden = golden_rows(session.splits.dev, table.golden_rows)
    display = session.display
    display.progress(0, 3, "writing the bundle")
    bundle = load(session.folder.bundle_path(step))
    merged = folder / ".merged"
    try:
        if table.merge and bundle.weights.adapter is not None:
            from labelwright.models import save_merged

            shutil.rmtree(merged, ignore_errors=True)
            save_merged(bundle.weights, merged)
            bundle = replace(bundle, weights=Weights(bundle.weights.base, full=merged))
        engine = session.engines(bundle.weights)
        saved = save(bundle, target, engine=engine, golden=golden, test=_test_metrics(session, step))
    finally:
        shutil.rmtree(merged, ignore_errors=True)
    display.progress(1, 3, "scoring its golden rows again")
    found = verify(target, session.engines(saved.weights))
    if not found.ok:
        raise BundleError(f"{target}: the bundle does not give back what was recorded: {found.problems[0]}")
    display.progress(2, 3, "registering it in MLflow")
    uri = session.tracking.model(target, [row.text for row in golden[:2]])
    session.folder.state["export"] = {
        "step": step["folder"],
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
    return {"merge": table.merge, "golden_rows": table.golden_rows}


def golden_rows(dev: Sequence[Example], n_rows: int) -> list[Example]:
    """Rows to record, label by label in turn, so that each label is held as soon as there is room. Never from test."""
    queues = list(by_label(dev).values())
    rounds = max(map(len, queues), default=0)
    return [rows[i] for i in range(rounds) for rows in queues if i < len(rows)][:n_rows]


def _test_metrics(session: Session, step: Mapping[str, Any]) -> dict[str, Any] | None:
    """The step's test metrics, for the card, where the newest comparison has them."""
    path = session.folder.path / "report.json"
    if not path.is_file():
        return None
    rung = next((one for one in read_json(path)["rungs"] if one["step"] == step["folder"] and one["test"]), None)
    return {name: value for name, value in rung["test"].items() if value} if rung else None
