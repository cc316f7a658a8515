"""What single rows have to say, as entries: answers on the test rows, and rows that a person is asked about.

A row becomes a trace of MLflow's, the one thing there that has an input, an output and assessments. Which trace that is
follows from the run and the row, so that what is written twice stands there once, and what is asked for in a run's
folder is found again in its store. Knows nothing of MLflow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from labelwright.errors import DataError
from labelwright.files import read_json, short_hash, write_json
from labelwright.settings import shown
from workbench.compare.details import AnsweredRow, DoubtedRow
from workbench.tracking import entries
from workbench.tracking.journal import Entry

# Rows of one entry: few enough that a store which takes an entry's patience for them is as good as away.
CHUNK = 20
# How the key of an evaluation run begins; then follow the candidate and the evaluation's digest.
EVALUATION = "evaluation"
# What a person is asked about a row, and may answer. MLflow takes ten options at most, of 64 characters, so labels can
# be none of them.
DECISION = "decision"
KEEP, TAKE, OTHER, DROP = (
    "the given label is right", "the suggested label is right", "another label is right, named below", "drop the row",
)  # fmt: skip
DECISIONS = (KEEP, TAKE, OTHER, DROP)
# The store's own limit for what it shows of a trace's input and output.
_LONGEST = 1000


def evaluation(
    rows: Sequence[AnsweredRow],
    numbers: Mapping[str, Mapping[str, float]],
    digest: str,
    dataset: str,
    keys: Mapping[str, str] = MappingProxyType({}),
) -> list[Entry]:
    """The rows as an evaluation dataset, and each candidate's answers to them as an evaluation run.

    Parameters
    ----------
    numbers : mapping of candidate to mapping of metric to float
        On all test rows.
    digest : str
        Of the evaluation; another one is another run.
    dataset : str
        Its name.
    keys : mapping of candidate to str
        Of the runs that its models belong to.
    """
    told: list[Entry] = [
        {"op": "evaluation_dataset", "name": dataset, "rows": [[row.id, row.text, row.label] for row in part]}
        for part in _chunks(rows)
    ]
    for name, metrics in numbers.items():
        key = f"{EVALUATION} {name} {digest}"
        told.append(entries.run(key, evaluation_name(name), {"candidate": name, "mlflow.runType": "genai_evaluate"}))
        told.append({"op": "evaluated", "run": key, "candidate": name, "dataset": dataset, "of": keys.get(name, "")})
        told += entries.metrics(key, metrics)
        for number, part in enumerate(_chunks(rows)):
            answers = [[row.id, row.text, row.label, *row.answers[name]] for row in part]
            told.append({"op": "answers", "run": key, "candidate": name, "rows": answers, "first": number * CHUNK})
        told.append(entries.status(key, "FINISHED"))
    told.append({"op": "newest_evaluation", "digest": digest})
    return told


def evaluation_name(candidate: str, is_newest: bool = True) -> str:
    """What people read of an evaluation run."""
    return f"{candidate}, rows" if is_newest else f"{candidate}, rows of an earlier comparison"


def evaluation_digest(rows: Sequence[AnsweredRow]) -> str:
    """A hash of the rows and all answers to them."""
    return short_hash([asdict(row) for row in rows])


def review(rows: Sequence[DoubtedRow], queue: str, labels: Sequence[str]) -> list[Entry]:
    """The rows as a queue of MLflow's, for people to answer; it shows first what came last, so the first come last."""
    return [
        {"op": "review", "queue": queue, "labels": list(labels), "rows": [asdict(row) for row in part]}
        for part in reversed(_chunks(rows))
    ]


def other_label(recipe: str) -> str:
    """The question for another label: recipes of one experiment have different labels."""
    return f"other label of {recipe}"


def trace_id(run_id: str, *about: str) -> str:
    """The trace of a row, from its run in the store and what tells it from the run's other rows; 35 characters.

    >>> len(trace_id("4f42483673", "review", "row-1", "pool"))
    35
    """
    return "tr-" + hashlib.sha256(json.dumps([run_id, *about]).encode()).hexdigest()[:32]


def review_trace(run_id: str, row: Mapping[str, Any]) -> str:
    """The trace under which a run's store asks about a row; with another label it is another question."""
    return trace_id(run_id, "review", row["id"], row["label"])


def preview(value: Mapping[str, Any]) -> str:
    """The value as the store shows it: JSON of at most 1,000 characters, in which long texts are cut.

    MLflow shows JSON as it stands and any other text as Markdown, in which a row could load pictures from elsewhere.

    >>> print(preview({"text": "![](http://x)", "row": "r"}))
    {"text": "![](http://x)", "row": "r"}
    >>> len(preview({"text": "x" * 5000, "row": "r"})) <= 1000
    True
    """
    for longest in (_LONGEST, 800, 300, 100, 25):
        cut = {key: _cut(one, longest) if isinstance(one, str) else one for key, one in value.items()}
        found = json.dumps(cut, ensure_ascii=False)
        if len(found) <= _LONGEST:
            break
    return found


def keep_asked(path: Path, rows: Sequence[DoubtedRow]) -> None:
    """Write down what is asked in a run; what was asked before stays, for it may be answered."""
    known = {(row.id, row.label): row for row in read_asked(path)}
    path.parent.mkdir(exist_ok=True)
    write_json(path, [asdict(row) for row in {**known, **{(row.id, row.label): row for row in rows}}.values()])


def read_asked(path: Path) -> list[DoubtedRow]:
    """What ``keep_asked`` wrote; nothing where it wrote nothing.

    Raises
    ------
    DataError
        The file was changed by hand, or is another version's.
    """
    try:
        return [DoubtedRow(**row) for row in read_json(path)] if path.is_file() else []
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({shown(str(error))}): run make compare again") from error


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _chunks(rows: Sequence[Any]) -> list[Sequence[Any]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
