import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.bundle.document import from_json, to_json
from labelwright.bundle.store import load, save, verify
from labelwright.bundle.types import Bundle
from labelwright.commands.shown import picture
from labelwright.data.asked.questions import Question, put_all
from labelwright.data.costs import Costs
from labelwright.data.records import Fault, Row
from labelwright.data.task import Example, Label, Task
from labelwright.decide import probabilities
from labelwright.decisions.answered import answer, answers_to_rows, likeliest, table_row
from labelwright.decisions.promise import Promise
from labelwright.errors import BundleError, ModelError
from labelwright.labelling import label_rows
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

TOPICS = Question("topics", "labels", (Label("pool", "chlorine skimmer"), Label("fence", "post panel")))
STARS = Question("stars", "score", tuple(map(Label, ("1", "2", "4"))))
URGENT = Question("urgent", "yes_no")


def bundle_of(*questions):
    task = Task.asking("mail", "Read the mail.", questions)
    return Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration())


def test_all_points_of_a_row_come_out_of_one_reading():
    bundle, engine = bundle_of(TOPICS, STARS, URGENT), FakeEngine()
    texts = [*put_all("yes please", bundle.task.points), *put_all("no thanks", bundle.task.points)]
    probs = probabilities(bundle, engine, texts)
    assert engine.calls == [(2, 9)]
    assert probs.sum(axis=1) == pytest.approx(1.0)
    assert (probs > 0).sum(axis=1).tolist() == [2, 2, 3, 2] * 2
    # As each would be alone.
    alone = np.concatenate([probabilities(bundle, engine, [text]) for text in texts])
    assert np.array_equal(probs, alone)


def test_an_engine_that_names_one_winner_answers_no_points():
    engine = FakeEngine()
    engine.has_probabilities = False
    with pytest.raises(ModelError, match="several points are asked of each row"):
        probabilities(bundle_of(TOPICS), engine, put_all("hello", bundle_of(TOPICS).task.points))


def test_a_row_is_said_with_all_its_answers():
    bundle = bundle_of(TOPICS, STARS, URGENT)
    probs = np.zeros((4, 9))
    probs[0, :2], probs[1, 2:4] = (0.9, 0.1), (0.2, 0.8)
    probs[2, 4:7], probs[3, 7:] = (0.1, 0.3, 0.6), (0.3, 0.7)
    said = answer(bundle, probs)
    assert said["label"] == {"topics": ["pool"], "stars": "4", "urgent": "no"}
    assert said["confidence"] == pytest.approx({"topics": 0.9 * 0.8, "stars": 0.6, "urgent": 0.7})
    assert said["probabilities"]["topics"] == {"pool": 0.9, "fence": 0.2}
    assert said["expected"] == {"stars": pytest.approx(0.1 + 0.6 + 2.4)}
    assert answer(bundle, np.zeros((4, 9))) == {"label": None, "error": "what the model answered is none of the labels"}


