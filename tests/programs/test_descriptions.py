"""Label descriptions as text: written, read back, and asked of an engine as every prompt is."""

from __future__ import annotations

from dataclasses import replace

import dspy
import pytest
from fakes import FakeEngine, toy_bundle, toy_task
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import Label, Task
from labelwright.decide import probabilities
from labelwright.errors import DataError
from labelwright.prompt import Prompt, Template
from programs.convert import program_of, prompt_of
from programs.decision import DecisionClient
from programs.descriptions import read_descriptions, with_descriptions, write_descriptions

NAMES = ("pool", "pool: inside", "a - b", "Zäune")
DESCRIPTION = st.text(st.sampled_from('ab:,- \t\u00e4"{}'), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(DESCRIPTION, min_size=4, max_size=4))
def test_descriptions_survive_the_way_through_a_program(said):
    labels = tuple(Label(*one) for one in zip(NAMES, said, strict=True))
    if any(name == "pool" and one.split()[:1] == ["inside"] for name, one in zip(NAMES, said, strict=True)):
        return
    task = Task("t", "Name it.", labels)
    prompt = Prompt.for_task(task, Template())
    program = program_of(prompt, task, describes=True)
    assert prompt_of(program, prompt) == prompt, "to the byte, white space included"
    bare = prompt_of(program, replace(prompt, labels=tuple(map(Label, NAMES))))
    assert [one.description for one in bare.labels] == [" ".join(one.split()) for one in said]


def test_what_a_language_model_writes_is_read_and_what_names_no_label_is_said():
    reply = "- pool: water\n\n* Zäune:  posts,\tpanels \npool: inside: under a roof"
    read = {"pool": "water", "Zäune": "posts, panels", "pool: inside": "under a roof"}
    assert read_descriptions(reply, NAMES) == read
    with pytest.raises(DataError, match=r"'Here you are:' is no line of descriptions: begin it with a label"):
        read_descriptions(f"Here you are:\n{reply}", NAMES)
    with pytest.raises(DataError, match="'pool' is described twice"):
        read_descriptions("pool: a\npool: b", NAMES)
    reply = "1. pool: water\n2) **Zäune**: posts\n* **pool: inside:** 3. under a roof\n**a - b**: 2) of them"
    read = {"pool": "water", "Zäune": "posts", "pool: inside": "3. under a roof", "a - b": "2) of them"}
    assert read_descriptions(reply, NAMES) == read
    assert write_descriptions([Label("pool", "a\nb"), Label("fence")]) == "pool: a b\nfence:"
    own = (Label("pool", "a  b"), Label("fence", "posts"))
    assert with_descriptions(own, {"pool": "a b", "fence": None}) == own
    assert with_descriptions(own, {"fence": ""})[1] == Label("fence")


def test_a_program_with_other_descriptions_is_asked_with_them_and_traced():
    bundle, engine = toy_bundle(), FakeEngine()
    client = DecisionClient(engine, bundle.prompt)
    program = program_of(bundle.prompt, toy_task(), describes=True)
    other = program.deepcopy()
    said = "pool: chlorine, skimmer\nhvac: duct"
    other.descriptions.signature = other.descriptions.signature.with_instructions(said)
    text = "the skimmer in my duct and the chlorine"
    with dspy.context(lm=client, trace=[]):
        answered = [list(one(text=text).probabilities.values()) for one in (program, other, program)]
        traced = [entry[0] for entry in dspy.settings.trace]
    described = replace(bundle, prompt=prompt_of(other, bundle.prompt))
    assert [one.description for one in described.prompt.labels] == ["chlorine, skimmer", "", "duct"]
    expected = [list(probabilities(one, FakeEngine(), [text])[0]) for one in (bundle, described, bundle)]
    assert answered == expected
    assert answered[0] != answered[1]
    assert len(engine.calls) == 2, "and remembered apart"
    assert traced == [program.predict, program.descriptions, other.predict, other.descriptions, *traced[:2]]


def test_criteria_that_a_user_of_dspy_sets_are_descriptions():
    bundle = toy_bundle()
    program = program_of(bundle.prompt, toy_task())
    assert prompt_of(program, bundle.prompt) == bundle.prompt
    program.predict.set_criteria("label", {"pool": "chlorine", "fence": None, "hvac": ""})
    described = prompt_of(program, bundle.prompt)
    assert [one.description for one in described.labels] == ["chlorine", "", ""]
    with dspy.context(lm=DecisionClient(FakeEngine(), bundle.prompt)):
        answered = list(program(text="the chlorine").probabilities.values())
    asked = probabilities(replace(bundle, prompt=described), FakeEngine(), ["the chlorine"])[0]
    assert answered == list(asked)
