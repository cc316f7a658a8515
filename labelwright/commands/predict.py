"""``labelwright predict``: texts from the command line, stdin or a file, and their labels."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.bulk import job, options
from labelwright.commands.opened import add_promise_options, add_text_option, open_bundle, reading, with_image_texts
from labelwright.commands.shown import Faults, picture, remarks, with_progress
from labelwright.data.columns import TEXT
from labelwright.data.formats.places import files_meant, is_url, place_of
from labelwright.data.records import Fault, Row, scan_jsonl, scan_lines, scan_records
from labelwright.errors import DataError

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.engines.protocol import Engine

_STDIN = "-"
# Typed texts are few and a pipe may be slow: small chunks, so that answers follow soon.
_TYPED_CHUNK_ROWS = 16


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is labelled, and how it is written."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to label; - reads one a line from stdin")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="rows to label: JSON, CSV, Parquet or a workbook, files by a pattern, or a URL; - is JSONL on stdin",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where labelled rows go, as .jsonl (default: stdout); with --engine a folder, too",
    )
    add_text_option(parser)
    parser.add_argument(
        "--choices", nargs="+", metavar="CHOICE", help="what to choose from, where rows bring their own choices"
    )
    parser.add_argument(
        "--choices-column", default="choices", metavar="NAME", help="column of the row's choices (default: choices)"
    )
    add_promise_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a text, with its probabilities")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="probabilities of the N likeliest labels alone, and of what is said (default: all)",
    )
    options.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Label what is given; returns the exit status."""
    if bool(arguments.texts) == (arguments.input is not None):
        raise DataError('predict: expected either texts or --input FILE; try: labelwright predict BUNDLE "a text"')
    if arguments.input is None and arguments.output is not None:
        raise DataError("predict: --output goes with --input FILE; texts are answered on stdout")
    if arguments.top is not None and arguments.top < 1:
        raise DataError(f"--top {arguments.top}: expected 1 or more labels")
    options.check(arguments)
    if arguments.engine is not None:
        return job.run(arguments)
    if arguments.output is not None and Path(arguments.output).suffix.lower() != ".jsonl":
        raise DataError(f"{arguments.output}: expected an output file ending in .jsonl")
    if arguments.output is not None and is_url(arguments.output):
        raise DataError("--output: a URL is written by --engine processes or ray; name one of them, or a file here")
    return _predict_texts(arguments) if arguments.input is None else _predict_rows(arguments)


def _predict_texts(arguments: argparse.Namespace) -> int:
    from labelwright.labelling import JsonLines, label_rows

    typed = (Row(number, {"text": text}) for number, text in enumerate(arguments.texts, start=1))
    source = "stdin" if arguments.texts == [_STDIN] else "texts"
    rows = _first_read(scan_lines(sys.stdin.buffer, source) if source == "stdin" else typed)
    if arguments.choices:
        rows = (_with_choices(row, arguments.choices) for row in rows)
    bundle, engine = open_bundle(arguments)
    faults = Faults()
    columns: dict[str, Any] = {"text": TEXT, "source": source, "top": arguments.top}
    with JsonLines() as output:
        for row in faults.told(label_rows(rows, bundle, engine, **columns, chunk_rows=_TYPED_CHUNK_ROWS)):
            if arguments.json:
                output.write(row)
            elif "error" not in row:
                print(picture(row), flush=True)
    remarks(engine)
    return faults.status


def _predict_rows(arguments: argparse.Namespace) -> int:
    from labelwright.labelling import JsonLines

    is_stdin = arguments.input == _STDIN
    sources = ["stdin"] if is_stdin else files_meant(arguments.input)
    first = _first_read(scan_jsonl(sys.stdin.buffer, "stdin") if is_stdin else scan_records(sources[0]))
    faults = Faults()
    with JsonLines(arguments.output) as output:
        bundle, engine = open_bundle(arguments)
        files = ((source, scan_records(source) if n else first) for n, source in enumerate(sources))
        for row in with_progress(faults.told(_labelled(files, arguments, bundle, engine, is_stdin))):
            output.write(row)
    remarks(engine)
    return faults.status


def _labelled(
    files: Iterable[tuple[str, Iterator[Row | Fault]]],
    arguments: argparse.Namespace,
    bundle: Bundle,
    engine: Engine,
    is_stdin: bool,
) -> Iterator[dict[str, Any]]:
    """The rows of one file after another, each with its answer."""
    from labelwright.labelling import label_rows

    for source, rows in files:
        place = None if is_stdin else place_of(source)
        folder = place.parent if isinstance(place, Path) else None
        yield from label_rows(
            with_image_texts(rows, arguments, bundle.task, folder), bundle, engine, **reading(arguments, bundle, source)
        )


def _first_read(rows: Iterator[Row | Fault]) -> Iterator[Row | Fault]:
    """The same rows, the first one read already: a file that cannot be read is refused before a model is loaded."""
    first = next(rows, None)
    if first is None:
        raise DataError("stdin: nothing to label; expected one text a line, or with --input - one JSON object a line")
    return itertools.chain([first], rows)


def _with_choices(row: Row | Fault, choices: Sequence[str]) -> Row | Fault:
    return Row(row.number, {**row.record, "choices": choices}) if isinstance(row, Row) else row
