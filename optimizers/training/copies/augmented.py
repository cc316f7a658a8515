"""A text as it might have been typed as well: with typos, in other case, or only a part of it.

Each change leaves a text alone that it has no meaning for: typos need letters behind letters, case a script that has
it, a part words between spaces. So Chinese stays as it is, digits, signs and emoji are never touched, and letters that
an accent stands behind (decomposed Unicode) are not parted from it. No text becomes empty.

The kinds are those of Wei and Zou 2019 (EDA, arXiv 1901.11196: random deletion and swaps) on letters instead of words,
as noise that people make (Belinkov and Bisk 2018, arXiv 1711.02173). Words are not replaced by others: that takes a
lexicon, and may take the label.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import numpy as np

# Of each key those beside it in its row and in the rows above and below, on the QWERTY layout.
NEIGHBOURS = {
    **{"q": "wa", "w": "qeas", "e": "wrsd", "r": "etdf", "t": "ryfg", "y": "tugh", "u": "yihj", "i": "uojk"},
    **{"o": "ipkl", "p": "ol", "a": "qwsz", "s": "weadzx", "d": "ersfxc", "f": "rtdgcv", "g": "tyfhvb"},
    **{"h": "yugjbn", "j": "uihknm", "k": "iojlm", "l": "opk", "z": "asx", "x": "sdzc", "c": "dfxv"},
    **{"v": "fgcb", "b": "ghvn", "n": "hjbm", "m": "jkn"},
}
# A text has one typo, and one more for every so many letters in which there may be one.
LETTERS_A_TYPO = 40
# Fewer words than that are no part of a text any more, and a part has half of the text's words at least.
FEWEST_WORDS = 3

Change = Callable[[str, np.random.Generator], str]


def with_typos(text: str, chance: np.random.Generator) -> str:
    """Letters hit beside their key, swapped with the one before, or left out. The first letter of a word stays."""
    signs = list(text)
    is_letter = [_is_letter(text, place) for place in range(len(text))]
    places = [i for i in range(1, len(text)) if is_letter[i - 1] and is_letter[i]]
    n_typos = min(len(places), 1 + len(places) // LETTERS_A_TYPO)
    # From behind, so that places before a letter that is left out stay what they are.
    for place in sorted(chance.choice(len(places), n_typos, replace=False), reverse=True) if places else ():
        at = places[place]
        _mistype(signs, at, at > 1 and is_letter[at - 2], chance)
    return "".join(signs)


def _mistype(signs: list[str], place: int, may_swap: bool, chance: np.random.Generator) -> None:
    kind = chance.integers(3)
    near = NEIGHBOURS.get(signs[place].lower(), "")
    if kind == 0 and near:
        key = near[chance.integers(len(near))]
        signs[place] = key.upper() if signs[place].isupper() else key
    elif kind == 1 and may_swap and signs[place - 1] != signs[place]:
        signs[place - 1], signs[place] = signs[place], signs[place - 1]
    else:
        del signs[place]


def _is_letter(text: str, place: int) -> bool:
    """Whether a letter of a script with case stands there, with no accent of its own behind it."""
    sign = text[place]
    accented = place + 1 < len(text) and unicodedata.category(text[place + 1]).startswith("M")
    return sign.isalpha() and sign.lower() != sign.upper() and not accented


def in_other_case(text: str, chance: np.random.Generator) -> str:
    """All lower, or all upper; the one of them that the text is not where it is one."""
    others = [one for one in (text.lower(), text.upper()) if one != text]
    return others[chance.integers(len(others))] if others else text


def in_part(text: str, chance: np.random.Generator) -> str:
    """Words that follow one another, half of them at least and not all, as they stand in the text."""
    words = [found.span() for found in re.finditer(r"\S+", text)]
    fewest = max(FEWEST_WORDS, -(-len(words) // 2))
    if len(words) <= fewest:
        return text
    n_words = int(chance.integers(fewest, len(words)))
    first = int(chance.integers(len(words) - n_words + 1))
    part = text[words[first][0] : words[first + n_words - 1][1]]
    return part if any(map(str.isalnum, part)) else text


CHANGES: tuple[Change, ...] = (with_typos, in_other_case, in_part)


def augmented(text: str, chance: np.random.Generator) -> str:
    """The text with one of ``CHANGES``, drawn evenly from those that change it; as it is where none does."""
    for number in chance.permutation(len(CHANGES)):
        changed = CHANGES[number](text, chance)
        if changed != text:
            return changed
    return text
