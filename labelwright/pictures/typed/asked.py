"""Typed answers of a language model: a schema's enumerations scored, its free fields written under a grammar.

An enumeration, or a yes or no, is one closed question about the row, as everything in the house: its values' scores,
and the highest is the answer, with its probability. Text, numbers and dates are written, and cannot be but JSON of
their type, or null. What was written is then held to the schema: what fails is null with the reason, and never mended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwright.data.asked.questions import NO, YES
from labelwright.data.label import Label
from labelwright.data.records import listed
from labelwright.engines.protocol import score_options
from labelwright.errors import DataError
from labelwright.labelling import without_number
from labelwright.pictures.typed.extraction import Extracted, checked
from labelwright.pictures.typed.schema import Field
from labelwright.pictures.typed.values import UnclearError, date_of
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import UNCALIBRATED

if TYPE_CHECKING:
    from labelwright.engines.transformers import TransformersEngine

# Rows asked at once: enough to be written side by side.
CHUNK_ROWS = 16
# The longest text and number taken. A pattern has room for one more, and what fills it is refused: a model that is made
# to stop would leave a torn value behind that looks like a whole one.
_LONGEST, _MOST_DIGITS = 200, 15
# Of a text, which may be all spent before it ends; other types end by themselves.
_TEXT_TOKENS = 256
_DIGITS = f"{{0,{_MOST_DIGITS}}}"
_INTEGER = f"-?(0|[1-9][0-9]{_DIGITS})"
_FORMS = {
    "integer": (_INTEGER, "a whole number"),
    "number": (rf"{_INTEGER}(\.[0-9][0-9]{_DIGITS})?", "a number"),
    "date": ('"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"', 'a date as "YYYY-MM-DD"'),
}
_CUE = "Answer:"


@dataclass(frozen=True)
class Free:
    """How a free field is written.

    Attributes
    ----------
    pattern : str
        What is written behind the prompt, the space after the cue included.
    said : str
        The same, to the model.
    n_tokens : int
        What the longest takes; of a text, what it may take.
    longest : int
        Of a text, in characters.
    """

    pattern: str
    said: str
    n_tokens: int
    longest: int = 0

    @classmethod
    def of(cls, one: Field) -> Free:
        """That of a field of text, a number or a date."""
        if one.kind != "string":
            form, said = _FORMS[one.kind]
            # A token is a character at least; beside the digits stand sign, point, quotes, the space and the end.
            return cls(f" (null|{form})", said, 2 * _MOST_DIGITS + 8)
        longest = min(int(one.schema.get("maxLength", _LONGEST)), _LONGEST)
        character = r'([^"\\\x00-\x1f]|\\["\\/bfnrt])'
        return cls(f' (null|"{character}{{0,{longest + 1}}}")', "a text in quotes", _TEXT_TOKENS, longest)

    def read(self, written: str) -> Any:
        """The value that was written. Raises UnclearError for null, and for what is torn or too long."""
        if re.fullmatch(self.pattern, written) is None:
            raise UnclearError(f"the model did not come to an end within {self.n_tokens} tokens")
        value = json.loads(written)
        if value is None or value == "":
            raise UnclearError("the model finds none")
        if isinstance(value, str):
            if self.longest and len(value) > self.longest:
                raise UnclearError(f"longer than {self.longest} characters")
        elif any(len(digits) > _MOST_DIGITS for digits in re.findall(r"\d+", written)):
            raise UnclearError(f"more than {_MOST_DIGITS} digits")
        return value


@dataclass
class Asker:
    """Asks a model for a schema's fields, one after the other in the schema's order, each of many rows.

    Parameters
    ----------
    engine : TransformersEngine
        What can both score and write under a grammar.
    fields : sequence of Field
    images : bool
        Whether rows are ``labelwright.pictures.imaged`` texts, at which the model looks.

    Attributes
    ----------
    prompts : list of Prompt
        What is asked, one a field; those of free fields have no labels.

    Raises
    ------
    DataError
        Values of an enumeration that the model cannot tell apart; lists (``refuse_lists``).
    """

    engine: TransformersEngine
    fields: Sequence[Field]
    images: bool = False
    prompts: list[Prompt] = field(init=False)

    def __post_init__(self) -> None:
        refuse_lists(self.fields)
        self.prompts = [self._prompt(one) for one in self.fields]
        for one, prompt in zip(self.fields, self.prompts, strict=True):
            try:
                if prompt.labels:
                    self.engine.tokens.tree(prompt.options)
            except DataError as error:
                raise DataError(f"{one.name}: {error}") from error

    def ask(self, texts: Sequence[str]) -> list[Extracted | DataError]:
        """Values and reasons of each row, or what the engine has against it: a chunk that is refused is halved."""
        if not texts:
            return []
        try:
            return list(self._asked(texts))
        except DataError as error:
            if len(texts) == 1:
                return [without_number(error)]
        half = len(texts) // 2
        return [*self.ask(texts[:half]), *self.ask(texts[half:])]

    def _asked(self, texts: Sequence[str]) -> list[Extracted]:
        found = [Extracted() for _ in texts]
        for one, prompt in zip(self.fields, self.prompts, strict=True):
            if prompt.labels:
                self._scored(one, prompt, texts, found)
            else:
                self._written(one, prompt, texts, found)
        return found

    def _scored(self, one: Field, prompt: Prompt, texts: Sequence[str], found: Sequence[Extracted]) -> None:
        scores = score_options(self.engine, prompt.render_all(texts), prompt.options, UNCALIBRATED)
        values = [True, False] if one.kind == "boolean" else list(one.choices)
        for own, probs in zip(found, UNCALIBRATED.apply(scores), strict=True):
            best = int(np.argmax(probs))
            try:
                own.values[one.name] = checked(one, values[best])
                own.probabilities[one.name] = round(float(probs[best]), 6)
            except UnclearError as error:
                _lacks(own, one, error)

    def _written(self, one: Field, prompt: Prompt, texts: Sequence[str], found: Sequence[Extracted]) -> None:
        free = Free.of(one)
        answers = self.engine.generate(prompt.render_all(texts), free.n_tokens, pattern=free.pattern)
        for own, answer in zip(found, answers, strict=True):
            try:
                value = free.read(answer)
                own.values[one.name] = checked(one, date_of(value) if one.kind == "date" else value)
            except UnclearError as error:
                _lacks(own, one, error)

    def _prompt(self, one: Field) -> Prompt:
        """What is asked: the property's description, else its caption. All of it is plain text to the model."""
        about, row = str(one.schema.get("description") or one.captions[0]).strip(), "image" if self.images else "text"
        if one.kind in ("enum", "boolean"):
            names = (YES, NO) if one.kind == "boolean" else one.choices
            asked, labels = f"Answer about the {row}: {about}", tuple(map(Label, names))
        else:
            asked = f"Find this in the {row}: {about}\nAnswer with {Free.of(one).said}, or null if it is not there."
            labels = ()
        return Prompt(asked, labels, template=self.engine.template, cue=_CUE, images=self.images)


def refuse_lists(fields: Sequence[Field]) -> None:
    """Raises DataError where a schema has lists, which a model is not asked for, and names all of them."""
    if lists := [repr(one.name) for one in fields if one.kind == "items"]:
        raise DataError(f"{listed(lists)}: a model is asked for single values; leave lists to a schema without --model")


def _lacks(found: Extracted, one: Field, error: UnclearError) -> None:
    found.values[one.name] = None
    found.reasons[one.name] = str(error)
