"""What a server tells of its answers: bounded, without a text, the same numbers as were answered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle

from labelwright.bundle.reference import LABELS, N_BUCKETS, Reference
from labelwright.bundle.store import save
from labelwright.decide import probabilities
from labelwright.serve.metrics import Metrics
from labelwright.serve.served import Served
from labelwright.watch.tally import Tally

TEXTS = ["the pool liner", "a fence post", "the pool", "  ", "furnace hvac"]


def told(**served: Any) -> dict[str, float]:
    """Every number, by name and labels."""
    lines = Metrics(SimpleNamespace(served=served)).text().decode().splitlines()  # type: ignore[arg-type]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@pytest.fixture
def opened(tmp_path):
    """A bundle whose dev had other labels than it will be asked for."""
    counts = {LABELS: np.array([1, 1, 998, 0]), "confidence": np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 500, 500])}
    save(toy_bundle(), tmp_path / "b", reference=Reference(counts, 900, bytes(N_BUCKETS // 8)))
    served = Served.open("toy", tmp_path / "b", lambda folder: (toy_bundle(), FakeEngine()))
    yield served
    served.close()


def test_answers_are_counted_by_label_and_confidence(opened):
    asyncio.run(opened.probabilities(TEXTS))
    probs = probabilities(toy_bundle(), FakeEngine(), [text for text in TEXTS if text.strip()])
    numbers = told(toy=opened)
    for place, name in enumerate(toy_bundle().task.names):
        n = int((probs.argmax(axis=1) == place).sum())
        assert numbers[f'labelwright_answers_total{{label="{name}",model="toy"}}'] == n
    best = probs.max(axis=1)
    assert numbers['labelwright_confidence_count{model="toy"}'] == 4
    assert numbers['labelwright_confidence_sum{model="toy"}'] == pytest.approx(best.sum())
    assert numbers['labelwright_confidence_bucket{le="0.8",model="toy"}'] == (best < 0.8).sum()
    assert numbers['labelwright_unanswered_total{model="toy"}'] == 0
    assert 'labelwright_drift_p{model="toy"}' not in numbers


def test_answers_unlike_devs_are_an_alarm(opened):
    asyncio.run(opened.probabilities(["the pool liner"] * 500))
    numbers = told(toy=opened)
    assert numbers['labelwright_windows_total{model="toy"}'] == 1
    assert numbers['labelwright_drift_alarms_total{model="toy"}'] == 1
    assert numbers['labelwright_drift_p{model="toy"}'] < 1e-9


def test_questions_that_are_not_the_bundles_own_are_not_counted(opened):
    asyncio.run(opened.zero_shot(opened.bundle.prompt, ["the pool liner"]))
    assert told(toy=opened)['labelwright_confidence_count{model="toy"}'] == 0


def test_of_many_labels_a_hundred_are_named():
    tally = Tally(tuple(f"label {i}" for i in range(1000)))
    tally.add(list(np.eye(1000)[[0, 99, 100, 999, 999]]))
    engine = SimpleNamespace(n_waiting=0)
    numbers = told(many=SimpleNamespace(tally=tally, engine=engine))
    answers = {name: value for name, value in numbers.items() if name.startswith("labelwright_answers_total")}
    assert len(answers) == 101
    assert answers['labelwright_answers_total{label="",model="many"}'] == 3
    assert sum(answers.values()) == 5


def test_a_bundle_of_before_is_counted_and_not_tested():
    served = SimpleNamespace(tally=Tally(("pool", "fence")), engine=SimpleNamespace(n_waiting=0))
    assert not [name for name in told(old=served) if "drift" in name or "windows" in name]
