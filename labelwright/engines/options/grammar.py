"""Labels as a GBNF grammar, for llama.cpp and servers built on it: decoding under it cannot invent a label."""

from __future__ import annotations

from collections.abc import Sequence

from labelwright.errors import DataError


def gbnf(answers: Sequence[str]) -> str:
    r"""A grammar whose sentences are exactly the answers.

    Parameters
    ----------
    answers : sequence of str
        As they follow the prompt, a leading space included (``Prompt.options``).

    Raises
    ------
    DataError
        No answers, an empty one, or one with a line break.

    Examples
    --------
    >>> gbnf([" pool", ' 2" pipe'])
    'root ::= " pool" | " 2\\" pipe"\n'
    """
    if not answers:
        raise DataError("no labels: a grammar needs at least one")
    for answer in answers:
        if not answer.strip() or len(answer.splitlines()) > 1:
            raise DataError(f"label {answer!r} is empty or has a line break: put its text on one line")
    return "root ::= " + " | ".join(f'"{_escaped(answer)}"' for answer in answers) + "\n"


def _escaped(text: str) -> str:
    """As GBNF reads it: quotes and backslashes escaped, control characters by number, all else as it stands."""
    replaced = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(f"\\x{ord(c):02X}" if ord(c) < 32 or ord(c) == 127 else c for c in replaced)
