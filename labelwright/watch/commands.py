"""``labelwright watch``: its options, and what it says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelwright import console
from labelwright.commands.opened import add_text_option, named_text
from labelwright.data.records import Fault, Row, scan_jsonl, scan_records
from labelwright.errors import DataError
from labelwright.files import write_json
from labelwright.plain_text import printable
from labelwright.watch.answers import OF_CHOICES, PREDICTED, Answer, Columns, read_answers

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.engines.protocol import Engine

_STDIN = "-"
_MOST_FALSE_ALARMS = 0.1
_LEAST_WINDOW = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the command what it takes beside BUNDLE."""
    parser.add_argument("answers", metavar="ANSWERS", help="answers of predict, in their order; - is JSONL on stdin")
    parser.add_argument("--window", type=int, metavar="N", help="rows of a window (default: 500)")
    parser.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="of windows of unchanged rows that may be an alarm (default: 0.001, one in a thousand)",
    )
    parser.add_argument(
        "--reference", metavar="FILE", help="answers of a time that was good, to compare with in place of dev"
    )
    parser.add_argument(
        "--against", metavar="OTHER", help="a challenger: a bundle, which needs texts, or its answers to the same rows"
    )
    add_text_option(parser)
    parser.add_argument(
        "--gold-column", metavar="NAME", help="right label of audited rows (default: gold, else input_label)"
    )
    parser.add_argument("--time-column", default="time", metavar="NAME", help="shown with a window (default: time)")
    parser.add_argument(
        "--embedded", type=int, metavar="N", help="texts of a window to embed, where the bundle has an encoder (100)"
    )
    parser.add_argument("--output", metavar="FILE", help="all of it, as .json")
    parser.add_argument("--plot", metavar="FILE", help="a picture of the windows: .png, .svg or .pdf")


def run(arguments: argparse.Namespace, opener: Callable[[Path], tuple[Bundle, Engine]]) -> int:
    """Watch; 1 where a window is an alarm, or accuracy is told to have fallen.

    Parameters
    ----------
    opener : callable
        From a bundle's folder to the bundle and an engine opened on its weights.
    """
    from labelwright.bundle.store import load, read_reference
    from labelwright.data.asked.asking import asking
    from labelwright.watch.challenger import asked, beside
    from labelwright.watch.display import lines
    from labelwright.watch.making import encoder_of
    from labelwright.watch.picture import SUFFIXES, draw
    from labelwright.watch.sketch import Sketch
    from labelwright.watch.watching import Settings, count, watch

    _check(arguments, SUFFIXES)
    bundle = load(arguments.bundle)
    kind = asking(bundle.task)
    if bundle.task.points:
        # Answers to one row move together, and the test counts rows that do not.
        raise DataError(
            f"{arguments.bundle}: {kind.beyond}, and one answer a row is watched: export one question alone"
        )
    stored = read_reference(arguments.bundle, bundle)
    if stored is None and arguments.reference is None:
        raise DataError(
            f"{arguments.bundle}: was exported before bundles kept what their answers look like on dev; export it "
            f"again (make export), or name answers of a time that was good: --reference FILE"
        )
    gold = (arguments.gold_column,) if arguments.gold_column else (OF_CHOICES if kind.known is None else PREDICTED).gold
    columns = Columns(named_text(arguments, bundle.task), gold, arguments.time_column)
    labels, names = kind.known, kind.watched
    given = {"window": arguments.window, "false_alarms": arguments.false_alarms, "n_embedded": arguments.embedded}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    centres = None if stored is None else stored.centres
    embed = encoder_of(bundle) if centres is not None and settings.n_embedded else None
    sketch = Sketch(names, b"" if stored is None else stored.known, centres, embed)
    if arguments.reference is not None:
        good = read_answers(_rows(arguments.reference), arguments.reference, columns, labels)
        before = count(good, sketch, settings)
    else:
        assert stored is not None
        before = stored.counts
    source = "stdin" if arguments.answers == _STDIN else arguments.answers
    answers = read_answers(_rows(arguments.answers), source, columns, labels)
    paired: Iterator[tuple[Answer, Answer | None]]
    if arguments.against is None:
        paired = ((one, None) for one in answers)
    elif Path(arguments.against).is_dir():
        paired = asked(answers, *opener(Path(arguments.against)), source, columns.text)
    else:
        theirs = read_answers(_rows(arguments.against), arguments.against, columns)
        paired = beside(answers, theirs, source, arguments.against)
    watched = watch(
        paired,
        sketch,
        before,
        settings,
        reference=arguments.reference or "dev",
        dev=(0, 0) if stored is None else (stored.n_rows, stored.n_right),
    )
    for line in lines(watched, bundle.task.name):
        print(line)
    if arguments.output is not None:
        try:
            write_json(Path(arguments.output), watched.to_json())
        except OSError as error:
            raise DataError(f"{arguments.output}: cannot be written ({error.strerror}); check its folder") from error
        print(f"written: {printable(arguments.output)}")
    if arguments.plot is not None:
        draw(watched, Path(arguments.plot))
        print(f"written: {printable(arguments.plot)}")
    return console.FOUND_SOMETHING if watched.has_moved else console.DONE


def _check(arguments: argparse.Namespace, pictures: Sequence[str]) -> None:
    """Raise DataError for all options that cannot be, before anything is read."""
    faults = []
    if arguments.window is not None and arguments.window < _LEAST_WINDOW:
        faults.append(f"--window {arguments.window}: expected {_LEAST_WINDOW} rows or more")
    rate = arguments.false_alarms
    if rate is not None and not 0 < rate <= _MOST_FALSE_ALARMS:
        faults.append(f"--false-alarms {rate:g}: expected a share above 0, at most {_MOST_FALSE_ALARMS:g}")
    if arguments.embedded is not None and arguments.embedded < 0:
        faults.append(f"--embedded {arguments.embedded}: expected 0 texts or more")
    if arguments.output is not None and Path(arguments.output).suffix.lower() != ".json":
        faults.append(f"--output {arguments.output}: expected a file ending in .json")
    if arguments.plot is not None and Path(arguments.plot).suffix.lower() not in pictures:
        faults.append(f"--plot {arguments.plot}: expected a file ending in {', '.join(pictures)}")
    if faults:
        raise DataError("; ".join(faults))


def _rows(path: str) -> Iterator[Row | Fault]:
    return scan_jsonl(sys.stdin.buffer, "stdin") if path == _STDIN else scan_records(path)
