"""The comparison as files: ``report.json`` (schema in docs/report.schema.json), ``report.md`` and ``rows.jsonl``.

Numbers are put into JSON here, into words in ``workbench.report.markdown``. Nothing is computed that the leaderboard
could have: only counts over the rows of the candidates that matter most (best, shipped, tuned).
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from labelwright.data.task import Example
from labelwright.statistics.intervals import Interval, wilson
from labelwright.statistics.metrics import answers, confusion, per_label
from workbench.compare.board import Difference, Leaderboard, Line
from workbench.compare.candidate import Candidate
from workbench.report.markdown import report_markdown, table

__all__ = ["FORMAT", "machine", "report_json", "report_markdown", "rows_jsonl", "table"]

FORMAT = "labelwright-report-3"
# How many mistakes are shown: what a person reads in one sitting.
_N_MISTAKES = 20
# How many labels of a row get a probability in rows.jsonl: all of 77 would make a comparison's file of 200 MB.
_N_LIKELIEST = 20


def report_json(
    board: Leaderboard,
    *,
    run: Mapping[str, Any],
    splits: Mapping[str, Any],
    labels: Sequence[str],
    stages: Sequence[Any],
    test: Sequence[Example],
) -> dict[str, Any]:
    """The report as a JSON value.

    Parameters
    ----------
    run : mapping
        recipe, run (the folder's stamp), command and machine.
    splits, stages
        Rows a side with the digest, and what every stage of the run did; as in the schema.
    labels : sequence of str
        In the order of the columns of ``Candidate.probs``.
    test : sequence of Example
        The rows behind the board.
    """
    verdict = board.verdict
    return {
        "format": FORMAT,
        **run,
        "verdict": {
            "text": verdict.text,
            "cautions": list(verdict.cautions),
            "best": verdict.best,
            "as_good": list(verdict.as_good),
            "not_told_apart": list(verdict.not_told_apart),
            "margin": verdict.margin,
            "n_rows_needed": verdict.n_rows_needed,
            "ship": verdict.ship,
            "tuned": verdict.tuned,
            "best_baseline": verdict.best_baseline,
            "difference": _interval(verdict.difference),
            "p_value": verdict.p_value,
        },
        "splits": dict(splits),
        "labels": list(labels),
        "candidates": [_candidate_json(line) for line in board.lines],
        "frontier": list(board.frontier),
        "tables": {line.candidate.name: _tables(line, board, labels, test) for line in _told(board)},
        "suspects": [asdict(one) for one in board.suspects],
        "stages": list(stages),
    }


def rows_jsonl(board: Leaderboard, test: Sequence[Example], labels: Sequence[str]) -> str:
    """One line a test row: id, text, label, and every candidate's label and calibrated probabilities.

    Where there are more than 20 labels, only the likeliest 20 of a candidate are given, in the order of the labels.
    Free text has no probabilities, and where it is no label, its label is null.
    """
    told = {line.candidate.name: _likeliest(line.candidate) for line in board.lines if not line.candidate.failed}
    lines = []
    for i, row in enumerate(test):
        given: dict[str, dict[str, Any]] = {}
        for name, (chosen, shown, values) in told.items():
            given[name] = {"label": labels[chosen[i]] if 0 <= chosen[i] < len(labels) else None}
            if shown is not None and values is not None:
                pairs = zip(shown[i].tolist(), values[i].tolist(), strict=True)
                given[name]["probabilities"] = {labels[k]: round(value, 6) for k, value in pairs}
        value = {"id": row.id, "text": row.text, "label": row.label, "group": row.group, "candidates": given}
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def _likeliest(candidate: Candidate) -> tuple[Any, Any, Any]:
    """A candidate's answers (n_test,), and its likeliest labels' positions and probabilities, each (n_test, shown)."""
    probs = candidate.probs
    chosen = answers(probs)
    if candidate.kind == "free":
        return chosen, None, None
    shown = np.sort(np.argsort(-probs, axis=1, kind="stable")[:, :_N_LIKELIEST], axis=1)
    return chosen, shown, np.take_along_axis(probs, shown, axis=1)


def machine() -> str:
    """What ran this: processor, cores, memory, accelerator if there is one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    text = f"{system}, Python {platform.python_version()}"
    import torch

    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else text


def _candidate_json(line: Line) -> dict[str, Any]:
    candidate = line.candidate
    return {
        "name": candidate.name,
        "about": candidate.about,
        "kind": candidate.kind,
        "step": candidate.step,
        "failed": candidate.failed or None,
        "test": {name: _interval(interval) for name, interval in line.test.items()},
        "raw": {name: _interval(interval) for name, interval in line.raw.items()},
        "calibration": dict(candidate.calibration),
        "n_only_this": line.n_only_this,
        "n_only_best": line.n_only_best,
        "standing": line.standing or None,
        "against_best": line.against_best and {name: _difference(one) for name, one in line.against_best.items()},
        "spread": {side: {"n": one.n, "mean": dict(one.mean), "sd": dict(one.sd)} for side, one in line.spread.items()},
        "repeats": [
            {"split_seed": one.split_seed, "seed": one.seed, "scores": dict(one.scores)} for one in candidate.repeats
        ],
        "curve": [asdict(point) for point in candidate.curve],
        "cost": dict(candidate.cost),
        "generation": _generation(candidate),
        "outside": dict(candidate.outside) or None,
    }


def _generation(candidate: Candidate) -> dict[str, Any] | None:
    """How often answers in free text are a label, and how often the right one."""
    if not candidate.generation:
        return None
    n_rows = int(candidate.generation["n_rows"])
    return {
        "n_rows": n_rows,
        **{name: _interval(wilson(candidate.generation[name], n_rows)) for name in ("valid", "right")},
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {"value": _interval(one.value), "p_value": one.p_value, "p_holm": one.p_holm}


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()


def _told(board: Leaderboard) -> list[Line]:
    """The lines whose labels and mistakes are told: best, shipped and tuned, each once."""
    verdict = board.verdict
    names = dict.fromkeys(name for name in (verdict.best, verdict.ship, verdict.tuned) if name)
    return [line for line in map(board.line, names) if line.candidate.kind != "free"]


def _tables(line: Line, board: Leaderboard, labels: Sequence[str], test: Sequence[Example]) -> dict[str, Any]:
    """Scores of every label, the confusion counts, and the mistakes made with most confidence."""
    probs, gold = line.candidate.probs, board.gold
    confidence, said = probs.max(axis=1), answers(probs)
    wrong = np.flatnonzero(said != gold)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_N_MISTAKES]
    return {
        "labels": per_label(probs, gold, labels),
        "confusion": confusion(probs, gold).tolist(),
        "mistakes": [
            {
                "id": test[i].id,
                "text": test[i].text,
                "label": labels[gold[i]],
                "answer": [*labels, "no answer"][said[i]],
                "confidence": float(confidence[i]),
            }
            for i in surest.tolist()
        ],
    }
