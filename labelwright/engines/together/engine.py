"""Answers with several bundles in a language model's place, as a plan says.

Takes each prompt's row and nothing else of it, asks members as they would be asked alone (``labelwright.decide``:
their own prompt, engine and calibration), and gives log-probabilities, so that whatever works on an engine works here.
Members that read rows through the same encoder share its pass; those that are the same model share that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.store import members_of
from labelwright.bundle.types import Bundle
from labelwright.data.asked.questions import put_all
from labelwright.decide import Query
from labelwright.engines.protocol import Engine, close, has_probabilities, is_alive, reads_images
from labelwright.engines.settings import EngineSettings
from labelwright.engines.together.document import read_plan
from labelwright.engines.together.plan import Floats, Found, Ints, Plan
from labelwright.errors import BundleError, DataError
from labelwright.models.weights import Together, Weights
from labelwright.predictors.encoders.sentence_encoder import one_pass
from labelwright.prompt import Prompt, Rendered, Template
from labelwright.statistics.calibration import Calibration

Opener = Callable[[Weights, EngineSettings], Engine]


class Member(NamedTuple):
    """A bundle, and an engine opened on its weights."""

    bundle: Bundle
    engine: Engine


class TogetherEngine:
    """``labelwright.engines.protocol.Engine`` over several bundles.

    Parameters
    ----------
    plan : Plan
    members : sequence of Member
        In the plan's order; all of the same labels, in the same order.
    name : str
        What to call it in reports.
    """

    def __init__(self, plan: Plan, members: Sequence[Member], name: str) -> None:
        self.name = name
        self.template = Template()
        self.plan = plan
        self.members = tuple(members)
        task = members[0].bundle.task
        self._names = task.names
        self._columns = {option: k for k, option in enumerate(Prompt.for_task(task, self.template).options)}

    @classmethod
    def open(cls, weights: Together, settings: EngineSettings, open_engine: Opener) -> TogetherEngine:
        """Open every member. Settings are for all; how long a member thinks is its own.

        Raises
        ------
        LabelwrightError
            As ``labelwright.bundle.store.load`` and ``open_engine`` of a member.
        """
        opened: dict[tuple[Weights, int], Engine] = {}
        members = []
        for bundle in members_of(weights):
            tokens = bundle.prompt.template.thinking_tokens
            key = bundle.weights, tokens
            if key not in opened:
                opened[key] = open_engine(bundle.weights, replace(settings, thinking_tokens=tokens))
            members.append(Member(bundle, opened[key]))
        return cls(read_plan(weights.folder).plan, members, weights.base)

    @property
    def n_shortened(self) -> int:
        """Rows that members shortened so far, each member's counted."""
        return sum({id(one.engine): one.engine.n_shortened for one in self.members}.values())

    @property
    def is_alive(self) -> bool:
        """Whether all members can still answer."""
        return all(is_alive(one.engine) for one in self.members)

    def close(self) -> None:
        """End what its members have outside of this process."""
        for one in self.members:
            close(one.engine)

    @property
    def reads_images(self) -> bool:
        """Whether all members may be asked about rows with images."""
        return all(reads_images(one.engine) for one in self.members)

    @property
    def unexpanded_mass(self) -> float:
        """The most that a member leaves unexpanded, of its own probabilities; 0 where all expand everything."""
        return max(getattr(one.engine, "unexpanded_mass", 0.0) for one in self.members)

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """As in the protocol. Members are asked with their own calibration, and without one each option to its end.

        Raises
        ------
        BundleError
            For an option that is none of the members' labels.
        """
        unknown = [option for option in options if option not in self._columns]
        if unknown:
            raise BundleError(
                f"{self.name} does not know the option {unknown[0]!r}; expected its labels by name, such as "
                f"{self._names[0]!r}: ask one of its members about other labels"
            )
        found = self.answer([prompt.row for prompt in prompts], whole=calibration is None)
        return found.log_probs[:, [self._columns[one] for one in options]]

    def answer(self, texts: Sequence[str], whole: bool = False) -> Found:
        """Log-probabilities (n_texts, n_labels) and who gave them, for texts as prompts hold them.

        Parameters
        ----------
        whole : bool
            Members leave nothing unexpanded.
        """

        def ask(member: int, rows: Ints) -> Floats:
            bundle, engine = self.members[member]
            points = bundle.task.points
            asked = [one for row in rows for one in (put_all(texts[row], points) if points else (texts[row],))]
            try:
                query = Query.of(bundle.prompt, bundle.calibration, asked, whole)
                probs = query.probabilities(query.asked_of(engine), has_probabilities(engine))
                # What is asked here is a row; each of its points has the same share of it.
                return probs.reshape(len(rows), -1, probs.shape[1]).mean(axis=1) if points else probs
            except DataError as error:
                raise _renumbered(error, np.repeat(rows, max(len(points), 1))) from error

        with one_pass():
            return self.plan.answer(ask, len(texts), len(self._names))

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """The likeliest label behind a space, as a model would write it; nothing where there is no answer."""
        log_probs = self.answer([prompt.row for prompt in prompts]).log_probs
        written = []
        for row in log_probs:
            answer = f" {self._names[int(row.argmax())]}" if np.isfinite(row).any() else ""
            written.append(answer[: min((answer.index(end) for end in stop if end in answer), default=None)])
        return written

    def count_tokens(self, text: str) -> int:
        """Number of words, as no two members need have the same tokens."""
        return len(text.split())


def _renumbered(error: DataError, rows: Ints) -> DataError:
    """The same error with the row's number among all, where a member that was asked about some counts those."""
    found = re.match(r"row (\d+)\b", str(error))
    if not found or not 1 <= int(found[1]) <= len(rows):
        return error
    return type(error)(f"row {rows[int(found[1]) - 1] + 1}{str(error)[found.end() :]}")
