"""A row as a question to a model elsewhere, and its answer as a label; what was answered once is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np

from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, Task
from labelwright.engines.servers.answers import read_answer
from labelwright.errors import RecipeError
from labelwright.files import short_hash
from labelwright.prompt import Prompt, Template
from labelwright.statistics.metrics import Ints
from programs.asking import Answer, Answers, LanguageModel, Question, RefusedError
from workbench.recipe.tables.candidates import Elsewhere

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
    elsewhere : Elsewhere
        Which model, where, and how many questions it may be asked in all.
    folder : Path
        Where its answers are kept, in a file for each model and server. Neither keys nor addresses are written.
    rows : sequence of Example
        All that it may be asked about.
    which : str
        What these are, for messages.
    """

    def __init__(self, elsewhere: Elsewhere, task: Task, folder: Path, rows: Sequence[Example], which: str) -> None:
        self.name, self._elsewhere, self._which = elsewhere.model, elsewhere, which
        prompt = Prompt.for_task(task, Template())
        self._system = f"{prompt.system}\n\n{_ASKED_LETTER if asking(task).columns else _ASKED}"
        self._labels = prompt.answers
        path = folder / f"hosted-{short_hash([elsewhere.model, elsewhere.url])}.jsonl"
        self._answers = Answers(path, elsewhere.calls)
        self._rows = rows

    @cached_property
    def _model(self) -> LanguageModel:
        table = self._elsewhere.table
        return LanguageModel(self.name, self._elsewhere.url, f"[{table}] hosted_model or hosted_url")

    def answer(self, rows: Sequence[Example], say: Callable[[int], object] = lambda n_done: None) -> Ints:
        """The position of each row's label, (n_rows,), or ``NO_LABEL``, or ``REFUSED``.

        Parameters
        ----------
        say : callable
            Takes how many different rows have an answer.

        Raises
        ------
        ModelError
            Nobody there, a key refused, no such model, or one that takes no question. What was answered is kept.
        RecipeError
            More questions than the recipe allows.
        """
        questions = self._questions(rows)
        found = self._answers.ask(self._model, self.name, questions, _AT_ONCE, say)
        if n_left := self._answers.n_left(self.name, questions):
            # With more of them calib has more as well, and another threshold; of all rows no more can be asked.
            calls, table = self._elsewhere.calls, self._elsewhere.table
            raise RecipeError(
                f"[{table}] hosted_calls = {calls}: all are used, and {n_left} rows have no answer of {self.name} yet; "
                f"the others are kept, so set hosted_calls to {self.n_needed(self._rows)}, enough for {self._which}"
            )
        return self._read_all(found)

    def kept(self, rows: Sequence[Example]) -> Ints:
        """As ``answer``, of what was answered before: nobody is asked, and a row without an answer is ``REFUSED``."""

        def nobody(question: Question) -> Answer:
            raise RefusedError("it was not asked")

        return self._read_all(self._answers.ask(nobody, self.name, self._questions(rows), 1, lambda n_done: None))

    def n_left(self, rows: Sequence[Example]) -> int:
        """How many of these it did not answer yet."""
        return self._answers.n_left(self.name, self._questions(rows))

    def key(self, rows: Sequence[Example]) -> str:
        """A hash of who is asked and of all that is asked about these, the task's words included."""
        return short_hash([self.name, [asdict(question) for question in self._questions(rows)]])

    def n_needed(self, rows: Sequence[Example]) -> int:
        """Answers that are kept when all of these have one, those that are kept now included."""
        return self._answers.most_for(self.name, self._questions(rows))

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

    def _read_all(self, found: Sequence[Answer | None]) -> Ints:
        return np.array([REFUSED if one is None else self._read(one.text) for one in found], dtype=np.int64)

    def _read(self, text: str) -> int:
        found = read_answer(text, self._labels)
        return NO_LABEL if found is None else found
