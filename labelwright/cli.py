"""The command line: ``labelwright predict | evaluate | watch | check | serve | convert | certify BUNDLE``.

Answers with a bundle that was exported; tuning is the workbench's. Nothing heavy is imported before it is needed, so
that help and bad input answer at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright import console
from labelwright.conversion import commands as conversion
from labelwright.data.records import Fault, Row, refusal, scan_jsonl, scan_lines, scan_records
from labelwright.data.task import group_keys, read_examples, with_labels_of
from labelwright.engines.settings import BACKENDS, EngineSettings
from labelwright.errors import DataError, MissingExtraError, RecipeError
from labelwright.models.weights import is_language_model
from labelwright.plain_text import printable, printable_line
from labelwright.serve.limits import Limits
from labelwright.watch import commands as watching

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.engines.protocol import Engine

_STDIN = "-"
_IN_PROCESS = EngineSettings.backend
_SHOWN_LABELS = 5
_SHOWN_FAULTS = 10
_BAR_WIDTH = 24
_PROGRESS_EVERY_S = 1.0
# Typed texts are few and a pipe may be slow: small chunks, so that answers follow soon.
_TYPED_CHUNK_ROWS = 16

# What a server takes, by option: the limit's name, and what is more than it.
_LIMITS = {
    "--most-body-bytes": ("body_bytes", "a longer body is refused"),
    "--most-rows": ("rows", "more texts in a request are refused"),
    "--most-questions": ("questions", "more questions in a request are refused"),
    "--most-requests": ("requests", "more at a time are told to come again"),
    "--most-waiting-rows": ("waiting_rows", "more texts that wait for a model are told to come again"),
    "--most-seconds": ("seconds", "an answer that takes longer is given up"),
}

_EXAMPLES = """examples:
  labelwright predict bundle "the water has gone green" "no heat upstairs"
  labelwright predict bundle --input rows.jsonl --output out.jsonl
  echo "gate drags on the path" | labelwright predict bundle - --json
  labelwright evaluate bundle --input labelled.csv --text-column message
  labelwright watch bundle answers.jsonl --plot watch.png
  labelwright check bundle
  labelwright serve bundle --port 8080
  labelwright convert bundle --to huggingface
  labelwright certify bundle http://127.0.0.1:8080
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: done. 1: ``check`` or ``watch`` found something, ``predict`` left rows unanswered, or a certificate does not
    hold. 2: bad input. 3: something unexpected. 130: interrupted. 141: nobody reads the output any more.
    """
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    return console.run(lambda: int(arguments.command(arguments)), "labelwright")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser, commands = _parser()
    if argv and argv[0] in commands:
        # Options may stand between texts; argparse can do that for one command, not through its subcommands.
        return commands[argv[0]].parse_intermixed_args(argv[1:])
    return parser.parse_args(argv)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The whole parser, and that of each command."""
    parser = console.Parser(
        prog="labelwright",
        description="Classify texts with an exported bundle.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = _command(commands, "predict", _predict, "label texts, from the command line, stdin or a file")
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="texts to label; - reads one a line from stdin")
    predict.add_argument(
        "--input", metavar="FILE", help="rows to label: JSON, CSV, Parquet or a workbook; - is JSONL on stdin"
    )
    predict.add_argument("--output", metavar="FILE", help="where labelled rows go, as .jsonl (default: stdout)")
    predict.add_argument("--text-column", default="text", metavar="NAME", help="column of the text (default: text)")
    predict.add_argument(
        "--choices", nargs="+", metavar="CHOICE", help="what to choose from, where rows bring their own choices"
    )
    predict.add_argument(
        "--choices-column", default="choices", metavar="NAME", help="column of the row's choices (default: choices)"
    )
    _promise_options(predict)
    predict.add_argument("--json", action="store_true", help="one JSON object a text, with every probability")

    evaluate = _command(commands, "evaluate", _evaluate, "measure on labelled rows, with the interval of each number")
    evaluate.add_argument(
        "--input", required=True, metavar="FILE", help="labelled rows: JSON, CSV, Parquet or a workbook"
    )
    evaluate.add_argument("--text-column", default="text", metavar="NAME", help="column of the text (default: text)")
    evaluate.add_argument(
        "--label-column", default="label", metavar="NAME", help="column of the label (default: label)"
    )
    evaluate.add_argument(
        "--choices-column", default="choices", metavar="NAME", help="column of the row's choices (default: choices)"
    )
    evaluate.add_argument(
        "--similar-labels",
        choices=("refuse", "merge"),
        default="refuse",
        help="labels that differ from the bundle's only in how they are written, as 0 and 0.0 (default: refuse)",
    )
    evaluate.add_argument(
        "--group-column", metavar="NAME", help="rows of one group are not independent; the intervals allow for it"
    )
    _promise_options(evaluate)
    evaluate.add_argument("--json", action="store_true", help="the numbers as one JSON object")

    watch = _command(commands, "watch", _watch, "tell drift in answers, and how audited rows and a challenger do")
    watching.add_options(watch)

    check = _command(commands, "check", _check, "compare with what was exported: hashes, then golden rows")
    check.add_argument("--files-only", action="store_true", help="hashes only; needs no model")

    server = _command(commands, "serve", _serve, "answer over HTTP, until it is stopped", "+")
    server.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    server.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    _promise_options(server)
    for option, (name, what) in _LIMITS.items():
        default = getattr(Limits, name)
        server.add_argument(
            option, dest=name, type=type(default), default=default, metavar="N", help=f"{what} (default: {default:g})"
        )

    convert = _named(commands, "convert", conversion.convert, "write for another runtime, and certify what was written")
    certify = _named(commands, "certify", conversion.certify, "compare with a converted folder, or with a server")
    conversion.add_options(convert, certify)
    return parser, dict(commands.choices)


