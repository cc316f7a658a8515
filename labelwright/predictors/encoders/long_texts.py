"""Texts longer than an encoder reads: refused, or shortened and counted, as ``long_rows`` says; never cut silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labelwright.engines.settings import LONG_ROWS
from labelwright.errors import DataError, RecipeError

# (start, end) in the text of each of its tokens, for every text.
Places = Callable[[list[str]], list[list[tuple[int, int]]]]


class LongTexts:
    """What happens to texts that do not fit, and how many did not.

    Parameters
    ----------
    how : {"refuse", "head", "head_tail"}
        As in ``labelwright.engines.settings.EngineSettings``.

    Attributes
    ----------
    n_shortened : int
        Texts shortened so far; one that is read twice counts twice.
    """

    def __init__(self, how: str = "head") -> None:
        if how not in LONG_ROWS:
            raise RecipeError(f"long_rows = {how!r}: expected one of {', '.join(map(repr, LONG_ROWS))}")
        self.how = how
        self.n_shortened = 0

    def fit(self, texts: Sequence[str], room: int, places: Places, reader: str) -> list[str]:
        """The texts, of which those of more than ``room`` tokens are shortened where that is allowed.

        With "head" they stay as they are, for the tokenizer to cut.

        Parameters
        ----------
        room : int
            Tokens that may be a text's.
        places : callable
            Asked only for texts that may be too long: a token has a byte at least.
        reader : str
            What to call the model in messages.

        Raises
        ------
        DataError
            A text that does not fit, where that is refused.
        """
        fitted = list(texts)
        suspects = [row for row, text in enumerate(fitted) if len(text.encode("utf-8", "replace")) > room]
        if not suspects:
            return fitted
        for row, spans in zip(suspects, places([fitted[row] for row in suspects]), strict=True):
            if len(spans) <= room:
                continue
            if self.how == "refuse":
                raise DataError(
                    f"row {row + 1} ({fitted[row][:40]!r}…): {len(spans)} tokens, but {reader} reads at most {room} of "
                    f'a text; shorten it, or set long_rows = "head" or "head_tail" (--long-rows)'
                )
            self.n_shortened += 1
            if self.how == "head_tail":
                tail = room // 2
                head = fitted[row][: spans[room - tail - 1][1]]
                fitted[row] = f"{head} {fitted[row][spans[len(spans) - tail][0] :]}" if tail else head
        return fitted
