"""A row as a question to a model elsewhere, and its answer as a label; what was answered once is not asked again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, Task
from labelwright.engines.servers.answers import read_answer
from labelwright.errors import RecipeError
from labelwright.files import short_hash
from labelwright.prompt import Prompt, Template
from labelwright.statistics.metrics import Ints
from programs.asking import Answers, LanguageModel, Question
from workbench.recipe.tables.candidates import CascadeTable

# What stands in a label's place: an answer that is none of them, and a question that the server did not take.
NO_LABEL, REFUSED = -1, -2
_AT_ONCE = 4
# Of an answer, thoughts included.
_MAX_TOKENS = 2000
_ASKED = "Answer with one of the labels, exactly as it is written above, and with nothing else."
_ASKED_LETTER = "Answer with the letter of the right choice, and with nothing else."


class HostedModel:
    """Answers rows with labels.

    Parameters
    ----------
    table : CascadeTable
        Which model, where, and how many questions it may be asked in all.
    folder : Path
        Where its answers are kept, in a file for each model and server. Neither keys nor addresses are written.
    rows : sequence of Example
        All that it may be asked about, whatever threshold is chosen.
    """

    def __init__(self, table: CascadeTable, task: Task, folder: Path, rows: Sequence[Example]) -> None:
        self.name, self._most = table.hosted_model, table.hosted_calls
        prompt = Prompt.for_task(task, Template())
        self._system = f"{prompt.system}\n\n{_ASKED_LETTER if asking(task).columns else _ASKED}"
        self._labels = prompt.answers
        path = folder / f"hosted-{short_hash([table.hosted_model, table.hosted_url])}.jsonl"
        self._answers = Answers(path, self._most)
        self._all = self._questions(rows)
        self._model = LanguageModel(table.hosted_model, table.hosted_url, "[cascade] hosted_model or hosted_url")

    def answer(self, rows: Sequence[Example]) -> Ints:
        """The position of each row's label, (n_rows,), or ``NO_LABEL``, or ``REFUSED``.

        Raises
        ------
        ModelError
            Nobody there, a key refused, no such model, or one that takes no question. What was answered is kept.
        RecipeError
            More questions than the recipe allows.
        """
        questions = self._questions(rows)
        found = self._answers.ask(self._model, self.name, questions, _AT_ONCE, lambda _: None)
        if n_left := self._answers.n_left(self.name, questions):
            # With more of them calib has more as well, and another threshold; of all rows no more can be asked.
            enough = self._answers.most_for(self.name, self._all)
            raise RecipeError(
                f"[cascade] hosted_calls = {self._most}: all are used, and {n_left} rows have no answer of {self.name} "
                f"yet; the others are kept, so set hosted_calls to {enough}, enough for all calib and test rows"
            )
        return np.array([REFUSED if one is None else self._read(one.text) for one in found], dtype=np.int64)

    def _questions(self, rows: Sequence[Example]) -> list[Question]:
        return [Question(self._system, (row.text.strip(),), max_tokens=_MAX_TOKENS) for row in rows]

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens in and out of the answers that were given here, those kept from before among them."""
        return self._answers.spent.n_in, self._answers.spent.n_out

    @property
    def price(self) -> float | None:
        """What they cost, in dollars as DSPy knows it; None where it does not know that of one."""
        return self._answers.spent.price

    def _read(self, text: str) -> int:
        found = read_answer(text, self._labels)
        return NO_LABEL if found is None else found
