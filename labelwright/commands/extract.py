"""``labelwright extract``: images or rows in, JSON out by a schema, a line each."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labelwright import console
from labelwright.commands.asked import asked_lines
from labelwright.commands.opened import add_model_options, open_bundle
from labelwright.commands.shown import with_progress
from labelwright.errors import DataError
from labelwright.pictures.kept import Reader, kept_folder
from labelwright.pictures.opening import read_image
from labelwright.pictures.typed.extraction import Classifier, extract
from labelwright.pictures.typed.schema import Field, read_schema
from labelwright.plain_text import printable_line

_SHOWN_REASONS = 3


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which images or rows, what is looked for in them, and who answers."""
    parser.add_argument("--schema", required=True, metavar="FILE", help="JSON Schema of an object: what is looked for")
    parser.add_argument("--images", nargs="+", metavar="IMAGE", help="PNG, JPEG, GIF, BMP, TIFF or WebP")
    parser.add_argument("--input", metavar="FILE", help="rows, with --model: JSON, CSV, Parquet or a workbook")
    parser.add_argument(
        "--text-column", action="append", metavar="NAME", help="of --input; once for each (default: text)"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a language model, or a folder: it scores enumerations and writes free fields under a grammar. Images are "
        "shown to one that reads them, and read by OCR for others (default: OCR and captions alone)",
    )
    parser.add_argument(
        "--bundle",
        action="append",
        default=[],
        metavar="FIELD=FOLDER",
        help="the bundle that answers an enumeration; once for each",
    )
    parser.add_argument("--output", metavar="FILE", help="where the lines go, as .jsonl (default: stdout)")
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write ``image`` or ``row``, ``data`` and ``missing`` (why a field is null) a line; 1 where one could not be read.

    Raises
    ------
    DataError, ModelError
        Options that do not go together; a schema, bundle or model that cannot be opened.
    """
    from labelwright.labelling import JsonLines

    _refuse_mixed(arguments)
    if arguments.output is not None and Path(arguments.output).suffix.lower() != ".jsonl":
        raise DataError(f"{arguments.output}: expected an output file ending in .jsonl")
    fields = read_schema(arguments.schema)
    if arguments.model is not None:
        lines = asked_lines(arguments, fields)
    else:
        classifiers = dict(_classifiers(arguments, fields))
        lines = _lines(arguments.images, fields, classifiers, Reader(folder=kept_folder()))
    told = _Told(fields, "images" if arguments.input is None else "rows")
    with JsonLines(arguments.output) as output:
        for line in with_progress(lines):
            told.add(line)
            output.write(line)
    return told.status


def _refuse_mixed(arguments: argparse.Namespace) -> None:
    if (arguments.images is None) == (arguments.input is None):
        raise DataError("extract: expected either --images or --input FILE")
    if arguments.input is not None and arguments.model is None:
        raise DataError("extract: --input needs --model NAME; without a model fields are looked for on images")
    if arguments.text_column and arguments.input is None:
        raise DataError("extract: --text-column goes with --input FILE")
    if arguments.model is not None and arguments.bundle:
        raise DataError("extract: either --model or --bundle: a model answers all fields by itself")


def _lines(
    images: Sequence[str], fields: Sequence[Field], classifiers: dict[str, Classifier], reader: Reader
) -> Iterator[dict[str, Any]]:
    for image in images:
        try:
            found = extract(reader.page(read_image(image)), fields, classifiers)
        except DataError as error:
            yield {"image": image, "data": None, "error": str(error)}
        else:
            yield {"image": image, "data": found.values, "missing": found.reasons}


def _classifiers(arguments: argparse.Namespace, fields: Sequence[Field]) -> Iterator[tuple[str, Classifier]]:
    """By field. Raises DataError for a field that is no enumeration, or a bundle whose labels are not in it."""
    by_name = {field.name: field for field in fields if field.kind == "enum"}
    for said in arguments.bundle:
        name, equals, folder = said.partition("=")
        if not equals or name not in by_name:
            known = ", ".join(by_name) or "none"
            raise DataError(f"--bundle {said}: expected FIELD=FOLDER of an enumeration; the schema has {known}")
        yield name, _classifier(arguments, Path(folder), by_name[name])


def _classifier(arguments: argparse.Namespace, folder: Path, field: Field) -> Classifier:
    from labelwright.data.asked.asking import asking
    from labelwright.decisions.answered import answer
    from labelwright.labelling import score_rows

    bundle, engine = open_bundle(arguments, folder)
    known = asking(bundle.task).known
    if known is None or not known <= {*field.choices}:
        raise DataError(f"{folder}: its labels are not among the values of {field.name!r}: name a bundle of these")

    def classify(text: str) -> str | None:
        (probs,) = score_rows(bundle, engine, [text])
        if isinstance(probs, DataError):
            return None
        outside = None if bundle.scope is None else bool(bundle.outside([text], probs[None])[0])
        label: str | None = answer(bundle, probs, None, outside)["label"]
        return label

    return classify


class _Told:
    """Counts by field what was found, and why the rest was not, for stderr."""

    def __init__(self, fields: Sequence[Field], what: str) -> None:
        self._what = what
        self._found: Counter[str] = Counter()
        self._why: dict[str, Counter[str]] = {field.name: Counter() for field in fields}
        self._n = self._n_unread = 0

    def add(self, line: dict[str, Any]) -> None:
        """One image's, or row's; why it could not be read is said at once."""
        self._n += 1
        if line["data"] is None:
            self._n_unread += 1
            name = line["image"] if "image" in line else f"row {line['row']}"
            print("\r" + printable_line(f"labelwright: {name}: {line['error']}"), file=sys.stderr)
            return
        for name, value in line["data"].items():
            if value is None:
                self._why[name][line["missing"][name]] += 1
            else:
                self._found[name] += 1

    @property
    def status(self) -> int:
        """The command's exit status."""
        n_read = self._n - self._n_unread
        for name, why in self._why.items():
            reasons = "; ".join(f"{n} times {reason}" for reason, n in why.most_common(_SHOWN_REASONS))
            said = f"{name}: found in {self._found[name]} of {n_read} {self._what}{': ' * bool(reasons)}{reasons}"
            print(printable_line(said), file=sys.stderr)
        return console.FOUND_SOMETHING if self._n_unread else console.DONE
