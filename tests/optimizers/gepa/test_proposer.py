import random

import pytest
from fakes import FakeEngine, toy_bundle, toy_examples, toy_task
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.families import family_names
from labelwright.prompt import STYLES, Prompt
from optimizers.gepa.moves import MOVES, Plan
from optimizers.gepa.proposer import EvidenceProposer, ProposerElsewhere

ENGINE = FakeEngine()
PROMPT = toy_bundle(ENGINE).prompt
ROWS = toy_examples()
NAMES = toy_task().names


def make_proposer(budget=200, prompt=PROMPT):
    """A proposer that is called with this budget, unless a call says another."""

    class Proposer(EvidenceProposer):
        def __call__(self, instruction, rows, rng, token_budget=budget):
            return super().__call__(instruction, rows, rng, token_budget)

    return Proposer(ROWS, prompt, ENGINE.count_tokens)


def answered(label_of):
    return [
        {"Inputs": {"text": row.text}, "Generated Outputs": {"label": label_of(row)}, "Feedback": ""} for row in ROWS
    ]


ALL_POOL, ALL_FENCE = answered(lambda row: "pool"), answered(lambda row: "fence")
TERM = st.text("abcdefg'", min_size=1, max_size=6)
PLANS = st.builds(
    Plan,
    opening=st.sampled_from(["Name the topic.", "Two\nlines.", "pool or fence?"]),
    words=st.lists(
        st.tuples(st.sampled_from(NAMES), st.lists(TERM, min_size=1, max_size=4).map(tuple)),
        max_size=3,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
    notes=st.lists(
        st.sampled_from(["Choose pool only for liner, deep.", "If it mentions a or b, choose fence, not pool."]),
        unique=True,
    ).map(tuple),
    examples=st.lists(st.tuples(st.sampled_from([row.text for row in ROWS]), st.sampled_from(NAMES)), max_size=4).map(
        tuple
    ),
    word_layout=st.sampled_from(["line", "cue"]),
    example_layout=st.sampled_from(["message", "bare", "arrow"]),
)


@settings(max_examples=100, deadline=None)
@given(plan=PLANS, style=st.sampled_from(STYLES))
def test_a_plan_is_read_back_from_its_text(plan, style):
    proposer = make_proposer(prompt=Prompt("x", PROMPT.labels, style=style))
    read = proposer.read(proposer.write(plan))
    assert (read.opening, read.words, read.notes, read.examples) == (
        plan.opening, plan.words, plan.notes, plan.examples,
    )  # fmt: skip
    assert proposer.write(read) == proposer.write(plan)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.integers(5, 120))
def test_chains_of_proposals_stay_in_budget_and_always_change(seed, budget):
    proposer = make_proposer(budget)
    text = PROMPT.instructions
    rng = random.Random(seed)
    for _ in range(6):
        try:
            new = proposer(text, ALL_POOL, rng)
        except ValueError:
            fitting = {one for one in proposer.material.openings if ENGINE.count_tokens(one) <= budget}
            assert fitting <= {text}, "only where no other opening fits"
            return
        assert new != text
        assert ENGINE.count_tokens(new) <= budget
        text = new


def test_notes_that_fill_the_budget_are_no_dead_end():
    note = "If it mentions boundary or gate or panel, choose fence, not pool."
    full = f"Name the topic of the message. Many labels are in use.\n\n{note}"
    proposer = make_proposer(ENGINE.count_tokens(full))
    for seed in range(50):
        assert proposer(full, ALL_POOL, random.Random(seed)) != full


def test_same_random_state_same_proposal_and_others_vary():
    proposals = [make_proposer()(PROMPT.instructions, ALL_POOL, random.Random(seed % 20)) for seed in range(40)]
    assert proposals[:20] == proposals[20:]
    assert len(set(proposals)) >= 12


def test_findings():
    findings = make_proposer().findings(answered(lambda row: "fence" if row.label == "hvac" else row.label))
    assert findings.missed == ("hvac",)
    assert findings.overused == ("fence",)
    assert findings.confused == (("hvac", "fence"),)


