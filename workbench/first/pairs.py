"""Two columns that are one text together, told by what they are called: a title and its body, a premise and its claim.

Knows nothing of labels. ``workbench.first.columns`` asks, of columns whose cells can be texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from workbench.first.cells import Column

# Half of the rows may lack a title, and it is a title all the same.
_LEAST_FILLED = 0.5


def text_pair(columns: Mapping[str, Column], names: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The two, in the order in which they are read; none where there are not, or where more than two might be.

    Parameters
    ----------
    names : mapping
        ``head``, ``body`` and ``pairs``: what columns are called, the last word of a name counting.
    """
    filled = {name: one for name, one in columns.items() if one.n_filled >= _LEAST_FILLED * one.n_rows}
    last = {name: _words(name)[-1:] for name in filled}
    heads = [name for name in filled if last[name] and last[name][0] in names["head"]]
    bodies = [name for name in filled if last[name] and last[name][0] in names["body"]]
    found = [(head, body) for head in heads for body in bodies if filled[head].n_characters < filled[body].n_characters]
    known = [tuple(pair.split()) for pair in names["pairs"]]
    for first in filled:
        for second in filled:
            if (*last[first], *last[second]) in known or _is_next(first, second):
                found.append((first, second))
    return found[0] if len(found) == 1 and len(heads) <= 1 else ()


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())


def _is_next(first: str, second: str) -> bool:
    """Whether two names differ in their number alone: sentence1 and sentence2, text_a and text_b."""
    head, tail = first[:-1], first[-1:].casefold() + second[-1:].casefold()
    is_parted = tail == "12" or (tail == "ab" and not head[-1:].isalnum())
    return bool(head) and second[:-1] == head and is_parted