@given(seed=st.integers(0, 10**6), n=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_of_the_likeliest_none_is_less_likely_than_one_that_is_left_out_but_what_is_said(seed, n):
    bundle = bundle_of(TOPICS, STARS, URGENT)
    probs = np.zeros((4, 9))
    for row, (start, end) in zip(probs, ((0, 2), (2, 4), (4, 7), (7, 9)), strict=True):
        row[start:end] = np.random.default_rng(seed).dirichlet(np.ones(end - start))
    whole = answer(bundle, probs)
    some = likeliest(whole, n)
    assert {**some, "probabilities": None} == {**whole, "probabilities": None}
    for question, by_label in whole["probabilities"].items():
        kept, said = some["probabilities"][question], whole["label"][question]
        assert {name: by_label[name] for name in kept} == kept
        must = set(said if isinstance(said, list) else [said])
        left_out = [p for name, p in by_label.items() if name not in kept]
        assert min((p for name, p in kept.items() if name not in must), default=1) >= max(left_out, default=0)
        assert must <= set(kept)
        assert len(kept) <= min(n, len(by_label)) + len(must)
        assert list(kept.values())[:n] == sorted(by_label.values(), reverse=True)[:n]


def test_what_is_suggested_keeps_its_probability_too():
    abstained = {"label": None, "suggested": "c", "confidence": 0.1, "probabilities": {"a": 0.6, "b": 0.3, "c": 0.1}}
    assert likeliest(abstained, 1)["probabilities"] == {"a": 0.6, "c": 0.1}
    one_of_two = {
        "label": {"q": None, "r": "y"},
        "suggested": {"q": "b"},
        "confidence": {"q": 0.4, "r": 0.2},
        "probabilities": {"q": {"a": 0.6, "b": 0.4}, "r": {"x": 0.5, "z": 0.3, "y": 0.2}},
    }
    assert likeliest(one_of_two, 1)["probabilities"] == {"q": {"a": 0.6, "b": 0.4}, "r": {"x": 0.5, "y": 0.2}}
    assert likeliest({"label": None, "error": "nothing"}, 1) == {"label": None, "error": "nothing"}


def test_one_question_is_said_by_itself():
    probs = np.array([[0.4, 0.6, 0, 0], [0, 0, 0.3, 0.7]])
    assert answer(bundle_of(TOPICS), probs) == {
        "label": [],
        "confidence": pytest.approx(0.42),
        "probabilities": {"pool": 0.4, "fence": 0.3},
    }
    assert answer(bundle_of(STARS), np.array([0.5, 0.5, 0.0]))["expected"] == 1.5


def test_rows_of_a_file_are_labelled_with_all_answers(tmp_path):
    saved = save(bundle_of(TOPICS, URGENT), tmp_path / "bundle")
    assert load(tmp_path / "bundle").task == saved.task
    rows = [
        Row(1, {"text": "chlorine and a post"}),
        Row(2, {"text": ""}),
        Row(3, {"text": "skimmer"}),
        Fault(4, "broken"),
    ]
    found = list(label_rows(rows, saved, FakeEngine(), source="f.csv", chunk_rows=2))
    assert [row["label"] is None for row in found] == [False, True, False, True]
    assert found[0]["label"] == {"topics": ["pool", "fence"], "urgent": "yes"}
    pool, fence = found[2]["probabilities"]["topics"].values()
    assert pool > fence
    assert found[1]["error"] == "f.csv, row 2: the text is empty; fill it in or remove the row"
    assert json.loads(json.dumps(found)) == found
    shown = picture(found[0]).splitlines()
    assert shown[:2] == ["chlorine and a post", "  topics: pool, fence"]


def test_a_bundle_whose_labels_are_not_those_of_its_questions_is_refused(tmp_path):
    bundle = bundle_of(TOPICS, URGENT)
    told = to_json(bundle, None)
    assert from_json(told, tmp_path)["task"] == bundle.task
    told["task"]["questions"][0]["labels"][0]["name"] = "lawn"
    with pytest.raises(BundleError, match="has questions and other labels than theirs"):
        from_json(told, tmp_path)
    told = to_json(bundle, None)
    told["task"]["questions"][1]["kind"] = "many"
    with pytest.raises(BundleError, match="kind = 'many'"):
        from_json(told, tmp_path)


def test_what_labels_are_said_from_is_part_of_the_bundle(tmp_path):
    bundle = replace(bundle_of(TOPICS, URGENT), said_from=(0.3, 0.5, 0.5))
    probs = np.zeros((3, 6))
    probs[0, :2], probs[1, 2:4], probs[2, 4:] = (0.4, 0.6), (0.4, 0.6), (0.4, 0.6)
    said = answer(bundle, probs)
    assert said["label"] == {"topics": ["pool"], "urgent": "no"}
    assert said["confidence"]["topics"] == pytest.approx(0.4 * 0.6)
    save(bundle, tmp_path / "bundle", engine=FakeEngine(), golden=[Example("1", "chlorine\n? topics, pool", "")])
    again = load(tmp_path / "bundle")
    assert again.said_from == bundle.said_from
    assert answer(again, probs) == said
    assert verify(tmp_path / "bundle", FakeEngine()).problems == ()
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "from this probability on, fitted on calib rows: topics, pool 0.3, topics, fence 0.5." in card


@pytest.mark.parametrize("given", [[0.3], [0.3, 0.5, 0.4], [0.3, 1.0, 0.5], [0.3, True, 0.5], "0.3", [0.3, "1", 0.5]])
def test_what_labels_are_said_from_is_checked_when_it_is_read(given, tmp_path):
    told = to_json(bundle_of(TOPICS, URGENT), None) | {"said_from": given}
    with pytest.raises(BundleError, match="said_from"):
        from_json(told, tmp_path)
    assert from_json(told | {"said_from": [0.3, 0.5, 0.5]}, tmp_path)["said_from"] == (0.3, 0.5, 0.5)


def test_another_classifier_says_labels_from_a_half_on_again():
    bundle = replace(bundle_of(TOPICS), said_from=(0.3, 0.5))
    assert bundle.with_stage({"stage": "grpo"}).said_from == ()
    assert bundle.decision.leaning is not None
    assert bundle.choosing.thresholds is None


PATHS = ("billing > refund > late", "billing > refund > lost", "billing > invoice", "other")


def tree_bundle(promise=None, **more):
    task = Task("mail", "Read the mail.", tuple(map(Label, PATHS)), tree_separator=" > ")
    bundle = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration(), **more)
    return bundle if promise is None else replace(bundle, promise=promise)


