"""``labelwright evaluate``: a bundle's numbers on labelled rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.commands.opened import add_promise_options, add_text_option, named_text, open_bundle, with_image_texts
from labelwright.commands.shown import remarks, with_progress
from labelwright.data.asked.cells import columns_of
from labelwright.data.asked.rows import over_points, rejoined
from labelwright.data.choices import over_letters
from labelwright.data.records import Fault, Row, read_rows, refusal
from labelwright.data.task import Example, Task, examples_from_rows, group_keys, with_labels_of
from labelwright.errors import DataError
from labelwright.plain_text import printable

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.engines.protocol import Engine
    from labelwright.statistics.proportions import Interval


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which rows, and where in them the label is."""
    parser.add_argument(
        "--input", required=True, metavar="FILE", help="labelled rows: JSON, CSV, Parquet or a workbook"
    )
    add_text_option(parser)
    parser.add_argument(
        "--label-column",
        default="",
        metavar="NAME",
        help="column of the label (default: label, or where the bundle's questions have their answers)",
    )
    parser.add_argument(
        "--separator", metavar="TEXT", help="between the labels of a cell that has several (default: the bundle's)"
    )
    parser.add_argument(
        "--choices-column", default="choices", metavar="NAME", help="column of the row's choices (default: choices)"
    )
    parser.add_argument(
        "--similar-labels",
        choices=("refuse", "merge"),
        default="refuse",
        help="labels that differ from the bundle's only in how they are written, as 0 and 0.0 (default: refuse)",
    )
    parser.add_argument(
        "--group-column", metavar="NAME", help="rows of one group are not independent; the intervals allow for it"
    )
    add_promise_options(parser)
    parser.add_argument("--json", action="store_true", help="the numbers as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print each number with its interval; returns the exit status."""
    import numpy as np

    from labelwright.bundle.store import load
    from labelwright.decisions.measured import decided_metrics
    from labelwright.decisions.structured import structured_metrics
    from labelwright.decisions.whole_rows import joint_metrics, whole_rows
    from labelwright.statistics.intervals import bootstrap_intervals
    from labelwright.statistics.metrics import answers, checked

    task = load(arguments.bundle).task
    examples, names = _labelled(arguments, task), task.names
    bundle, engine = open_bundle(arguments)
    texts = [example.text for example in examples]
    of_row = rejoined(examples, task.points).row if task.points else range(len(texts))
    probs = np.concatenate(list(with_progress(_probabilities(texts, of_row, bundle, engine, arguments.input))))
    n_silent = int((answers(probs) < 0).sum())
    remarks(engine, n_silent)
    gold = np.array([names.index(example.label) for example in examples])
    # Answers to one row are not independent of each other.
    groups = group_keys(examples) if arguments.group_column or task.points else None
    metrics = bootstrap_intervals(bundle.decision.read(*checked(probs, gold)), gold, groups)
    metrics |= structured_metrics(task, bundle.decision, probs, gold, groups)
    metrics |= decided_metrics(bundle, probs, gold, groups, bundle.outside(texts, probs))
    whole = whole_rows(examples, probs, task, bundle.decision, groups) if task.points else None
    joint = joint_metrics(whole) if whole else None
    if arguments.json:
        counts = {"n_rows": len(examples)} if whole is None else {"n_rows": whole.n_rows, "n_answers": len(examples)}
        invalid = {"n_invalid": n_silent} if n_silent else {}
        rows = {"rows": _joint_as_json(*joint)} if joint else {}
        print(json.dumps({**counts, **invalid, "metrics": _as_json(metrics), **rows}))
    elif whole is None or joint is None:
        print(f"{len(examples)} rows, {len(names)} labels; value and 95 % interval")
        _print(metrics)
    else:
        print(f"{len(examples)} answers to {whole.n_rows} rows; value and 95 % interval\nanswers")
        _print(metrics)
        print("rows, all answers right")
        _print({"exact_match": joint[0]})
        for told in whole.questions:
            print(f"rows, {printable(told.question.name)} ({len(told.rows)} with an answer)")
            _print(joint[1][told.question.name])
    return 0


def _labelled(arguments: argparse.Namespace, task: Task) -> list[Example]:
    """The file's rows with their labels; where several points are asked of each, an example for each answer."""
    from labelwright.data.asked.asking import asking

    source, columns = arguments.input, {"text": named_text(arguments, task), "group": arguments.group_column}
    read, faults = read_rows(source)
    seen = list(with_image_texts([*read, *faults], arguments, task, Path(source).parent))
    if task.questions:
        if arguments.separator is not None:
            task = replace(task, separator=arguments.separator)
        asked = columns_of(task, arguments.label_column)
        rows = examples_from_rows(seen, columns, source)
        return [
            example for example, _ in over_points(rows, [one for one in seen if isinstance(one, Row)], asked, source)
        ]
    columns["label"] = arguments.label_column or "label"
    own_choices = bool(asking(task).columns)
    if own_choices:
        columns["choices"] = arguments.choices_column
    examples = examples_from_rows(seen, columns, source)
    if own_choices:
        examples = over_letters(examples, source)
    return with_labels_of(task.names, examples, source, arguments.similar_labels)


def _print(metrics: Mapping[str, Interval]) -> None:
    width = max(10, *map(len, metrics))
    for name, interval in metrics.items():
        print(f"  {name:{width}} {interval.value:7.3f}   {interval.low:z.3f} to {interval.high:z.3f}")


def _as_json(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in metrics.items()}


def _joint_as_json(exact: Interval, questions: Mapping[str, Mapping[str, Interval]]) -> dict[str, Any]:
    return {"exact_match": exact._asdict(), "questions": {name: _as_json(one) for name, one in questions.items()}}


def _probabilities(
    texts: Sequence[str], of_row: Sequence[int], bundle: Bundle, engine: Engine, source: str
) -> Iterator[Any]:
    """Probabilities of one text each, (1, n_labels), scored some at a time; then DataError for all rows that fail."""
    from labelwright.labelling import CHUNK_ROWS, score_rows

    faults = {}
    for start in range(0, len(texts), CHUNK_ROWS):
        for place, one in enumerate(score_rows(bundle, engine, texts[start : start + CHUNK_ROWS]), start=start):
            if isinstance(one, DataError):
                # Once a row, of which several answers are asked.
                faults[of_row[place]] = Fault(of_row[place] + 1, str(one))
            else:
                yield one[None]
    if faults:
        raise refusal(source, list(faults.values()))
