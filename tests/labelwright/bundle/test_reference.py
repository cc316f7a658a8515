"""A bundle's aggregates of dev: written and read back, refused where they are damaged, missed by no older bundle."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.bundle import files as bundle_files
from labelwright.bundle.reference import EDGES, LABELS, N_BUCKETS, Reference, write_reference
from labelwright.bundle.store import load, read_reference, save, verify
from labelwright.errors import BundleError
from labelwright.watch.making import make_reference

SPLITS = toy_splits()


@pytest.fixture
def reference() -> Reference:
    return make_reference(toy_bundle(), FakeEngine(), SPLITS.train, SPLITS.dev, 1000)


@pytest.fixture
def folder(tmp_path, reference):
    save(toy_bundle(), tmp_path / "bundle", reference=reference)
    return tmp_path / "bundle"


def edit(folder, **changes) -> None:
    path = folder / "reference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    bundle_files.write_hashes(folder)


def test_it_comes_back_as_it_was_written(folder, reference):
    found = read_reference(folder, load(folder))
    assert found is not None
    assert {name: counts.tolist() for name, counts in found.counts.items()} == {
        name: counts.tolist() for name, counts in reference.counts.items()
    }
    assert (found.n_right, found.known, found.centres, found.n_rows) == (
        reference.n_right,
        reference.known,
        None,
        reference.n_rows,
    )
    assert verify(folder).ok


def test_centres_lie_beside_it(tmp_path, reference):
    centres = np.eye(3, dtype=np.float32)
    counts = {**reference.counts, "likeness": np.array([reference.n_rows] + [0] * len(EDGES["likeness"]))}
    save(toy_bundle(), tmp_path / "b", reference=replace(reference, counts=counts, centres=centres))
    found = read_reference(tmp_path / "b", load(tmp_path / "b"))
    assert found is not None
    assert (found.centres == centres).all()


def test_an_older_bundle_opens_and_has_none(tmp_path):
    save(toy_bundle(), tmp_path / "b")
    assert read_reference(tmp_path / "b", load(tmp_path / "b")) is None


def test_no_text_of_any_row_is_in_it(folder):
    written = (folder / "reference.json").read_text()
    held = {word for row in (*SPLITS.train, *SPLITS.dev) for word in row.text.split() if len(word) > 3}
    assert not [word for word in held if word in written]


@pytest.mark.parametrize("n_labels", [2, 1000])
def test_its_size_depends_on_labels_alone(tmp_path, n_labels):
    counts = {LABELS: np.full(n_labels + 1, 10**9), **{name: np.ones(len(EDGES[name]) + 1, int) for name in EDGES}}
    del counts["likeness"]
    write_reference(tmp_path, Reference(counts, 0, bytes(N_BUCKETS // 8)))
    assert (tmp_path / "reference.json").stat().st_size < 5500 + 18 * n_labels


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {}},
        {"counts": {LABELS: [1, 2]}},
        {"counts": {LABELS: [1, 2, -1, 0]}},
        {"counts": {LABELS: [1, 2, True, 0]}},
        {"counts": {LABELS: [1, 2, 10**30, 0]}},
        {"counts": {LABELS: [1, 2, 0, 0], "heights": [3]}},
        {"counts": {LABELS: [1, 2, 0, 0], "confidence": [1] * (len(EDGES["confidence"]) + 1)}},
        {"counts": {LABELS: [1, 2, 0, 0], "likeness": [3] + [0] * len(EDGES["likeness"])}},
        {"counts": [1]},
        {"n_right": 10**6},
        {"n_right": -1},
        {"n_right": 0.5},
        {"known": "00"},
        {"known": "no hexadecimal"},
        {"known": None},
        {"version": 2},
        {"format": "other"},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_in_one_line(folder, changes):
    edit(folder, **changes)
    with pytest.raises(BundleError, match=r"reference\.json: [^\n]+$"):
        load(folder)


def test_a_reference_of_another_bundle_is_refused(folder, tmp_path):
    counts = {LABELS: np.array([4, 4, 4])}
    write_reference(folder, Reference(counts, 0, bytes(N_BUCKETS // 8)))
    bundle_files.write_hashes(folder)
    with pytest.raises(BundleError, match="expected 4 counts of labels"):
        load(folder)
