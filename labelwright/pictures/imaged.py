"""Rows with an image for the model: text and image as one text, by the image's content.

As a row's choices become a part of its text (``labelwright.data.choices``), its image does: the first line names it by
the hash of its content, and the row's own words stand behind. So everything between a file and an engine that compares,
keeps, hashes and hands on texts does the same with images, and knows nothing of them. Only the two ends do: rows come
in with images (``labelwright.pictures.rows``), and ``labelwright.prompt`` takes the line off again, for the engine.

The line is written here and nowhere else. Where a task shows images it is always the first one, so that nothing in a
row's words can pass for it; where it shows none, a prompt does not look for it.
"""

from __future__ import annotations

import re

from labelwright.errors import DataError

# What stands for the image where there is no row: in a prompt that is shown to people or kept in a bundle.
NO_IMAGE = "0" * 64
_LINE = re.compile("\N{OBJECT REPLACEMENT CHARACTER}image ([0-9a-f]{64})")


def image_line(digest: str) -> str:
    """What stands for an image in a text; ``digest`` is the sha256 of its bytes, 64 hexadecimal digits."""
    return f"\N{OBJECT REPLACEMENT CHARACTER}image {digest}"


def imaged(words: str, digest: str) -> str:
    """Words and an image as one text; ``split_imaged`` takes it apart again. Without words the image is all there is.

    Examples
    --------
    >>> split_imaged(imaged("Is it paid?", "ab" * 32)) == ("ab" * 32, "Is it paid?")
    True
    """
    return f"{image_line(digest)}\n{words}".rstrip()


def split_imaged(text: str) -> tuple[str, str]:
    """The image's hash and the words of a text that ``imaged`` made.

    Raises
    ------
    DataError
        If it is no such text.
    """
    first, _, words = text.partition("\n")
    if (found := _LINE.fullmatch(first)) is None:
        raise DataError(f"{text[:40]!r}… comes without its image: give the row's image with it")
    return found[1], words


def image_of(text: str) -> str:
    """The hash of a text's image; empty where it has none."""
    found = _LINE.fullmatch(text.partition("\n")[0])
    return found[1] if found else ""


def words_of(text: str) -> str:
    """A text of a row with an image without it; any other as it is."""
    first, _, words = text.partition("\n")
    return words if _LINE.fullmatch(first) else text
