"""A challenger in the shadow: the same rows answered by another bundle, asked now or read from its own file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.columns import TextColumns
from labelwright.data.records import checked_text
from labelwright.decisions.answered import answer
from labelwright.engines.protocol import Engine
from labelwright.errors import DataError
from labelwright.labelling import CHUNK_ROWS, score_rows
from labelwright.watch.answers import Answer

Pairs = Iterator[tuple[Answer, Answer | None]]


def asked(answers: Iterable[Answer], challenger: Bundle, engine: Engine, source: str, columns: TextColumns) -> Pairs:
    """Each answer beside the challenger's, which is asked some rows at a time.

    Parameters
    ----------
    source : str
    columns : TextColumns
        The file of the answers and its columns of the text, for messages.

    Raises
    ------
    DataError
        A row has no text to ask about; or rows bring their own choices, which a file of answers does not hold as such.
    """
    if not asking(challenger.task).text_is_asked:
        beyond = asking(challenger.task).beyond
        raise DataError(f"--against: {beyond} here; name a file of the challenger's answers")
    remaining = iter(answers)
    while chunk := list(itertools.islice(remaining, CHUNK_ROWS)):
        # Where the bundle itself had no text it gave no answer.
        if silent := [one.number for one in chunk if one.text is None and one.label is not None]:
            raise DataError(
                f"{source}, row {silent[0]}: no text in column {columns}, which a challenger has to read: "
                f"`labelwright predict --output` keeps texts; or name a file of the challenger's answers"
            )
        texts = [_readable(one.text) for one in chunk]
        scored = iter(score_rows(challenger, engine, [text for text in texts if text is not None]))
        for one, text in zip(chunk, texts, strict=True):
            probs = None if text is None else next(scored)
            said = {"label": None} if probs is None or isinstance(probs, DataError) else answer(challenger, probs)
            yield one, Answer(one.number, said.get("suggested", said["label"]))


def _readable(text: str | None) -> str | None:
    """The text; None where no model can read it, to which there is no answer."""
    try:
        return None if text is None else checked_text(text, "text")
    except DataError:
        return None


def beside(ours: Iterable[Answer], theirs: Iterable[Answer], source: str, against: str) -> Pairs:
    """The answers of two files, row by row. Raises DataError where they are not about the same rows."""
    same = f"{source} and {against}: expected answers to the same rows"
    for one, other in itertools.zip_longest(ours, theirs):
        if one is None or other is None:
            raise DataError(f"{same}, but one of them has more")
        if one.text is not None and other.text is not None and one.text != other.text:
            raise DataError(f"{same}, but row {one.number} has another text in each")
        yield one, other
