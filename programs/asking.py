"""Questions to a language model, and its answers on disk: what was answered once is not asked again.

The idea: what is asked next hangs on the answers before alone. So a command that was killed is given again from its
beginning, finds its answers in the file, in whatever order they came, and goes on where it was.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from labelwright.engines.servers.asking import KEY, in_order, key_for
from labelwright.errors import ModelError
from labelwright.files import short_hash
from labelwright.plain_text import printable_json, without_secrets

TIMEOUT_S = 300.0
_RETRIES = 4
# What a server says of a question that is too long, or that it will not answer.
_OF_THIS_QUESTION = (400, 413, 422)
# So many questions that a model refused, and none that it answered, are no accident.
_REFUSES_ALL = 3
# Characters of an answer that are kept, a token that it may have; more is a server that heeds no ``max_tokens``. Few
# tokens stand for more characters than 16, and of words they are four or five on average.
_CHARACTERS_PER_TOKEN = 16

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes
    ----------
    system : str
    turns : tuple of str
        A person's words and the model's in turns, the person's first and last.
    temperature : float
    max_tokens : int
        Of the answer.
    number : int
        Not said: of questions that are alike, each with another number has an answer of its own.
    """

    system: str
    turns: tuple[str, ...]
    temperature: float = 0.0
    max_tokens: int = 1000
    number: int = 0

    def repaired(self, answer: str, remark: str) -> Question:
        """The question behind an answer that cannot be read: what is wrong with it."""
        return replace(self, turns=(*self.turns, answer, remark))


class Answer(NamedTuple):
    """What was said, and what it took; ``price`` in dollars, None where nobody knows it."""

    text: str
    n_in: int = 0
    n_out: int = 0
    price: float | None = None


class RefusedError(Exception):
    """The server does not take this one question."""


class LanguageModel:
    """A model that writes, by DSPy.

    Parameters
    ----------
    name : str
        As DSPy has it; with ``url`` the name under which that OpenAI-compatible server does.
    settings : str
        Where a person set them, for messages: "[synthetic] model or url".
    """

    def __init__(self, name: str, url: str, settings: str) -> None:
        import dspy

        self.name, self._url, self._settings = name, url, settings
        self._id = f"openai/{name}" if url else name
        # Models without a server say themselves what they look for.
        where = {"api_base": url, "api_key": key_for(url) or "none"} if url else {}
        # What is kept is kept in the run's own folder.
        self._lm = dspy.LM(self._id, cache=False, num_retries=_RETRIES, timeout=TIMEOUT_S, **where)

    def __call__(self, question: Question) -> Answer:
        """Ask.

        Raises
        ------
        ModelError
            Nobody there, a key refused, no such model.
        RefusedError
            This question alone is not taken.
        """
        from dspy import lm15
        from dspy.utils.exceptions import LMAuthError, LMError

        speakers = (lm15.Message.user, lm15.Message.assistant)
        said = tuple(speakers[number % 2](text or " ") for number, text in enumerate(question.turns))
        config = lm15.Config(max_tokens=question.max_tokens, temperature=question.temperature)
        lm = self._lm.copy()
        try:
            found = lm(lm15.Request(model=self._id, messages=said, system=question.system, config=config))
        except LMAuthError as error:
            # With a server's address the key is one of ours, whatever the client would look for without one.
            keys = KEY if self._url else " or ".join(error.env_keys or (KEY,))
            raise ModelError(f"{self.name}: the key is refused: set {keys} in the environment") from error
        except LMError as error:
            if error.status in _OF_THIS_QUESTION:
                raise RefusedError(_said(error)) from error
            raise ModelError(f"{self.name}: {_said(error)}; look at the server, or correct {self._settings}") from error
        usage = found.usage
        price = lm.history[-1].get("cost") if lm.history else None
        return Answer(str(found.text or ""), usage.input_tokens or 0, usage.output_tokens or 0, price)


def _said(error: Exception) -> str:
    """The first line of what is wrong."""
    return without_secrets(next(iter(str(error).strip().splitlines()), type(error).__name__))


Ask = Callable[[Question], Answer]