def test_answers_that_did_not_parse_are_missed_rows():
    rows = [{"Inputs": {"text": ROWS[0].text}, "Generated Outputs": "Couldn't parse the output", "Feedback": ""}]
    findings = make_proposer().findings(rows)
    assert findings.missed == (ROWS[0].label,)
    assert findings.confused == ()


def test_evidence_is_for_missed_labels_more_than_for_overused_ones():
    proposer = make_proposer()
    text = " ".join(proposer(PROMPT.instructions, ALL_POOL, random.Random(seed)) for seed in range(30))
    assert text.count("fence: ") + text.count("Label: fence") > text.count("pool: ") + text.count("Label: pool")


def test_codes_are_shown_where_the_model_answers_in_codes():
    prompt = Prompt("Name it.", PROMPT.labels, style="code")
    proposer = make_proposer(prompt=prompt)
    plan = Plan("Name it.", examples=(("a gate", "fence"),), example_layout="arrow")
    assert proposer.write(plan).endswith(f"a gate -> {prompt.answers[1]}")


def test_a_budget_with_no_room_is_an_error():
    budget = ENGINE.count_tokens(PROMPT.instructions)
    with pytest.raises(ValueError, match="raise token_budget"):
        make_proposer(budget - 2)(PROMPT.instructions, ALL_POOL, random.Random(0))


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_every_move_changes_some_plan(move):
    proposer = make_proposer()
    rng = random.Random(1)
    text = PROMPT.instructions
    changed = False
    for _ in range(30):
        text = proposer(text, ALL_FENCE, rng)  # which gives the pool evidence that it does not need here
        plan = proposer.read(text)
        changed |= move(proposer.material, plan, proposer.findings(ALL_POOL), rng) != plan
    assert changed


def elsewhere(rows=ROWS):
    """A proposer apart from its judges, and the rows that its makers were given."""
    given = []

    def make(evidence, judges):
        given.append((evidence, judges))
        return EvidenceProposer(evidence, PROMPT, ENGINE.count_tokens, judges)

    return ProposerElsewhere(rows, make), given


def test_no_proposal_quotes_a_row_that_judges_it_nor_its_family():
    families = family_names(ROWS)
    judging = sorted(set(families))[::4]
    # One row of each family is in the minibatch, and the others would give its answer away.
    batch = [row for row in ALL_POOL if row["Inputs"]["text"] in {ROWS[families.index(one)].text for one in judging}]
    propose, given = elsewhere()
    shown = "".join(propose(PROMPT.instructions, batch, random.Random(seed), 200) for seed in range(60))
    hidden = [row.text for row, family in zip(ROWS, families, strict=True) if family in judging]
    open_rows = [row.text for row, family in zip(ROWS, families, strict=True) if family not in judging]
    assert len(hidden) >= len(batch)
    assert any(text in shown for text in open_rows)
    assert not [text for text in hidden if text in shown and text not in open_rows]
    assert len(given) == 1, "the proposals of a step share their evidence"
    propose(PROMPT.instructions, ALL_POOL[:1], random.Random(0), 200)
    assert len(given) == 2, "another minibatch leaves out others"


def test_what_judges_is_still_looked_at():
    propose, given = elsewhere()
    propose(PROMPT.instructions, ALL_POOL[:6], random.Random(0), 200)
    ((evidence, judges),) = given
    assert sorted(map(id, (*evidence, *judges))) == sorted(map(id, ROWS))
    proposer = EvidenceProposer(evidence, PROMPT, ENGINE.count_tokens, judges)
    assert proposer.findings(ALL_POOL) == make_proposer().findings(ALL_POOL)


def test_a_train_that_is_hardly_more_than_a_minibatch_gives_evidence_whole():
    propose, given = elsewhere()
    propose(PROMPT.instructions, ALL_POOL, random.Random(0), 200)
    assert given == [(list(ROWS), [])]