def _named(commands: Any, name: str, function: Any, help: str, bundles: str | None = None) -> argparse.ArgumentParser:
    """The parser of a command on a bundle, or on several (``bundles`` is argparse's ``nargs``)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, nargs=bundles, help="folder that `make export` wrote")
    return parser


def _command(commands: Any, name: str, function: Any, help: str, bundles: str | None = None) -> argparse.ArgumentParser:
    """The same of one that answers with it."""
    parser = _named(commands, name, function, help, bundles)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps, ... (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    parser.add_argument("--backend", default=_IN_PROCESS, help=f"one of {', '.join(BACKENDS)} (default: {_IN_PROCESS})")
    parser.add_argument("--url", default="", help="of the server that a backend asks; ends in /v1")
    parser.add_argument(
        "--long-rows",
        default="",
        help="rows longer than the model reads: refuse them, keep their head, or head_tail (default: the bundle's)",
    )
    parser.add_argument(
        "--unexpanded-mass",
        type=float,
        metavar="SHARE",
        help="of a row's probability that options left unexpanded may hold; 0 expands all (default: the bundle's)",
    )
    return parser


def _promise_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-error",
        type=float,
        metavar="SHARE",
        help="give no label where more of the answered rows might be wrong; 1 answers all (default: the bundle's)",
    )
    parser.add_argument(
        "--confidence", type=float, metavar="SHARE", help="with which that is promised (default: the bundle's, 0.95)"
    )
    parser.add_argument(
        "--by-label",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="promise it for the rows of each answered label",
    )
    parser.add_argument(
        "--sets", type=float, metavar="SHARE", help="with each answer a set of labels that so often holds the right one"
    )


def _predict(arguments: argparse.Namespace) -> int:
    if bool(arguments.texts) == (arguments.input is not None):
        raise DataError('predict: expected either texts or --input FILE; try: labelwright predict BUNDLE "a text"')
    if arguments.input is None and arguments.output is not None:
        raise DataError("predict: --output goes with --input FILE; texts are answered on stdout")
    if arguments.output is not None and Path(arguments.output).suffix.lower() != ".jsonl":
        raise DataError(f"{arguments.output}: expected an output file ending in .jsonl")
    return _predict_texts(arguments) if arguments.input is None else _predict_rows(arguments)


def _predict_texts(arguments: argparse.Namespace) -> int:
    from labelwright.labelling import JsonLines, label_rows

    typed = (Row(number, {"text": text}) for number, text in enumerate(arguments.texts, start=1))
    source = "stdin" if arguments.texts == [_STDIN] else "texts"
    rows = _first_read(scan_lines(sys.stdin.buffer, source) if source == "stdin" else typed)
    if arguments.choices:
        rows = (_with_choices(row, arguments.choices) for row in rows)
    bundle, engine = _open(arguments)
    faults = _Faults()
    with JsonLines() as output:
        for row in faults.told(label_rows(rows, bundle, engine, source=source, chunk_rows=_TYPED_CHUNK_ROWS)):
            if arguments.json:
                output.write(row)
            elif "error" not in row:
                print(_picture(row), flush=True)
    _remarks(engine)
    return faults.status


def _predict_rows(arguments: argparse.Namespace) -> int:
    from labelwright.labelling import JsonLines

    source = "stdin" if arguments.input == _STDIN else arguments.input
    rows = _first_read(scan_jsonl(sys.stdin.buffer, source) if source == "stdin" else scan_records(arguments.input))
    faults = _Faults()
    with JsonLines(arguments.output) as output:
        bundle, engine = _open(arguments)
        for row in _shown(faults.told(_labelled(rows, bundle, engine, arguments, source))):
            output.write(row)
    _remarks(engine)
    return faults.status


class _Faults:
    """Counts the rows that were left unanswered, and says why on stderr: the first ones each, the others in all."""

    def __init__(self) -> None:
        self.n_rows = self.n_faults = self.n_abstained = 0

    def told(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same rows."""
        for row in rows:
            self.n_rows += 1
            self.n_abstained += "abstained" in row
            if "error" in row:
                self.n_faults += 1
                if self.n_faults <= _SHOWN_FAULTS:
                    print("\r" + printable_line(f"labelwright: {row['error']}"), file=sys.stderr)
            yield row

    @property
    def status(self) -> int:
        """The command's exit status: to abstain is an answer."""
        if self.n_abstained:
            print(
                f"{self.n_abstained} of {self.n_rows} rows are abstained on (label null, the reason under abstained)",
                file=sys.stderr,
            )
        if not self.n_faults:
            return console.DONE
        print(
            f"labelwright: {self.n_faults} of {self.n_rows} rows are left unanswered, as named above and in the output "
            f"(label null, the reason under error)",
            file=sys.stderr,
        )
        return console.FOUND_SOMETHING