class Answers:
    """What was answered, in a file of a line each.

    Parameters
    ----------
    path : Path
        Made with the first answer; a line that a kill cut short counts as not there.
    most : float
        Answers that the file may hold; infinity where who calls has bounded what is asked.

    Attributes
    ----------
    n_used, n_new : int
        Answers that were given here; those of them that a model was asked for.
    n_refused : int
        Questions that a server did not take.
    spent : Answer
        What those given here took together; its price is None where that of one is not known.
    """

    def __init__(self, path: Path, most: float) -> None:
        self._path, self._most = path, most
        self._lock = threading.Lock()
        self._known: dict[str, Answer] = {}
        self.n_used = self.n_new = self.n_refused = 0
        self.spent = Answer("", price=0.0)
        self._last_refusal = ""
        self._not_taken: set[str] = set()
        # Of each model: whether it answered one question, and how many it refused.
        self._answered: set[str] = set()
        self._refused: Counter[str] = Counter()
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                value = json.loads(line)
                key = str(value.pop("key"))
                self._known[key] = Answer(**value)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    @property
    def is_full(self) -> bool:
        """Whether no more may be asked."""
        return len(self._known) >= self._most

    def most_for(self, name: str, questions: Sequence[Question]) -> int:
        """Answers that the file will hold once all of these have one, and those that it has."""
        return len(self._known.keys() | {_key(name, question) for question in questions})

    def n_left(self, name: str, questions: Sequence[Question]) -> int:
        """How many different ones have no answer, and were not refused one."""
        return len({_key(name, question) for question in questions} - self._known.keys() - self._not_taken)

    def ask(
        self, ask: Ask, name: str, questions: Sequence[Question], at_once: int, say: Callable[[int], object]
    ) -> list[Answer | None]:
        """Answers in the questions' order; None for what is refused, or not asked since there are enough.

        Parameters
        ----------
        name : str
            The model's: another one's answers are others.
        at_once : int
            Questions in flight.
        say : callable
            Takes how many are answered.

        Raises
        ------
        ModelError
            As ``LanguageModel``; where a model refuses everything. What was answered until then is kept.
        """
        done = 0

        def one(question: Question) -> Answer | None:
            nonlocal done
            found = self._answer(ask, name, question)
            with self._lock:
                done += 1
                say(done)
            return found

        different = list(dict.fromkeys(questions))
        found = dict(zip(different, in_order(one, different, at_once), strict=True))
        enough = _REFUSES_ALL if self._known else 1
        if name not in self._answered and self._refused[name] >= enough:
            raise ModelError(f"{name} refuses every question: {self._last_refusal}")
        return [found[question] for question in questions]

    def _answer(self, ask: Ask, name: str, question: Question) -> Answer | None:
        key = _key(name, question)
        with self._lock:
            if key in self._known:
                return self._given(name, self._known[key])
            if len(self._known) >= self._most:
                return None
            # Its place is taken before it is asked: as many are paid for as may be.
            self._known[key] = Answer("")
        try:
            answer = ask(question)
            answer = answer._replace(text=answer.text[: _CHARACTERS_PER_TOKEN * question.max_tokens])
        except BaseException as error:
            with self._lock:
                del self._known[key]
                if not isinstance(error, RefusedError):
                    raise
                self.n_refused += 1
                self._refused[name] += 1
                self._not_taken.add(key)
                self._last_refusal = str(error)
            return None
        with self._lock:
            self._known[key] = answer
            self.n_new += 1
            self._keep({"key": key, **answer._asdict()})
            return self._given(name, answer)

    def _given(self, name: str, answer: Answer) -> Answer:
        """Counted, by who holds the lock: what an error ends after it was paid for as well."""
        self._answered.add(name)
        self.n_used += 1
        prices = (self.spent.price, answer.price)
        price = None if None in prices else sum(one or 0.0 for one in prices)
        self.spent = Answer("", self.spent.n_in + answer.n_in, self.spent.n_out + answer.n_out, price)
        return answer

    def _keep(self, value: dict[str, Any]) -> None:
        """Append a line; it is on disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            # Behind a line that was cut short this one would be lost with it.
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
            line = printable_json(json.dumps(value, ensure_ascii=False))
            file.write(line.encode("utf-8", "replace") + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _key(name: str, question: Question) -> str:
    return short_hash([name, asdict(question)])


@dataclass
class Readings:
    """How answers could be read: at once, after the model was asked to mend them, or not at all."""

    n_answered: int = 0
    n_repaired: int = 0
    n_unread: int = 0


def ask_and_read(
    given: Callable[[Sequence[Question]], list[Answer | None]],
    questions: Sequence[Question],
    read: Callable[[int, str], Parsed | None],
    remark: str,
    readings: Readings,
) -> list[Parsed | None]:
    """Ask, and read the answers; what cannot be read is asked to be mended, once.

    Parameters
    ----------
    given : callable
        Answers to questions.
    read : callable
        From a question's number and an answer to what it says; None where it cannot be read.
    remark : str
        What a model is told whose answer cannot be read.
    """
    first = given(questions)
    found = [None if one is None else read(number, one.text) for number, one in enumerate(first)]
    broken = [(i, one.text) for i, one in enumerate(first) if one is not None and found[i] is None]
    again = given([questions[i].repaired(text, remark) for i, text in broken]) if broken else []
    for (i, _), one in zip(broken, again, strict=True):
        found[i] = None if one is None else read(i, one.text)
    readings.n_answered += sum(one is not None for one in first)
    readings.n_repaired += sum(found[i] is not None for i, _ in broken)
    readings.n_unread += sum(found[i] is None for i, _ in broken)
    return found
