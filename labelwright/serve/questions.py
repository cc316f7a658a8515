"""A question as a bundle can take it: its own, with all that was tuned, or another, put to its model as it comes.

A bundle's own choice is recognised by its options and by nothing else: they are the task's labels, or at least two of
them; where rows bring their own choices, whatever options there are. Levels, and yes or no, are recognised by the name
of the bundle's question as well (``labelwright.data.asked.asking``). It is asked with the bundle's prompt, weights and
calibration, and its own instructions are not read further. Any other question becomes a plain prompt of its
instructions and options, uncalibrated ("zero-shot"). What clients write stays plain text in either: a Prompt's
segments.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import Own, asking
from labelwright.data.asked.meant import Kind
from labelwright.data.task import Label
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.errors import DataError
from labelwright.prompt import Prompt, Style
from labelwright.serve.service import Lease

TUNED, ZERO_SHOT = "tuned", "zero-shot"
# Longer names are listed behind a code: as answers they would cost an engine more than the text itself.
_LONGEST_NAME = 80
# One thread: encoders serve one caller at a time, and who waits for one holds no thread that others need.
_SCOPES = ThreadPoolExecutor(1, "scope")


@dataclass(frozen=True)
class Question:
    """What is asked, and the options by name, each with a description (may be empty).

    Attributes
    ----------
    is_choice : bool
        Whether the names are the client's own answers; levels, and yes and no, are this house's.
    is_scale : bool
        Whether the options are levels in order, by number, each with its own words.
    called : str
        The name that it goes by, among those of the bundle's questions.
    """

    instructions: str
    options: tuple[tuple[str, str], ...]
    is_choice: bool = False
    is_scale: bool = False
    called: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The options' names."""
        return tuple(name for name, _ in self.options)


