"""What every command line of the house does alike: one line for whatever goes wrong, and an exit status.

A fault of the input is told as it is. Anything else that raises, ours or a library's, is one line too, with the
traceback in a file for whoever wants to mend it. Imports nothing heavy: help answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from labelwright.errors import LabelwrightError
from labelwright.plain_text import printable, printable_line

DONE, FOUND_SOMETHING, BAD_INPUT, UNEXPECTED, INTERRUPTED, NO_READER = 0, 1, 2, 3, 130, 141


class Parser(argparse.ArgumentParser):
    """argparse, with one line where the arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {printable_line(message)}; see {self.prog} --help\n")

    def parse_whole(self, args: Sequence[str], intermixed: bool = False) -> argparse.Namespace:
        """As ``parse_args`` or ``parse_intermixed_args``; what is not taken is told beside what would be."""
        parse = self.parse_known_intermixed_args if intermixed else self.parse_known_args
        known, left = parse(args)
        if left:
            options = [one.option_strings[-1] for one in self._actions if one.option_strings and one.dest != "help"]
            takes = f"its options are {', '.join(options)}" if options else "it has no options"
            self.error(f"it does not take {' '.join(left)}; {takes}")
        return known


def run(command: Callable[[], int], name: str, interrupted: str = "") -> int:
    """A command's exit status; what it raises is one line on stderr.

    Parameters
    ----------
    command : callable
        Returns its own status.
    name : str
        What the line begins with.
    interrupted : str
        What to say to who pressed Ctrl-C; nothing where it is empty.

    Returns
    -------
    int
        The command's own; 2 for a fault of the input, 3 for one of ours or of the machine's, 130 where it was
        interrupted, 141 where nobody reads its output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console of another encoding (cp1252, say) shows what it has no letter for as an escape.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = command()
        sys.stdout.flush()
        return status
    except LabelwrightError as error:
        complain(name, str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        if interrupted:
            print(f"\n{printable(interrupted)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except Exception as error:
        complain(name, f"{_what(error)} ({_kept(error)})")
        return UNEXPECTED


def complain(name: str, message: str) -> None:
    """One line on stderr."""
    print(f"{name}: error: {printable_line(message)}", file=sys.stderr)


def _what(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "no memory left: give it fewer rows, a smaller model, or more memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}" + (f": {error.filename}" if error.filename else "")
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"unexpected {type(error).__name__}: {first}"


def _kept(error: Exception) -> str:
    """Where the traceback is. The file is its owner's alone: rows may be quoted in it."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="labelwright-", suffix=".log")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"raised in {last.filename}, line {last.lineno}"
    return f"traceback: {path}"
