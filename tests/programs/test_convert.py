from dataclasses import replace

import dspy
import pytest
from fakes import toy_task
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import Task
from labelwright.errors import DataError
from labelwright.prompt import STYLES, Label, Prompt, Template
from programs.convert import program_of, prompt_for, prompt_of

TASK = toy_task()
BASE = Prompt.for_task(TASK, Template("<s>", "</s><u>", "</u>", "<e>"))
DEMOS = st.lists(st.tuples(st.text(), st.sampled_from(TASK.names)), max_size=3).map(tuple)
# White space is where DSPy rewrites instructions.
INSTRUCTIONS = st.text(alphabet=st.sampled_from("ab {}\"'\\ \t\n\r "), max_size=30) | st.text(max_size=60)
INSTRUCTIONS = INSTRUCTIONS.filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(instructions=INSTRUCTIONS, demos=DEMOS, style=st.sampled_from(STYLES))
def test_prompt_survives_the_way_through_a_program(instructions, demos, style):
    prompt = replace(BASE, instructions=instructions, demos=demos, style=style)
    assert prompt_of(program_of(prompt, TASK), prompt) == prompt


def test_a_program_changed_by_dspy_changes_the_prompt_and_nothing_else():
    program = program_of(BASE, TASK)
    program.predict.signature = program.predict.signature.with_instructions("Other words.")
    program.predict.demos = [dspy.Example(text="a gate", label="fence")]
    assert prompt_of(program, BASE) == replace(BASE, instructions="Other words.", demos=(("a gate", "fence"),))


def test_descriptions_stay_with_the_prompt():
    base = replace(BASE, labels=tuple(Label(label.name, "what it is") for label in BASE.labels))
    assert prompt_for(base, "New.").labels == base.labels


def test_labels_of_another_task_are_refused():
    other = Task("other", "Pick.", (Label("a"), Label("b")))
    with pytest.raises(DataError, match="build the prompt with"):
        program_of(BASE, other)


def test_a_prompt_without_instructions_is_refused():
    with pytest.raises(DataError, match="no instructions"):
        program_of(BASE.with_instructions(" \n"), TASK)
