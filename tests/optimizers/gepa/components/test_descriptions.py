"""Proposals of label descriptions from the train rows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fakes import FakeEngine, toy_bundle, toy_examples
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import Label
from optimizers.gepa.components.descriptions import DescriptionProposer
from optimizers.gepa.proposer import EvidenceProposer
from programs.descriptions import read_descriptions, write_descriptions

COUNT = FakeEngine().count_tokens
ROWS = toy_examples()
PROMPT = replace(toy_bundle().prompt, labels=(Label("pool", "water to swim in"), Label("fence"), Label("hvac")))
NAMES = ("pool", "fence", "hvac")
START = write_descriptions(PROMPT.labels)
ALL_POOL = [
    {"Inputs": {"text": row.text}, "Generated Outputs": {"label": "pool"}, "Feedback": ""} for row in ROWS
]  # fmt: skip
PROPOSE = DescriptionProposer(EvidenceProposer(ROWS, PROMPT, COUNT))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.integers(0, 60))
def test_chains_of_proposals_stay_in_budget_always_change_and_name_every_label(seed, budget):
    text, rng = START, random.Random(seed)
    for _ in range(5):
        try:
            new = PROPOSE(text, ALL_POOL, rng, budget)
        except ValueError as error:
            assert budget < 4, "two labels can lose or win a word"
            assert f"fit into {budget} tokens" in str(error)  # noqa: PT017
            return
        assert new != text
        said = read_descriptions(new, NAMES)
        assert tuple(said) == NAMES
        assert COUNT("\n".join(filter(None, said.values()))) <= budget
        text = new


def test_missed_labels_are_described_by_words_that_tell_them_apart():
    said = [read_descriptions(PROPOSE(START, ALL_POOL, random.Random(seed), 60), NAMES) for seed in range(30)]
    words = " ".join(one["fence"] + " " + one["hvac"] for one in said)
    assert {"panel", "duct"} <= set(words.replace(",", " ").split())
    assert "such as" in words
    assert sum(bool(one["fence"]) for one in said) > sum(one["pool"] not in ("", "water to swim in") for one in said)
    assert PROPOSE(START, ALL_POOL, random.Random(3), 60) == PROPOSE(START, ALL_POOL, random.Random(3), 60)


@pytest.mark.parametrize("move", ["_describe_missed", "_describe", "_part", "_quiet", "_restore"])
def test_every_move_changes_some_descriptions(move):
    rng = random.Random(1)
    findings = PROPOSE.instructions.findings(ALL_POOL)
    now = dict.fromkeys(NAMES, "nothing yet")
    before = dict(now)
    for _ in range(9):
        getattr(PROPOSE, move)(now, findings, rng)
    assert now != before
