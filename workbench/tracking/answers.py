"""What people answered in the tracking store, read back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.entities.assessment import AssessmentSourceType
from mlflow.tracing.client import TracingClient

from labelwright.plain_text import without_passwords
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RunFolder
from workbench.tracking.delivery import OPEN_S
from workbench.tracking.journal import read_made, within
from workbench.tracking.recorder import quiet
from workbench.tracking.rows import DECISION, DoubtedRow, other_label, review_trace
from workbench.tracking.store import TrackingError, absolute, prepare_store, sqlite_path

_BATCH = 100


@dataclass(frozen=True)
class Said:
    """What one person said of a row: a decision and, where they named one, a label; "" for what they left open.

    Attributes
    ----------
    at_ms : int
        When, in milliseconds since 1970.
    comment : str
        What they wrote beside the decision.
    """

    who: str
    at_ms: int
    decision: str = ""
    label: str = ""
    comment: str = ""


def read_said(recipe: Recipe, folder: RunFolder, rows: Sequence[DoubtedRow]) -> list[list[Said]]:
    """What people said of each of a run's rows: everyone's newest word, the earliest first.

    Raises
    ------
    TrackingError
        The store is not there, fails or does not answer, or is another one than the run was recorded in.
    """
    quiet()
    uri, told = absolute(recipe.tracking.resolved_uri()), read_made(folder)
    shown = without_passwords(uri)
    path = sqlite_path(uri)
    if not told.get("run_id") or (path is not None and not path.is_file()):
        raise TrackingError(f"run {folder.path.name} is not recorded in {shown} yet: run make compare again")
    if told.get("uri") != shown:
        raise TrackingError(
            f"run {folder.path.name} was recorded in {told.get('uri')}, and the store is {shown} now: set "
            "MLFLOW_TRACKING_URI to where people answered"
        )
    ids = [review_trace(told["run_id"], {"id": row.id, "label": row.label}) for row in rows]

    def ask() -> dict[str, Any]:
        store = TracingClient(uri).store
        found = [store.batch_get_trace_infos(ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH)]
        return {info.trace_id: info for part in found for info in part}

    try:
        prepare_store(uri)
        infos = within(ask, OPEN_S)
    except TrackingError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise TrackingError(f"{shown} failed: {without_passwords(first)[:300]}; try again when it is there") from error
    return [_said(infos[id], other_label(recipe.name)) if id in infos else [] for id in ids]


def _said(info: Any, other: str) -> list[Said]:
    """Everyone's newest word on one trace."""
    newest: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in sorted(info.assessments, key=lambda one: one.last_update_time_ms or 0):
        is_a_persons = one.source.source_type == AssessmentSourceType.HUMAN and one.valid is not False
        if is_a_persons and one.name in (DECISION, other):
            newest[one.source.source_id][one.name] = one
    said = []
    for who, words in newest.items():
        decision, label = (str(words[name].value).strip() if name in words else "" for name in (DECISION, other))
        at_ms = max(one.last_update_time_ms or 0 for one in words.values())
        comment = next((one.rationale for one in words.values() if one.rationale), "")
        said.append(Said(who, at_ms, decision, label, comment))
    return sorted(said, key=lambda one: one.at_ms)
