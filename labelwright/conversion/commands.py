"""``labelwright convert`` and ``labelwright certify``: their options, and what they say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright import console
from labelwright.commands.opened import add_text_option, named_text, with_image_texts
from labelwright.errors import DataError
from labelwright.plain_text import printable, printable_line, shell_word

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.conversion.certificate import Certificate
    from labelwright.conversion.rows import Rows


def add_options(convert: argparse.ArgumentParser, certify: argparse.ArgumentParser) -> None:
    """Give both commands what they take beside BUNDLE."""
    convert.add_argument("--to", required=True, metavar="TARGET", help="what to write it for; see docs/leaving.md")
    convert.add_argument("--quantise", default="", metavar="FORMAT", help="number format, where a target has several")
    convert.add_argument("--output", metavar="FOLDER", help="where it goes (default: beside the bundle)")
    convert.add_argument("--force", action="store_true", help="replace a converted folder")
    certify.add_argument("target", metavar="TARGET", help="a converted folder, or the URL of a server")
    certify.add_argument("--model", default="", metavar="ID", help="which of a server's models")
    certify.add_argument("--output", metavar="FILE", help="where the certificate goes, as .json (default: shown only)")
    for parser in (convert, certify):
        parser.add_argument("--input", metavar="FILE", help="rows to compare on (default: the bundle's golden rows)")
        add_text_option(parser)
        parser.add_argument("--label-column", default="label", metavar="NAME", help="of the label (default: label)")
        parser.add_argument("--group-column", metavar="NAME", help="rows of one group are not independent")
        parser.add_argument("--tolerance", type=float, metavar="P", help="most that a probability may differ by")


def convert(arguments: argparse.Namespace) -> int:
    """Write and certify; 1 where the certificate does not hold."""
    from labelwright.conversion.converting import convert as write

    to = arguments.to + (f"-{arguments.quantise}" if arguments.quantise else "")
    bundle = arguments.bundle.absolute()
    output = Path(arguments.output) if arguments.output else bundle.with_name(f"{bundle.name}-{to}")
    certificate = write(
        arguments.bundle,
        arguments.to,
        output,
        lambda bundle: _rows(arguments, bundle),
        quantise=arguments.quantise,
        force=arguments.force,
        **_tolerance(arguments),
    )
    if certificate is not None:
        show(certificate)
    print(f"written: {printable(str(output))}")
    if certificate is None:
        print(
            f"not certified yet, as only a server opens it: start one (its README.md says how), then "
            f"labelwright certify {shell_word(str(arguments.bundle))} URL"
        )
    return console.DONE if certificate is None or certificate.holds else console.FOUND_SOMETHING


def certify(arguments: argparse.Namespace) -> int:
    """Compare; 1 where the certificate does not hold."""
    from labelwright.conversion.certificate import write_certificate
    from labelwright.conversion.converting import certify_target

    if arguments.output is not None and Path(arguments.output).suffix.lower() != ".json":
        raise DataError(f"{arguments.output}: expected an output file ending in .json")
    certificate = certify_target(
        arguments.bundle,
        arguments.target,
        lambda bundle: _rows(arguments, bundle),
        model=arguments.model,
        **_tolerance(arguments),
    )
    show(certificate)
    if arguments.output is not None:
        write_certificate(certificate, Path(arguments.output))
        print(f"written: {printable(arguments.output)}")
    return console.DONE if certificate.holds else console.FOUND_SOMETHING


def show(certificate: Certificate) -> None:
    """The table and the verdict, on stdout."""
    from labelwright.conversion.certificate import table

    lines = table(certificate)
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    who = f"here: {certificate.bundle}; there: {certificate.target} {certificate.quantise or certificate.model}"
    print(printable_line(f"{who.strip()}; rows: {certificate.rows}; intervals of 95 %"))
    for what, here, there, difference in lines:
        print(f"  {what:{widths[0]}}  {here:>{widths[1]}}  {there:>{widths[2]}}  {difference}".rstrip())
    print(certificate.verdict)


def _rows(arguments: argparse.Namespace, bundle: Bundle) -> Rows:
    from labelwright.conversion.rows import golden_rows, rows_of_file

    if arguments.input is None:
        return golden_rows(arguments.bundle.absolute(), bundle.task.names)
    columns = {"label": arguments.label_column, "group": arguments.group_column or ""}
    columns |= {"text": named_text(arguments, bundle.task)}
    folder = Path(arguments.input).parent
    return rows_of_file(
        arguments.input,
        bundle.task.names,
        columns,
        seen=lambda rows: with_image_texts(rows, arguments, bundle.task, folder),
    )


def _tolerance(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said of the tolerance, if anything was."""
    if arguments.tolerance is None:
        return {}
    if not 0 <= arguments.tolerance <= 1:
        raise DataError(f"--tolerance {arguments.tolerance}: expected a difference of probabilities, 0 to 1")
    return {"tolerance": arguments.tolerance}
