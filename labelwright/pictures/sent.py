"""Images that come over the network in their rows: bounded more tightly than those of files, and nothing is kept.

Called by the wires whose rows have columns. They are read one at a time, in a thread of their own, so that a server
goes on answering texts meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from labelwright.data.columns import TextColumns
from labelwright.errors import DataError
from labelwright.pictures.kept import Reader
from labelwright.pictures.opening import ImageLimits
from labelwright.pictures.rows import read_row

MOST_IMAGES = 16
# A page of a screen of 4K takes some seconds.
IMAGES = ImageLimits(n_bytes=4 * 2**20, pixels=10_000_000, side=10_000)
_ONE_AT_A_TIME = ThreadPoolExecutor(1, "images")

Read = TypeVar("Read")


def texts_of_sent(
    records: Sequence[Mapping[str, Any]], columns: TextColumns, image: str
) -> Iterator[Mapping[str, Any] | DataError]:
    """Records in order, each with the text of its image, or what is wrong with that; as they are where none has one.

    Raises
    ------
    DataError
        More than ``MOST_IMAGES`` images.
    """
    n_images = sum(image in record for record in records) if image else 0
    if n_images > MOST_IMAGES:
        raise DataError(f"{n_images} images; a request may have {MOST_IMAGES}, as each takes seconds: send fewer")
    for record in records:
        if not n_images:
            yield record
            continue
        try:
            yield read_row(columns.unwrapped(record), columns, image, None, _reader(), IMAGES)
        except DataError as error:
            yield error


def need_reader() -> None:
    """Raise MissingExtraError where images cannot be read: when a server starts, not when it is asked."""
    _ = _reader().version


async def off_the_loop(has_images: bool, read: Callable[[], Read]) -> Read:
    """What ``read`` returns; where there are images, in the thread that reads them."""
    return await asyncio.get_running_loop().run_in_executor(_ONE_AT_A_TIME, read) if has_images else read()


@cache
def _reader() -> Reader:
    return Reader()