def _labelled(
    rows: Iterator[Row | Fault], bundle: Bundle, engine: Engine, arguments: argparse.Namespace, source: str
) -> Iterator[dict[str, Any]]:
    from labelwright.labelling import label_rows

    columns = {"text": arguments.text_column, "choices": arguments.choices_column}
    return label_rows(rows, bundle, engine, **columns, source=source)


def _evaluate(arguments: argparse.Namespace) -> int:
    import numpy as np

    from labelwright.bundle.store import load
    from labelwright.data.choices import over_letters
    from labelwright.decisions.measured import decided_metrics
    from labelwright.statistics.intervals import bootstrap_intervals
    from labelwright.statistics.metrics import answers, checked

    columns = {"text": arguments.text_column, "label": arguments.label_column, "group": arguments.group_column}
    task = load(arguments.bundle).task
    if task.by_row:
        columns["choices"] = arguments.choices_column
    examples = read_examples(arguments.input, **columns)
    names = task.names
    if task.by_row:
        examples = over_letters(examples, arguments.input)
    examples = with_labels_of(names, examples, arguments.input, arguments.similar_labels)
    bundle, engine = _open(arguments)
    texts = [example.text for example in examples]
    probs = np.concatenate(list(_shown(_probabilities(texts, bundle, engine, arguments.input))))
    n_silent = int((answers(probs) < 0).sum())
    _remarks(engine, n_silent)
    gold = np.array([names.index(example.label) for example in examples])
    groups = group_keys(examples) if arguments.group_column else None
    metrics = bootstrap_intervals(bundle.decision.read(*checked(probs, gold)), gold, groups)
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


def _check(arguments: argparse.Namespace) -> int:
    from labelwright.bundle.store import verify

    result = verify(arguments.bundle)
    golden = (arguments.bundle / "golden.jsonl").is_file()
    if result.ok and golden and not arguments.files_only:
        result = verify(arguments.bundle, _open(arguments)[1])
    if not result.ok:
        problems = "; ".join(result.problems)
        print(printable_line(f"labelwright: {arguments.bundle}: {problems}"), file=sys.stderr)
        return 1
    rows = "not scored" if golden else "none in this bundle"
    if result.n_golden:
        rows = f"{result.n_golden} answered as recorded (largest difference {result.max_difference:.4f})"
    print(f"ok: {result.n_files} files as exported; golden rows: {rows}")
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    return watching.run(arguments, lambda folder: _open(arguments, folder))


def _serve(arguments: argparse.Namespace) -> int:
    limits = Limits(**{name: getattr(arguments, name) for name, _ in _LIMITS.values()})
    try:
        from labelwright.serve.running import serve
    except ImportError as error:
        raise MissingExtraError(f'the server is not installed ({error}): pip install "labelwright[serve]"') from error
    return serve(arguments.bundle, lambda folder: _open(arguments, folder), arguments.host, arguments.port, limits)


