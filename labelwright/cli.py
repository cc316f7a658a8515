"""The command line: ``labelwright predict | evaluate | watch | check | serve | convert | certify BUNDLE``, ``extract``.

Answers with a bundle that was exported; tuning is the workbench's. Nothing heavy is imported before it is needed, so
that help and bad input answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelwright import console
from labelwright.commands import evaluate, extract, predict
from labelwright.commands.opened import add_model_options, add_promise_options, open_bundle
from labelwright.conversion import commands as conversion
from labelwright.errors import MissingExtraError
from labelwright.plain_text import printable_line
from labelwright.serve.limits import Limits
from labelwright.watch import commands as watching

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
  labelwright extract --schema form.json --images shots/a.png shots/b.png
  labelwright extract --schema form.json --input mails.csv --model smollm2
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
        return commands[argv[0]].parse_whole(argv[1:], intermixed=True)
    return parser.parse_whole(argv)


def _parser() -> tuple[console.Parser, dict[str, console.Parser]]:
    """The whole parser, and that of each command."""
    parser = console.Parser(
        prog="labelwright",
        description="Classify texts with an exported bundle.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    label = _command(commands, "predict", predict.run, "label texts, from the command line, stdin or a file")
    predict.add_options(label)

    measure = _command(commands, "evaluate", evaluate.run, "measure on labelled rows, with the interval of each number")
    evaluate.add_options(measure)

    watch = _command(commands, "watch", _watch, "tell drift in answers, and how audited rows and a challenger do")
    watching.add_options(watch)

    check = _command(commands, "check", _check, "compare with what was exported: hashes, then golden rows")
    check.add_argument("--files-only", action="store_true", help="hashes only; needs no model")

    server = _command(commands, "serve", _serve, "answer over HTTP, until it is stopped", "+")
    server.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    server.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    add_promise_options(server)
    for option, (name, what) in _LIMITS.items():
        default = getattr(Limits, name)
        server.add_argument(
            option, dest=name, type=type(default), default=default, metavar="N", help=f"{what} (default: {default:g})"
        )

    convert = _named(commands, "convert", conversion.convert, "write for another runtime, and certify what was written")
    certify = _named(commands, "certify", conversion.certify, "compare with a converted folder, or with a server")
    conversion.add_options(convert, certify)

    typed = _plain(
        commands, "extract", extract.run, "read images or rows to JSON by a schema; what is not found is null"
    )
    extract.add_options(typed)
    return parser, dict(commands.choices)


def _named(commands: Any, name: str, function: Any, help: str, bundles: str | None = None) -> argparse.ArgumentParser:
    """The parser of a command on a bundle, or on several (``bundles`` is argparse's ``nargs``)."""
    parser = _plain(commands, name, function, help)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, nargs=bundles, help="folder that `make export` wrote")
    return parser


def _plain(commands: Any, name: str, function: Any, help: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function)
    return parser


def _command(commands: Any, name: str, function: Any, help: str, bundles: str | None = None) -> argparse.ArgumentParser:
    """The same of one that answers with it."""
    parser = _named(commands, name, function, help, bundles)
    add_model_options(parser)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    from labelwright.bundle.store import verify

    result = verify(arguments.bundle)
    golden = (arguments.bundle / "golden.jsonl").is_file()
    if result.ok and golden and not arguments.files_only:
        result = verify(arguments.bundle, open_bundle(arguments)[1])
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
    return watching.run(arguments, lambda folder: open_bundle(arguments, folder))


def _serve(arguments: argparse.Namespace) -> int:
    limits = Limits(**{name: getattr(arguments, name) for name, _ in _LIMITS.values()})
    try:
        from labelwright.serve.running import serve
    except ImportError as error:
        raise MissingExtraError(f'the server is not installed ({error}): pip install "labelwright[serve]"') from error
    return serve(
        arguments.bundle, lambda folder: open_bundle(arguments, folder), arguments.host, arguments.port, limits
    )


if __name__ == "__main__":
    sys.exit(main())
