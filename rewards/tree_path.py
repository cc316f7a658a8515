"""Labels that are paths: an answer is worth the more, the more of the right path it shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score


@dataclass(frozen=True)
class TreePath:
    """Common nodes of both paths over those of the longer one.

    Attributes
    ----------
    paths : mapping of label to tuple of str
    """

    paths: Mapping[str, tuple[str, ...]]

    name: ClassVar[str] = "tree_path"

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """1 for the right label, 0 for one of another branch, and for an answer that is no label."""
        right, said = self.paths[gold], self.paths.get(outcome.label, ())
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(right, said, strict=False)))
        return Score(shared / max(len(right), len(said)), feedback(gold, outcome))

    @classmethod
    def for_task(cls, task: Task, train: Sequence[Example]) -> TreePath:
        """The task's own tree. Raises RecipeError where its labels are none."""
        if task.tree is None:
            raise RecipeError(
                f'reward {cls.name!r} needs labels that are paths: [task] tree = " > ", or as they are written'
            )
        return cls(dict(zip(task.names, task.tree.paths, strict=True)))