def _open(arguments: argparse.Namespace, folder: Path | None = None) -> tuple[Bundle, Engine]:
    from labelwright.bundle.store import load, members_of
    from labelwright.engines.opening import open_engine

    folder = folder or arguments.bundle
    bundle = load(folder)
    each = [member.weights for member in members_of(bundle.weights)] or [bundle.weights]
    if not any(map(is_language_model, each)):
        _refuse_model_options(arguments, folder, bundle.weights.base, len(each))
    settings = EngineSettings(
        backend=arguments.backend,
        device=arguments.device,
        dtype=arguments.dtype,
        url=arguments.url,
        long_rows=arguments.long_rows or bundle.long_rows,
        unexpanded_mass=bundle.unexpanded_mass if arguments.unexpanded_mass is None else arguments.unexpanded_mass,
        thinking_tokens=bundle.prompt.template.thinking_tokens,
    )
    if hasattr(arguments, "max_error"):
        bundle = _asked(bundle, arguments, folder)
    if bundle.scope is not None:
        bundle.scope.open()
    return bundle, open_engine(bundle.weights, settings, to_score=True)


def _asked(bundle: Bundle, arguments: argparse.Namespace, folder: Path) -> Bundle:
    """The bundle with what is asked of its promise; what it cannot keep is refused before a model is loaded."""
    wanted = {name: getattr(arguments, name) for name in ("max_error", "confidence", "by_label", "sets")}
    try:
        return replace(bundle, promise=bundle.promise.ask(**wanted))
    except (DataError, RecipeError) as error:
        raise type(error)(f"{folder}: {error}") from error


def _refuse_model_options(arguments: argparse.Namespace, folder: Path, name: str, n_members: int) -> None:
    """Nobody should believe that a server, or a GPU, gave answers which it did not."""
    given = {
        "--backend": arguments.backend != _IN_PROCESS,
        "--url": bool(arguments.url),
        "--device": arguments.device not in ("auto", "cpu"),
    }
    if any(given.values()):
        what = "a small classifier that runs" if n_members == 1 else f"{n_members} small classifiers that run"
        options = " and ".join(option for option, is_given in given.items() if is_given)
        raise RecipeError(
            f"{folder} holds {name}, {what} in this process without a language model: leave out {options}"
        )


def _first_read(rows: Iterator[Row | Fault]) -> Iterator[Row | Fault]:
    """The same rows, the first one read already: a file that cannot be read is refused before a model is loaded."""
    first = next(rows, None)
    if first is None:
        raise DataError("stdin: nothing to label; expected one text a line, or with --input - one JSON object a line")
    return itertools.chain([first], rows)


def _with_choices(row: Row | Fault, choices: Sequence[str]) -> Row | Fault:
    return Row(row.number, {**row.record, "choices": choices}) if isinstance(row, Row) else row


def _shown(rows: Iterator[Any]) -> Iterator[Any]:
    """The same rows; how many have passed is written to stderr, once a second at most."""
    started = reported = time.monotonic()
    n_rows = 0
    for n_rows, row in enumerate(rows, start=1):
        yield row
        if (now := time.monotonic()) - reported >= _PROGRESS_EVERY_S:
            reported = now
            print(f"\r{n_rows} rows, {n_rows / (now - started):.0f} rows/s", end="", file=sys.stderr, flush=True)
    print(f"\r{n_rows} rows in {time.monotonic() - started:.1f} s".ljust(40), file=sys.stderr)


def _remarks(engine: Engine, n_silent: int = 0) -> None:
    """What a reader of the answers must know about them, on stderr; ``n_silent`` rows have none."""
    from labelwright.engines.protocol import has_probabilities

    if engine.n_shortened:
        print(f"{engine.n_shortened} rows were shortened to fit the context of {engine.name}", file=sys.stderr)
    if not has_probabilities(engine):
        print(f"probabilities are not available from {engine.name}: each answer is all or nothing", file=sys.stderr)
    if n_silent:
        noun = "row has" if n_silent == 1 else "rows have"
        print(f"{n_silent} {noun} no answer: what {engine.name} said is none of the labels", file=sys.stderr)


def _picture(row: Mapping[str, Any]) -> str:
    """A text and its most probable labels, with bars; and what is said beside the label."""
    ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:_SHOWN_LABELS]
    ranked = [(printable(name), p) for name, p in ranked]
    width = max(len(name) for name, _ in ranked)
    lines = [f"  {name:{width}}  {p:.3f}  {'#' * round(_BAR_WIDTH * p)}".rstrip() for name, p in ranked]
    if "abstained" in row:
        lines.insert(0, f"  (no label: {row['abstained']}; it would be {printable(row['suggested'])})")
    if "label_set" in row:
        lines.append(f"  (the set: {', '.join(map(printable, row['label_set']))})")
    return "\n".join([printable(row["text"]), *lines])


if __name__ == "__main__":
    sys.exit(main())
