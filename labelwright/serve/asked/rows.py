"""Rows asked of a leased bundle: what was found for each, and whether it belongs to any label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.data.asked.asking import AskedRow
from labelwright.data.records import Fault, refusal
from labelwright.errors import DataError
from labelwright.labelling import of_rows
from labelwright.serve.questions import outside_of
from labelwright.serve.service import Lease


class Found(NamedTuple):
    """What was found for a row, as ``labelwright.decisions.answered`` takes it.

    Attributes
    ----------
    probs : ndarray of shape (n_labels,), or (n_points, n_labels) where several points are asked
    choices : tuple of str, optional
        The row's own answers.
    outside : bool, optional
        Whether it belongs to no label; None where the bundle does not ask.
    """

    probs: NDArray[np.float64]
    choices: tuple[str, ...] | None
    outside: Any


async def found_for(lease: Lease, rows: Sequence[AskedRow], source: str, only: bool = False) -> list[Found]:
    """What the bundle finds for rows, each read once for all that is asked of it.

    Parameters
    ----------
    source : str
        What to call the rows in messages.
    only : bool
        There is one row, which needs no number.

    Raises
    ------
    DataError
        Rows that cannot be answered, all of them.
    RefusalError
        More rows than a request may have.
    """
    scored = of_rows(rows, await lease.probabilities([text for row in rows for text in row.texts]))
    if faults := [Fault(number, str(one)) for number, one in enumerate(scored, start=1) if isinstance(one, DataError)]:
        raise DataError(f"{source}: {faults[0].reason}") if only else refusal(source, faults)
    probs = [one for one in scored if not isinstance(one, DataError)]
    outside = await outside_of(lease, [row.texts[0] for row in rows], probs)
    beyond = [None] * len(rows) if outside is None else outside.tolist()
    return [Found(one, row.choices, out) for row, one, out in zip(rows, probs, beyond, strict=True)]
