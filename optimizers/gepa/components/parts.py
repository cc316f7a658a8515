"""The texts that a search may change: as GEPA's candidate, as a prompt, and as tokens that are paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelwright.data.task import Task
from labelwright.prompt import Prompt
from programs.descriptions import read_descriptions

if TYPE_CHECKING:
    from programs.classify import Classify

# Of a recipe, and what GEPA calls them: the predictor whose instructions they are in ``programs.classify``.
INSTRUCTIONS, DESCRIPTIONS = "instructions", "descriptions"
COMPONENTS = (INSTRUCTIONS, DESCRIPTIONS)
PREDICTORS = {INSTRUCTIONS: "predict", DESCRIPTIONS: "descriptions"}


@dataclass(frozen=True)
class Parts:
    """The components of a program that a search may change.

    Attributes
    ----------
    base : Prompt
        What the search begins with; all else in it stays.
    names : sequence of str
        Some of ``COMPONENTS``.
    """

    base: Prompt
    names: Sequence[str]
    count_tokens: Callable[[str], int]

    @property
    def describes(self) -> bool:
        """Whether label descriptions may change."""
        return DESCRIPTIONS in self.names

    def program(self, task: Task) -> Classify:
        """The program to begin with."""
        from programs.convert import program_of

        return program_of(self.base, task, self.describes)

    def prompt(self, candidate: Mapping[str, str]) -> Prompt:
        """What the texts of a candidate stand for."""
        from programs.convert import prompt_for

        demos = [{"text": text, "label": name} for text, name in self.base.demos]
        said = None
        if self.describes:
            names = [label.name for label in self.base.labels]
            said = dict.fromkeys(names, "") | read_descriptions(candidate[PREDICTORS[DESCRIPTIONS]], names)
        return prompt_for(self.base, candidate[PREDICTORS[INSTRUCTIONS]], demos, said)

    def n_tokens(self, prompt: Prompt) -> int:
        """Tokens of all that may change, instructions always among it."""
        described = "\n".join(label.description for label in prompt.labels if label.description)
        return self.count_tokens(prompt.instructions) + (self.count_tokens(described) if self.describes else 0)

    def room(self, candidate: Mapping[str, str], component: str, token_budget: int) -> int:
        """Tokens that are left for a component (as GEPA calls it) beside what the others of the candidate take."""
        prompt = self.prompt(candidate)
        if component == PREDICTORS[INSTRUCTIONS]:
            return token_budget - (self.n_tokens(prompt) - self.count_tokens(prompt.instructions))
        return token_budget - self.count_tokens(prompt.instructions)

    @property
    def turns(self) -> Any:
        """GEPA's ``ReflectionComponentSelector``: which component a proposal changes, in turns."""
        if len(self.names) > 1 or not self.describes:
            return "round_robin"
        return lambda state, trajectories, scores, number, candidate: [PREDICTORS[DESCRIPTIONS]]
