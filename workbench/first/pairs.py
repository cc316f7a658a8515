"""Two columns that are one text together, told by what they are called: a title and its body, a premise and its claim.

Knows nothing of labels. ``workbench.first.columns`` asks, of columns whose cells can be texts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

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
    found += [(one, two) for one in filled for two in filled if (*last[one], *last[two]) in known]
    found += _numbered(filled)
    return found[0] if len(found) == 1 and len(heads) <= 1 else ()


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())


def _numbered(names: Iterable[str]) -> list[tuple[str, str]]:
    """What differs in its number or last letter alone, sentence1 and sentence2, text_a and text_b: each with its next.

    Of three there are two pairs, also where a number between them is missing; of two that are not neighbours none.
    """
    rows = defaultdict[tuple[str, bool], list[tuple[int, str]]](list)
    for name in names:
        if by_number := re.fullmatch(r"(.*\D)(\d{1,9})", name):
            rows[by_number[1], True].append((int(by_number[2]), name))
        elif by_letter := re.fullmatch(r"(.*[\W_])([A-Za-z])", name):
            rows[by_letter[1], False].append((ord(by_letter[2].casefold()), name))
    return [
        (first, second)
        for row in map(sorted, rows.values())
        for (number, first), (following, second) in pairwise(row)
        if len(row) > 2 or following == number + 1
    ]
