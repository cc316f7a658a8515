"""From a DSPy program to the ``Prompt`` it stands for, and back.

A program carries instructions and demonstrations, and label descriptions where these are to be rewritten; answer style
and template stay in the prompt.
So the way from program to prompt starts from a base prompt, and there is one function that takes it: ``prompt_for``,
through which the decision client, the text adapter and the export all go.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import dspy

from labelwright.data.task import Task
from labelwright.errors import DataError
from labelwright.prompt import Prompt
from programs.classify import Classify
from programs.descriptions import with_descriptions, write_descriptions


def prompt_for(
    base: Prompt,
    instructions: str,
    demos: Iterable[Mapping[str, Any]] = (),
    descriptions: Mapping[str, str | None] | None = None,
) -> Prompt:
    """The base prompt with a program's instructions, demonstrations and label descriptions.

    Parameters
    ----------
    instructions : str
        As ``signature.instructions`` gives them. DSPy re-indents instructions when they are read
        (``inspect.cleandoc``); where that is all that differs from the base, the base's own bytes are kept.
    demos : iterable of mapping
        With keys ``text`` and ``label``.
    descriptions : mapping, optional
        By label name, as the criteria of a DSPy choice: None leaves the base's own.
    """
    if instructions == inspect.cleandoc(base.instructions):
        instructions = base.instructions
    labels = with_descriptions(base.labels, descriptions or {})
    shown = tuple((demo["text"], demo["label"]) for demo in demos)
    return replace(base, instructions=instructions, demos=shown, labels=labels)


def prompt_of(program: Classify, base: Prompt) -> Prompt:
    """The prompt that a program stands for; ``prompt_of(program_of(prompt, task), prompt) == prompt``."""
    return prompt_for(base, program.predict.signature.instructions, program.predict.demos, program.criteria)


def program_of(prompt: Prompt, task: Task, describes: bool = False) -> Classify:
    """A program that asks what the prompt asks.

    Parameters
    ----------
    describes : bool
        Whether label descriptions are the program's, for optimizers to rewrite.

    Raises
    ------
    DataError
        If the prompt's labels are not the task's, or it has no instructions: DSPy would put its own in their place.
    """
    if not prompt.instructions.strip():
        raise DataError("the prompt has no instructions: say in a sentence what is to be classified")
    names = tuple(label.name for label in prompt.labels)
    if names != task.names:
        raise DataError(
            f"the prompt has {len(names)} labels starting with {names[:3]}, the task {len(task.names)} starting with "
            f"{task.names[:3]}: build the prompt with Prompt.for_task(task, ...)"
        )
    program = Classify(task, write_descriptions(prompt.labels) if describes else None)
    program.predict.signature = program.predict.signature.with_instructions(prompt.instructions)
    program.predict.demos = [dspy.Example(text=text, label=name) for text, name in prompt.demos]
    return program