@pytest.mark.parametrize(
    ("probs", "node"),
    [
        ((0.4, 0.35, 0.05, 0.2), "billing > refund"),
        ((0.3, 0.15, 0.3, 0.25), "billing"),
        # The likeliest label ends at depth 1: nothing is above it.
        ((0.2, 0.1, 0.15, 0.55), None),
    ],
)
def test_what_is_not_sure_is_said_as_far_up_as_it_is(probs, node):
    said = answer(tree_bundle(pass_on=0.9), np.array(probs))
    assert said["label"] is None
    assert said.get("at_least") == node
    # Who gets a label needs nothing above it.
    assert "at_least" not in answer(tree_bundle(), np.array(probs))
    assert "at_least" not in answer(tree_bundle(pass_on=0.9), np.array(probs), outside=True)
    plain = Task("mail", "Read the mail.", tuple(map(Label, PATHS)))
    assert "at_least" not in answer(replace(tree_bundle(pass_on=0.9), task=plain), np.array(probs))


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.2]), st.booleans())
@settings(max_examples=6, deadline=None)
def test_where_a_node_is_said_it_is_wrong_no_oftener_than_a_label_may_be(seed, max_error, by_label):
    """Of rows whose probabilities are right, and which are sure, sure of a node alone, or of nothing."""
    chance = np.random.default_rng(seed)

    def drawn(n_rows):
        sharp = chance.choice([0.5, 3.0, 12.0], size=(n_rows, 1))
        node = sharp * chance.normal(size=(n_rows, 2))[:, [0, 0, 0, 1]]
        scores = node + chance.choice([0.2, 6.0], size=(n_rows, 1)) * chance.normal(size=(n_rows, 4))
        probs = np.exp(scores - scores.max(axis=1, keepdims=True))
        probs /= probs.sum(axis=1, keepdims=True)
        return probs, (probs.cumsum(axis=1) > chance.random((n_rows, 1))).argmax(axis=1)

    promise = Promise.of(tree_bundle().decision, drawn(1500), drawn(1500), 1500)
    bundle = tree_bundle(promise.ask(max_error=max_error, by_label=by_label))
    rows = [(answer(bundle, one), PATHS[label]) for one, label in zip(*drawn(3000), strict=True)]
    wrong = [not gold.startswith(said["at_least"]) for said, gold in rows if "at_least" in said]
    assert len(wrong) > 50
    # Two are wrong of a thousand draws by chance.
    assert sum(wrong) <= max_error * len(wrong) + 3 * np.sqrt(max_error * len(wrong))


def test_a_node_is_said_from_the_errors_asked_for_on_and_from_even_chances_at_the_least():
    sure = np.tile([0.97, 0.01, 0.01, 0.01], (200, 1))
    promise = Promise.of(tree_bundle().decision, *[(sure, np.zeros(200, dtype=int))] * 2, 200)
    at_node = np.array([0.5, 0.44, 0.02, 0.04])
    asked = tree_bundle(promise.ask(max_error=0.05), pass_on=0.9)
    assert answer(asked, at_node)["at_least"] == "billing"
    assert answer(tree_bundle(promise.ask(max_error=0.08), pass_on=0.9), at_node)["at_least"] == "billing > refund"
    assert "at_least" not in answer(asked, np.array([0.3, 0.2, 0.05, 0.45]))
    assert [promise.ask(max_error=error).node_threshold for error in (0.25, 0.75, 1.0)] == [0.75, 0.5, 0.5]
    # Bundles of before have counts of nodes, which promised what they did not hold.
    written = asked.promise.to_dict()
    assert Promise.from_dict(written | {"nodes": [written["all"]]}, 4) == asked.promise


def test_a_table_says_of_a_choice_that_is_there_twice_what_the_record_says():
    task = Task("quiz", "Answer.", max_choices=3)
    bundle = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration())
    probs, choices = np.array([0.3, 0.4, 0.3]), ["red", "blue", "red"]
    said, row = answer(bundle, probs, choices), table_row(bundle, probs, choices)
    assert said == {"label": "red", "confidence": 0.6, "probabilities": {"red": 0.6, "blue": 0.4}}
    assert {name: row[name] for name in said} == said


def priced_bundle():
    prices = Costs((("other", "billing > invoice", 5.0),), abstain=0.4)
    return replace(tree_bundle(), task=replace(tree_bundle().task, costs=prices))


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=9),
    st.sampled_from(["plain", "passed on", "priced", "scoped", "choices", "points"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_rows_are_answered_together_as_each_by_itself(rows, kind, chance):
    """A row of zeros has no answer, and the others theirs."""
    probs = [np.array(row) / max(1, sum(row)) for row in rows]
    choices, outside = [None] * len(rows), [None] * len(rows)
    bundle = tree_bundle(pass_on=0.5) if kind == "passed on" else priced_bundle() if kind == "priced" else tree_bundle()
    if kind == "scoped":
        outside = [chance.random() < 0.5 for _ in rows]
    elif kind == "choices":
        bundle = replace(bundle, task=Task("quiz", "Answer.", max_choices=4))
        choices = [tuple(chance.choices("abc", k=chance.randint(2, 4))) for _ in rows]
        probs = [np.where(np.arange(4) < len(own), one, 0.0) for one, own in zip(probs, choices, strict=True)]
    elif kind == "points":
        bundle, probs = bundle_of(TOPICS), [np.tile([0.9, 0.1, 0, 0, 0, 0][:4], (2, 1)) for _ in rows]
    together = list(answers_to_rows(bundle, probs, choices, outside))
    assert together == [answer(bundle, *row) for row in zip(probs, choices, outside, strict=True)]


def test_what_one_question_asks_is_said_to_the_model():
    bundle = bundle_of(Question("urgent", "yes_no", instructions="Must it be answered today?"))
    assert bundle.prompt.instructions == "Read the mail.\nMust it be answered today?"
