"""``labelwright evaluate``: a bundle's numbers on labelled rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.commands.opened import add_promise_options, add_text_option, named_text, open_bundle, with_image_texts
from labelwright.commands.shown import remarks, with_progress
from labelwright.data.choices import over_letters
from labelwright.data.records import Fault, read_rows, refusal
from labelwright.data.task import examples_from_rows, group_keys, with_labels_of
from labelwright.errors import DataError

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.engines.protocol import Engine


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which rows, and where in them the label is."""
    parser.add_argument(
        "--input", required=True, metavar="FILE", help="labelled rows: JSON, CSV, Parquet or a workbook"
    )
    add_text_option(parser)
    parser.add_argument("--label-column", default="label", metavar="NAME", help="column of the label (default: label)")
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
    from labelwright.statistics.intervals import bootstrap_intervals
    from labelwright.statistics.metrics import answers, checked

    task = load(arguments.bundle).task
    columns = {"text": named_text(arguments, task), "label": arguments.label_column, "group": arguments.group_column}
    if task.by_row:
        columns["choices"] = arguments.choices_column
    rows, faults = read_rows(arguments.input)
    seen = with_image_texts([*rows, *faults], arguments, task, Path(arguments.input).parent)
    examples = examples_from_rows(seen, columns, arguments.input)
    names = task.names
    if task.by_row:
        examples = over_letters(examples, arguments.input)
    examples = with_labels_of(names, examples, arguments.input, arguments.similar_labels)
    bundle, engine = open_bundle(arguments)
    texts = [example.text for example in examples]
    probs = np.concatenate(list(with_progress(_probabilities(texts, bundle, engine, arguments.input))))
    n_silent = int((answers(probs) < 0).sum())
    remarks(engine, n_silent)
    gold = np.array([names.index(example.label) for example in examples])
    groups = group_keys(examples) if arguments.group_column else None
    metrics = bootstrap_intervals(bundle.decision.read(*checked(probs, gold)), gold, groups)
    metrics |= structured_metrics(task, bundle.decision, probs, gold, groups)
    metrics |= decided_metrics(bundle, probs, gold, groups, bundle.outside(texts, probs))
    if arguments.json:
        numbers = {name: interval._asdict() for name, interval in metrics.items()}
        invalid = {"n_invalid": n_silent} if n_silent else {}
        print(json.dumps({"n_rows": len(examples), **invalid, "metrics": numbers}))
        return 0
    print(f"{len(examples)} rows, {len(names)} labels; value and 95 % interval")
    width = max(10, *map(len, metrics))
    for name, interval in metrics.items():
        print(f"  {name:{width}} {interval.value:7.3f}   {interval.low:z.3f} to {interval.high:z.3f}")
    return 0


def _probabilities(texts: Sequence[str], bundle: Bundle, engine: Engine, source: str) -> Iterator[Any]:
    """Probabilities of one row each, (1, n_labels), scored some rows at a time; then DataError for all that fail."""
    from labelwright.labelling import CHUNK_ROWS, score_rows

    faults = []
    for start in range(0, len(texts), CHUNK_ROWS):
        for number, one in enumerate(score_rows(bundle, engine, texts[start : start + CHUNK_ROWS]), start=start + 1):
            if isinstance(one, DataError):
                faults.append(Fault(number, str(one)))
            else:
                yield one[None]
    if faults:
        raise refusal(source, faults)
