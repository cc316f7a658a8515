from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labelwright.conversion.certificate import Certificate, certify, read_certificate, table, write_certificate
from labelwright.conversion.rows import Rows
from labelwright.errors import BundleError, DataError

NAMES = ("pool", "fence")
ABOUT = {
    "task": "toy",
    "bundle": "the-bundle",
    "bundle_sha256": "0" * 64,
    "target": "onnx",
    "quantise": "",
    "target_sha256": "1" * 64,
    "model": "",
}
OURS = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])


def rows(n: int = 4, gold=(0, 0, 1, -1), groups=None) -> Rows:
    return Rows([f"text {i}" for i in range(n)], np.array(gold, dtype=np.int64)[:n], groups, "some rows")


def answering(probs):
    """A side that knows the rows by their text, as they may be asked one at a time and in any order."""
    return lambda texts: np.array([probs[int(text.split()[1])] for text in texts])


def certified(theirs, tolerance=0.05, **of_rows) -> Certificate:
    return certify(rows(**of_rows), NAMES, answering(OURS), answering(np.array(theirs)), ABOUT, tolerance)


def test_the_same_answers_hold_at_any_tolerance():
    one = certified(OURS, tolerance=0.0)
    assert one.holds
    assert (one.agreement.value, one.max_difference, one.mean_total_variation) == (1.0, 0.0, 0.0)
    assert (one.n_rows, one.n_labelled) == (4, 3)
    # Four rows cannot show that nothing is lost.
    assert one.accuracy is not None
    assert one.accuracy.difference.low < 0 < one.accuracy.difference.high


def test_every_number_by_hand():
    theirs = [[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]]
    one = certified(theirs, tolerance=0.19)
    assert not one.holds
    assert "OUTSIDE" in one.verdict
    assert one.agreement.value == 0.75
    assert one.max_difference == pytest.approx(0.2)
    assert one.mean_difference == pytest.approx((4 * 0.2) / 8)
    assert one.mean_total_variation == pytest.approx((0.2 + 0.2) / 4)
    assert one.accuracy is not None
    assert one.log_loss is not None
    assert (one.accuracy.here, one.accuracy.there) == (1.0, pytest.approx(2 / 3))
    # There minus here: what is lost is below 0.
    assert one.accuracy.difference.value == pytest.approx(-1 / 3)
    here, there = (-np.log([p[0][0], p[1][0], p[2][1]]).mean() for p in (OURS, np.array(theirs)))
    assert one.log_loss.difference.value == pytest.approx(there - here)
    assert certified(theirs, tolerance=0.2 + 1e-9).holds


def test_without_labels_there_is_no_accuracy_and_with_groups_the_interval_is_wider():
    assert certified(OURS, gold=(-1, -1, -1, -1)).accuracy is None
    theirs = [[0.4, 0.6], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]]
    alone = certified(theirs, gold=(0, 0, 1, 1))
    together = certified(theirs, gold=(0, 0, 1, 1), groups=["a", "a", "b", "b"])
    assert together.agreement.high - together.agreement.low > alone.agreement.high - alone.agreement.low


def test_a_row_without_an_answer_is_counted_and_within_no_tolerance():
    """Among many labels silence is close to every probability."""
    theirs = OURS.copy()
    theirs[1:3] = 0
    one = certified(theirs, tolerance=1.0)
    assert (one.n_silent, one.holds) == (2, False)
    assert one.verdict.endswith("; 2 rows have no answer")
    assert table(one)[-1] == ("rows without an answer", "", "", "2 of 4")
    assert Certificate.from_json(one.to_json()) == one
    older = {key: value for key, value in certified(OURS).to_json().items() if key != "n_silent"}
    assert Certificate.from_json(older).n_silent == 0


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (OURS[:, :1], "expected 4 rows of 2"),
        (OURS * 2, "not a probability vector"),
        (OURS * np.nan, "not a probability vector"),
    ],
)
def test_a_side_that_answers_no_probabilities_is_refused(theirs, said):
    with pytest.raises(DataError, match=said):
        certified(theirs)


def test_written_and_read_back_it_is_the_same(tmp_path):
    one = certified([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])
    write_certificate(one, tmp_path / "certificate.json")
    assert read_certificate(tmp_path / "certificate.json") == one
    unlabelled = replace(one, accuracy=None, log_loss=None, n_labelled=0)
    assert Certificate.from_json(json.loads(json.dumps(unlabelled.to_json()))) == unlabelled
    assert [line[0] for line in table(unlabelled)][:2] == ["", "ms a row alone, p50"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"tolerance": 2, "n_rows": 0}, r"n_rows = 0.*tolerance = 2"),
        ({"holds": False}, "its own numbers say True"),
        ({"max_difference": 0.9}, "its own numbers say False"),
        ({"here": {"p50_ms": 1}}, "here: expected"),
        ({"agreement": [1, 1, 1]}, "agreement: expected"),
        ({"bundle_sha256": "xyz"}, "a sha256"),
        ({"more": 1}, "certificate: expected"),
    ],
)
def test_a_certificate_that_somebody_changed_is_refused_with_all_its_faults(tmp_path, change, said):
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(certified(OURS).to_json() | change), encoding="utf-8")
    with pytest.raises(BundleError, match=said):
        read_certificate(path)


@given(arrays(float, (4,), elements=st.floats(0, 1)), st.floats(0, 1))
def test_it_holds_exactly_where_no_probability_differs_by_more(theirs, tolerance):
    one = certified(np.stack([theirs, 1 - theirs], axis=1), tolerance=tolerance)
    assert one.holds == bool((np.abs(np.stack([theirs, 1 - theirs], axis=1) - OURS) <= tolerance).all())
    assert Certificate.from_json(json.loads(json.dumps(one.to_json()))) == one
