"""A cascade behind which a hosted model answers, in a whole small comparison: measured, kept, and told."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, serving_chat
from small_comparison import edit_recipe, know_two_ngrams, new_toy_run, opened

from labelwright.bundle.store import load
from labelwright.decide import probabilities
from labelwright.decisions.answered import answer
from labelwright.engines.opening import open_engine
from labelwright.errors import MissingExtraError
from optimizers import scope
from workbench.compare.candidate import Candidate
from workbench.compare.jobs import Job
from workbench.compare.score import read_test, score_candidates
from workbench.progress import Display
from workbench.run.folder import RunFolder, runs_of

LIGHT = ["words", "chars", "cascade"]
LABELS = ["pool", "fence", "hvac"]


@pytest.fixture
def server() -> ChatServer:
    """Knows the labels of the rows below, and says of all others what is none."""
    chance = random.Random(1)
    labels = {f"zz{number}": chance.choice(LABELS) for number in range(60)}
    rows = [{"id": text, "text": text, "label": label, "group": text} for text, label in labels.items()]
    with Path("rows.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.write(json.dumps({"id": "love", "text": "what is love", "label": "none of these", "group": "love"}) + "\n")
    return ChatServer(lambda system, turns: labels.get(turns[0], "none of these"))


def no_encoder(name: str) -> None:
    raise MissingExtraError("none here")


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, server: ChatServer) -> Iterator[RunFolder]:
    """Two n-gram models over rows of which every third says nothing that they could learn."""
    know_two_ngrams(monkeypatch)
    edit_recipe('names = ["majority", "words", "absent"]', 'names = ["words", "chars"]')
    edit_recipe('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    edit_recipe("[compare]\n", "[compare]\nseeds = 1\n")
    # It turns away the tenth of the rows of which the cascade is least sure.
    edit_recipe("[data]\n", '[data]\nout_of_scope = "none of these"\n')
    monkeypatch.setattr(scope, "open_encoder", no_encoder)
    monkeypatch.setattr(scope, "KEPT", 0.9)
    with serving_chat(server) as url:
        asks = f'[cascade]\nhosted_model = "far"\nhosted_url = "{url}"\n[splits]\ndev = 0.2\ncalib = 0.3\ntest = 0.2\n'
        edit_recipe("[cascade]\nmost_levels = 0\n", asks)
        yield new_toy_run()


def scored() -> Candidate:
    (run,) = runs_of(Path("runs/toy"))
    found = score_candidates(opened(RunFolder(run)), Display(), names=LIGHT)
    return {one.name: one for one in found}["cascade"]


def test_what_it_brings_is_told_beside_what_the_cascade_answers_alone_and_nothing_is_asked_twice(run, server):
    cascade = scored()
    assert not cascade.failed
    assert cascade.together is not None
    found = cascade.together.hosted
    comparison = opened(run)
    splits = comparison.splits_of(Job("cascade", 3, 3))
    test, names = read_test(splits), comparison.task.names
    # What the scope turns away is asked of nobody, as the bundle passes none of it on.
    bundle, of_calib = load(cascade.folder), [row.text for row in splits.calib]
    outside = bundle.outside([row.text for row in test], cascade.probs)
    calib_outside = bundle.outside(of_calib, probabilities(bundle, open_engine(bundle.weights), of_calib))
    assert outside.any()
    assert calib_outside.any()
    passed = (cascade.probs.max(axis=1) < found.threshold) & ~outside
    asked = {row.text.strip() for row, is_passed in zip(test, passed, strict=True) if is_passed}
    asked |= {text.strip() for text, is_outside in zip(of_calib, calib_outside, strict=True) if not is_outside}
    assert sorted(one["messages"][-1]["content"] for one in server.requests) == sorted(asked)
    gold = np.array([names.index(row.label) for row in test])
    right = cascade.probs.argmax(axis=1) == gold
    knows = np.array([row.text.startswith("zz") for row in test])
    assert (found.n_calib, found.n_rows) == ((~calib_outside).sum(), passed.sum())
    assert found.n_right == (passed & knows).sum() > found.n_right_before == (passed & right).sum()
    assert found.n_no_label == (passed & ~knows).sum()
    assert found.accuracy.value == pytest.approx(np.where(passed, knows, right).mean())
    assert found.gain.value == pytest.approx(found.accuracy.value - right.mean())
    assert found.gain.low < found.gain.value < found.gain.high
    assert found.n_out == 3 * len(asked)
    # What ships answers alone, and passes the others on.
    assert bundle.pass_on == found.threshold
    for probs, is_passed in zip(cascade.probs[~outside], passed[~outside], strict=True):
        record = answer(bundle, probs)
        assert record.get("abstained") == ("passed on" if is_passed else None)
        assert record["suggested" if is_passed else "label"] == names[probs.argmax()]
    # Done anew, the answers are those that are kept, whatever the server would say now.
    server.refuses = 401, "gone"
    opened(run).forget("cascade")
    assert scored().together == cascade.together
    assert len(server.requests) == len(asked)


def test_a_server_that_refuses_the_key_costs_the_cascade_alone_until_it_takes_it(run, server):
    server.refuses = 401, "who are you"
    assert scored().failed == "far: the key is refused: set LABELWRIGHT_API_KEY in the environment"
    server.refuses = None
    assert not scored().failed


@pytest.mark.parametrize("other", ['hosted_model = "farther"', 'hosted_model = "far"\nhosted_calls = 2000'])
def test_another_model_or_more_calls_are_another_cascade_and_nothing_else(run, other):
    edit_recipe("[ensemble]\nmost_members = 0\n", "")
    before = opened(run)
    edit_recipe('hosted_model = "far"', other)
    after = opened(run)
    asks, *rest = (Job("cascade", 3, 3), Job("cascade", 3, 4), Job("ensemble", 3, 3), Job("words", 3, 3))
    assert before.key(asks) != after.key(asks)
    assert [before.key(job) for job in rest] == [after.key(job) for job in rest]
