"""Where on a page a field's value may stand: beside its caption, nearest places first.

A caption is found by its letters and digits alone, one of them wrong where it is long and nowhere right: OCR drops
spaces and takes l for 1. A piece that goes on in words is a longer phrase and no caption: "Date of birth" is not
"Date". Places, in this order: behind the caption in its own piece ("Total: 12.50", "Total 12.50"); before it, for what
is counted ("45 comments"); to its right on the line; below it. Another field's caption is no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from labelwright.pictures.layout import Piece, lines_of

_LONG_CAPTION = 6
# In heights of the caption: how far below it a value may begin, and how far to the left of it.
_BELOW, _ASIDE = 2.6, 1.5
# How far apart pieces of one value are, in heights.
_APART = 1.0
# A value's next line: so far below it, its edge so far from the value's, in heights; and so many pieces in all.
_NEXT_LINE, _SAME_EDGE, _MOST_PIECES = 0.5, 0.5, 40
# What may follow a caption in its piece: a mark, or a value that is no word of a longer phrase, as "Line 2: …" is.
_GOES_ON = re.compile(r"[:*=.·…$€£¥]|(?!\d{1,2}\s*:(?!\d))\S*\d")
# Behind a caption's last letter, and still its own.
_CLOSING = ")]} "
_MARKS = " :*-–—.…·|="


@dataclass(frozen=True)
class Place:
    """Text that may be a value, and where from the caption it stands."""

    text: str
    where: str


@dataclass(frozen=True)
class _Caption:
    line: int
    at: int
    before: str
    behind: str

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """A piece that is the caption alone or goes on behind a mark comes before one that merely begins with it."""
        return bool(self.before), bool(self.behind) and self.behind[0] not in ":*", self.line


@dataclass(frozen=True)
class _Run:
    line: int
    pieces: Sequence[Piece]


class Captions:
    """The lines of a page, and which of their pieces are captions of a schema's fields.

    Parameters
    ----------
    pieces : sequence of Piece
    known : sequence of str
        All captions that may be on the page.
    """

    def __init__(self, pieces: Sequence[Piece], known: Sequence[str]) -> None:
        self.lines = lines_of(pieces)
        self._known = [key for one in known if (key := _key(one))]

    def places(self, captions: Sequence[str], counted: bool) -> Iterator[Place]:
        """Where the value of a field with these captions may stand, nearest first; none where no caption is found.

        ``counted`` also looks before a caption in its own piece.
        """
        found = self._all(captions, counted)
        for one in sorted(found, key=lambda one: one.rank):
            if one.before:  # "7 points by ada 1 hour ago": what follows is about something else
                yield Place(one.before, "before")
                continue
            if behind := _bare(one.behind):
                yield Place(behind, "behind")
            right = self._right(one)
            if right:
                yield Place(self._whole(right), "right")
            elif not behind and (below := self._below(one)):
                yield Place(self._whole(below), "below")

    def has(self, captions: Sequence[str], counted: bool = False) -> bool:
        """Whether one of the captions is on the page."""
        return bool(self._all(captions, counted))

    def is_caption(self, text: str) -> bool:
        """Whether a piece is, or begins with, a caption and a mark."""
        return any(_splits(text, key, False, _is_same) for key in self._known)

    @staticmethod
    def is_only(text: str, captions: Sequence[str]) -> bool:
        """Whether a text is one of these captions and nothing else."""
        return any(_key(text) == key or _is_near(_key(text), key) for key in map(_key, captions))

    def _all(self, captions: Sequence[str], counted: bool) -> list[_Caption]:
        """Where these captions are; one that is nowhere as it is written, where something nearly the same is."""
        keys = [key for one in captions if (key := _key(one))]
        exact = [one for key in keys for one in self._find(key, counted, _is_same)]
        others = [key for key in self._known if key not in keys]
        return exact or [
            one
            for key in keys
            for one in self._find(key, counted, _is_near)
            if not any(_splits(self.lines[one.line][one.at].text, other, counted, _is_same) for other in others)
        ]

    def _find(self, key: str, counted: bool, is_caption: Callable[[str, str], bool]) -> list[_Caption]:
        return [
            _Caption(number, at, before, behind)
            for number, line in enumerate(self.lines)
            for at, piece in enumerate(line)
            for before, behind in _splits(piece.text, key, counted, is_caption)
        ]

    def _right(self, caption: _Caption) -> _Run | None:
        """What begins behind it on its line."""
        line = self.lines[caption.line]
        if caption.at + 1 == len(line) or self.is_caption(line[caption.at + 1].text):
            return None
        return self._run(caption.line, caption.at + 1)

    def _below(self, caption: _Caption) -> _Run | None:
        """What begins below it, at its left edge."""
        own = self.lines[caption.line][caption.at]
        for number in range(caption.line + 1, len(self.lines)):
            line = self.lines[number]
            at = next((at for at, one in enumerate(line) if abs(one.left - own.left) <= _ASIDE * own.height), None)
            if at is not None:
                is_far = line[at].top - own.bottom > _BELOW * own.height
                return None if is_far or self.is_caption(line[at].text) else self._run(number, at)
        return None

    def _run(self, number: int, at: int) -> _Run:
        """Pieces of a line from one on that belong together."""
        line = self.lines[number]
        end = at + 1
        while (
            end < len(line)
            and line[end].left - line[end - 1].right <= _APART * line[end].height
            and not self.is_caption(line[end].text)
        ):
            end += 1
        return _Run(number, line[at:end])

    def _whole(self, run: _Run) -> str:
        """A value with the lines that go on below it: close, at the same edge, with nothing before them."""
        text, last = [piece.text for piece in run.pieces], run.pieces[0]
        for line in self.lines[run.line + 1 :]:
            first = line[0]
            is_next = first.top - last.bottom <= _NEXT_LINE * last.height and first.top > last.top
            if not (is_next and abs(first.left - last.left) <= _SAME_EDGE * last.height):
                break
            if self.is_caption(first.text) or len(text) > _MOST_PIECES:
                break
            text += [piece.text for piece in line]
            last = first
        return " ".join(text)


def _key(text: str) -> str:
    return "".join(one for one in text.casefold() if one.isalnum())


def _bare(behind: str) -> str:
    """What stands behind a caption without the marks around it; a minus that touches a number is none of them."""
    text = behind.strip(_MARKS)
    at = behind.find(text)
    if text[:1].isdigit() and behind[max(at - 1, 0) : at] in ("-", "−", "–") and at > 1:
        text = behind[at - 1] + text
    return text + behind.rstrip()[-1] if text[-1:].isdigit() and re.search(r"\d[-−–]\s*$", behind) else text


def _splits(text: str, key: str, counted: bool, is_caption: Callable[[str, str], bool]) -> list[tuple[str, str]]:
    """What stands before and behind a caption in a piece; nothing where it is not there."""
    found = []
    starts = [0] if not counted else [0, *(m.end() for m in re.finditer(r"[\s|·•]+|(?<=\d)(?=[^\W\d])", text))]
    for start in starts:
        for end in range(start + 1, len(text) + 1):
            if end < len(text) and text[end].isalnum() and not (text[end].isdigit() and text[end - 1].isalpha()):
                continue
            own = _key(text[start:end])
            if len(own) > len(key) + 1:
                break
            is_glued = start > 0 and text[start - 1].isdigit()  # in 1.2kpoints k is no wrong letter of the caption
            if text[end - 1].isalnum() and is_caption(own, key) and not (is_glued and own != key):
                before, behind = text[:start].strip(), text[end:].lstrip(_CLOSING).strip()
                if before[-1:].isdigit() or (not before and (not behind or _GOES_ON.match(behind))):
                    found.append((before, behind))
                break
    return found


def _is_same(one: str, other: str) -> bool:
    return one == other


def _is_near(one: str, other: str) -> bool:
    """Whether two are long and differ by one character put in, left out or changed; a digit for a digit is another."""
    if min(len(one), len(other)) < _LONG_CAPTION or abs(len(one) - len(other)) > 1:
        return False
    n = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if one[n : n + 1].isdigit() and other[n : n + 1].isdigit():
        return False
    return one[n + 1 :] == other[n + 1 :] or one[n + 1 :] == other[n:] or one[n:] == other[n + 1 :]