@dataclass(frozen=True)
class Put:
    """A question as it is asked of a bundle.

    Attributes
    ----------
    prompt : Prompt
        The bundle's own, or one made for this question.
    text : str
        The row.
    columns : tuple of int
        Which of the prompt's labels the options are, in the question's order; empty for all as they come.
    is_part : bool
        Whether they are a part of what the question has.
    is_own : bool
        Whether it is the bundle's own question.
    decision : Decision
        Over its options.
    lowest : array of n_options, optional
        The probability from which on each belongs to the row's set; None where no sets are asked.
    promised : str
        What the bundle promises of its answers to this question, in words; empty where nothing.
    """

    prompt: Prompt
    text: str
    columns: tuple[int, ...] = ()
    is_part: bool = False
    is_own: bool = False
    decision: Decision = LIKELIEST
    lowest: NDArray[np.float64] | None = None
    promised: str = ""

    @property
    def level(self) -> str:
        """How good an answer can be expected."""
        return TUNED if self.is_own else ZERO_SHOT

    def beside(
        self, probs: NDArray[np.float64], names: Sequence[str], outside: NDArray[np.bool_] | None = None
    ) -> dict[str, Any]:
        """What an answer says beside the label, as far as the bundle abstains, promises or gives sets.

        ``x_said``: the answer, where it is not the likeliest; ``x_abstained``: why no label should be taken, or None;
        ``x_promise``: in words; ``x_label_set``: names.
        """
        decided = self.decision.decide(probs[None], outside)
        said: dict[str, Any] = {}
        if self.decision.leaning is not None and (self.decision.leaning != 1).any() and decided.choice[0] >= 0:
            said["x_said"] = names[int(decided.choice[0])]
        if self.decision.may_abstain:
            said["x_abstained"] = decided.why[0] or None
        if self.promised:
            said["x_promise"] = self.promised
        if self.lowest is not None:
            (in_set,) = self.decision.sets(probs[None], self.lowest)
            said["x_label_set"] = [name for name, is_in in zip(names, in_set, strict=True) if is_in]
        return said

    def of(self, found: NDArray[np.float64] | DataError) -> NDArray[np.float64] | DataError:
        """Probabilities (n_options,) in the question's order, of those that were found for its text.

        Of the bundle's own question with a part of its labels: the tuned probabilities of these, renormalised, that is
        P(label | text, one of these).
        """
        if isinstance(found, DataError) or not self.columns:
            return found
        return _restricted(found, self.columns) if self.is_part else found[list(self.columns)]

    async def outside_of(self, lease: Lease, probs: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """Whether the row belongs to no label, (1,); None where the bundle, or this question, does not ask."""
        if not self.decision.scoped:
            return None
        return await outside_of(lease, [self.text], [probs], self.columns)


async def probabilities_of(lease: Lease, puts: Sequence[Put]) -> list[NDArray[np.float64] | DataError]:
    """Probabilities (n_options,) of each question, or what is wrong with its row; all 0 where there is no answer.

    Whatever is the bundle's own comes out of one reading of the row. With a part of its labels, every label is scored
    to its end, as a part of them may hold little.
    """
    places = range(len(puts))
    groups = [[place] for place in places if not puts[place].is_own]
    for is_part in (False, True):
        groups.append([place for place in places if puts[place].is_own and puts[place].is_part is is_part])
    asked = [_asked(lease, [puts[place] for place in group]) for group in groups if group]
    found = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
    by_place = dict(zip(chain.from_iterable(groups), chain.from_iterable(found), strict=True))
    return [one.of(by_place[place]) for place, one in enumerate(puts)]


async def _asked(lease: Lease, puts: Sequence[Put]) -> list[NDArray[np.float64] | DataError]:
    """What is found for the texts of questions that are all the bundle's own, or of one that is not."""
    texts = [one.text for one in puts]
    if puts[0].is_own:
        return await lease.probabilities(texts, whole=puts[0].is_part)
    return await lease.zero_shot(puts[0].prompt, texts)


async def outside_of(
    lease: Lease, texts: Sequence[str], probs: Sequence[NDArray[np.float64]], columns: Sequence[int] = ()
) -> NDArray[np.bool_] | None:
    """``Bundle.outside``, beside the event loop: an encoder takes its time. What it turns away the tally is told.

    Parameters
    ----------
    columns : sequence of int
        Which of the bundle's labels the probabilities are of, where not all as they come.
    """
    bundle = lease.bundle
    if bundle.scope is None or not texts:
        return None
    rows = np.stack(probs)
    loop = asyncio.get_running_loop()
    found: NDArray[np.bool_] = await loop.run_in_executor(_SCOPES, bundle.outside, texts, rows)
    decision = bundle.decision.among(columns) if columns else bundle.decision
    lease.served.tally.turn_away(int((found & (decision.decide(rows).said >= 0)).sum()))
    return found


def put(bundle: Bundle, state: Any, question: Question) -> Put:
    """How a question about a state is asked of a bundle.

    Raises
    ------
    DataError
        Where rows bring their own choices: choices that are no lines of text.
    """
    kind: Kind = "choice" if question.is_choice else "score" if question.is_scale else "yes_no"
    # Levels go by what they say; their names are numbers.
    options = [(said, "") for _, said in question.options] if question.is_scale else question.options
    own = asking(bundle.task).own(row_text(state), kind, options, [question.called])
    return Put(_plain_prompt(bundle.prompt, question), as_text(state)) if own is None else _own(bundle, own)


def _own(bundle: Bundle, own: Own) -> Put:
    """The bundle's own question; of a part of its labels nothing is promised."""
    lowest, asked = bundle.set_thresholds, bundle.promise.asked
    return Put(
        bundle.prompt,
        own.text,
        own.columns,
        own.is_part,
        is_own=True,
        decision=bundle.decision.among(own.columns, own.is_part),
        lowest=None if lowest is None or own.is_part else lowest[list(own.columns)],
        promised=asked.said if asked.max_error < 1 and not own.is_part else "",
    )


def of_bundle(bundle: Bundle) -> str:
    """What a bundle without a language model can answer, as the end of a sentence."""
    return f"{bundle.weights.base} has no language model and {asking(bundle.task).answerable()}"


def row_text(state: Any) -> str:
    """The row in a state, for a bundle that reads one text.

    A text is the row; of an object, its ``inputs`` where it has some, as DSPy's clients do; the one text in it where
    there is only one. A list of texts is one text of as many lines. Anything else is read as the JSON that it is.
    """
    if isinstance(state, dict) and isinstance(state.get("inputs"), dict | str):
        state = state["inputs"]
    if isinstance(state, dict) and len(state) == 1:
        (state,) = state.values()
    if isinstance(state, list) and all(isinstance(one, str) for one in state):
        return "\n".join(state)
    return as_text(state)


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON, None as nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _plain_prompt(own: Prompt, question: Question) -> Prompt:
    """A question's instructions and options, as an untuned prompt of a task has them."""
    style: Style = "name" if _can_be_answers(question.names) else "code"
    labels = tuple(Label(" ".join(name.split()), " ".join(said.split())) for name, said in question.options)
    return Prompt(question.instructions, labels, style=style, template=own.template, cue="Answer:")


def _can_be_answers(names: tuple[str, ...]) -> bool:
    """Whether a model can be asked for the names themselves; a code stands for them otherwise.

    Tokenizers may take names for equal that differ in composed characters or in space alone.
    """
    plain = {unicodedata.normalize("NFKC", name) for name in names}
    return len(plain) == len(names) and all(
        name == " ".join(name.split()) and 0 < len(name) <= _LONGEST_NAME for name in names
    )


def _restricted(probs: NDArray[np.float64], columns: tuple[int, ...]) -> NDArray[np.float64]:
    """Some labels' probabilities, renormalised; all alike where all of them are 0 and there is an answer."""
    part = probs[list(columns)]
    if total := part.sum():
        return part / total
    return np.full(len(columns), 1 / len(columns) if probs.any() else 0.0)
