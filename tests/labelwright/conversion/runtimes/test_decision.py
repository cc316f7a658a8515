"""The template renders what the prompt renders, whatever stands in any text, and no text is ever template."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.conversion.runtimes.decision import TEMPLATE_KEY, literal, metadata, other_pairs, template
from labelwright.data.task import Label
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration

jinja2 = pytest.importorskip("jinja2", reason="jinja2 comes with the tuning extra")

MARKUP = ("<|im_start|>", "<|im_end|>", "<think>")
CHATML = Template("<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "")
# Pieces from which everything that could end a string, a tag or a turn can be put together.
PIECES = st.sampled_from(
    ['"', "'", "\\", "{{", "}}", "{%", "%}", "{#", "#}", "\n", "\t", "\r", "-", " ", "a", "é水", "n"]
)
TEXTS = st.lists(PIECES | st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12).map("".join)
NAMES = TEXTS.filter(lambda name: name.strip() and len(name.splitlines()) == 1)


def rendered(source: str, state: object, options: list[str], kind: str = "choice", instructions: str = "Else?") -> str:
    """As llama.cpp renders it. Raising what is undefined would show a variable that came out of a text."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    listed = [{"key": key, "description": None} for key in options]
    return environment.from_string(source).render(
        id="q", type=kind, instructions=instructions, state=state, options=listed, images=[]
    )


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.lists(NAMES, min_size=2, max_size=4, unique=True), TEXTS, TEXTS)
def test_the_template_renders_the_prompts_own_bytes(instructions, names, description, row):
    labels = (Label(names[0], description), *map(Label, names[1:]))
    prompt = Prompt(instructions, labels, ((row, names[-1]), ("b", names[0])), "letter", CHATML)
    # Python's strip knows more kinds of space than Jinja's need to; the row's own are taken off before.
    assert rendered(template(prompt, ()), row.strip(), names) == prompt.render(row).text


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([*MARKUP, "<", "|", "<|im_", "end|>", "think", ">", " ", "x"]), max_size=8).map("".join)
)
def test_markup_comes_from_the_template_alone(text):
    prompt = Prompt(text + ".", (Label("a", text), Label("b")), ((text, "a"),), "letter", CHATML)
    honest = rendered(template(replace(prompt, instructions="x.", demos=()), MARKUP), "row", ["a", "b"])
    said = rendered(template(prompt, MARKUP), text, ["a", "b"])
    other = rendered(template(prompt, MARKUP), {"k": text}, ["a", text or "b"], instructions=text)
    for marker in MARKUP:
        assert said.count(marker) == honest.count(marker)
        assert other.count(marker) == honest.count(marker)


def test_other_questions_are_asked_as_they_stand():
    prompt = Prompt("Tuned.", (Label("pool", "water"), Label("fence")), (("x", "pool"),), "letter", CHATML)
    source = template(prompt, MARKUP)
    assert "Tuned.\n\nLabels:\nA: fence\nB: pool: water\n\nExamples:\n\nx\nLabel:B<" in rendered(
        source, "s", ["fence", "pool"]
    )
    assert "Tuned.\n\nLabels:\nA: fence<" in rendered(source, "s", ["fence"])
    for asked in (rendered(source, "s", ["fence", "roof"]), rendered(source, "s", ["fence", "pool"], kind="score")):
        assert "system\nElse?\n\nLabels:\nA: fence\nB: " in asked
        assert "Examples" not in asked
        assert "water" not in asked
    assert "\n[1, 2]<|im_end|>" in rendered(source, [1, 2], ["fence"])


def test_the_keys_of_a_decision_model():
    prompt = Prompt("Which?", (Label("a"), Label("b")), style="letter")
    keys = metadata(prompt, Calibration(2.5, (1.0, 0.0)), MARKUP)
    assert keys["{arch}.decision.type"] == "openjev"
    assert keys["{arch}.decision.temperature.choice"] == 2.5
    assert keys[TEMPLATE_KEY] == template(prompt, MARKUP)


def test_more_labels_than_letters_stand_behind_pairs():
    labels = tuple(Label(f"queue {number}") for number in range(60))
    prompt = Prompt("Which?", labels, (("x", "queue 27"),), "letter", CHATML)
    assert metadata(prompt, Calibration(), MARKUP)["{arch}.decision.type"] == "pplx-decider"
    written = rendered(template(prompt, MARKUP), "s", [label.name for label in labels])
    assert written == prompt.render("s").text
    assert "\nZ: queue 25\nAA: queue 26\nAB: queue 27\n" in written


def test_pairs_that_the_models_vocabulary_reads_otherwise_are_noticed():
    prompt = Prompt("Which?", tuple(Label(str(number)) for number in range(60)), style="letter")
    pairs = {*prompt.answers[26:], "ZZ"}
    assert other_pairs(prompt, pairs) is None
    assert other_pairs(prompt, pairs | {"AJ"}) == ("AK", "AJ")
    assert other_pairs(prompt, {"AA"}) == ("AB", "nothing")
    few = Prompt("Which?", tuple(Label(str(number)) for number in range(52)), style="letter")
    assert other_pairs(few, set()) is None


def test_a_literal_has_no_way_out():
    assert literal('a"b\\c\n') == '"a\\"b\\\\c\\n"'
