"""Kept scores: found again for the same question, and for no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits
from training_fakes import Record

from labelwright.bundle.types import Bundle
from labelwright.models.weights import Adapter, Base, Full, Weights
from labelwright.statistics.calibration import Calibration
from optimizers.kept import KeptScores, weights_fingerprint
from optimizers.scores import kept_scores
from optimizers.stage import StageContext

ROWS = toy_splits().calib


class Tuned(FakeEngine):
    """Scores that depend on the weights: a liking for the first label that the folder's file tells."""

    unexpanded_mass = 1e-4

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.liking = float((weights.folder / "w.safetensors").read_text()) if weights.folder else 0.0
        self.asked: list[Calibration | None] = []

    def score(self, prompts, options, calibration=None):
        self.asked.append(calibration)
        return super().score(prompts, options) + self.liking * np.eye(len(options))[0]


def adapter(folder: Path, liking: float) -> Weights:
    folder.mkdir(exist_ok=True)
    (folder / "w.safetensors").write_text(str(liking))
    return Adapter("fake", folder)


def scored(folder: Path, bundle: Bundle, opened: list[Tuned] | None = None) -> np.ndarray:
    folder.mkdir(exist_ok=True)

    def open_engine(weights: Weights) -> Tuned:
        engine = Tuned(weights)
        if opened is not None:
            opened.append(engine)
        return engine

    return kept_scores(bundle, ROWS, StageContext(folder, Record(), open_engine, 0), "calib")


def test_scores_are_kept_for_the_same_question_only(tmp_path: Path) -> None:
    bundle = replace(toy_bundle(), weights=adapter(tmp_path / "a", 1.0))
    stage, opened = tmp_path / "stage", []
    first = scored(stage, bundle, opened)
    np.testing.assert_array_equal(scored(stage, bundle, opened), first)
    assert len(opened) == 1, "they are found again"
    for other in (
        toy_bundle(),
        replace(bundle, weights=adapter(tmp_path / "b", 2.0)),
        replace(bundle, prompt=bundle.prompt.with_instructions("pool: thing, broke")),
    ):
        found = scored(stage, other)
        assert not np.array_equal(found, first)
        np.testing.assert_array_equal(found, scored(tmp_path / "fresh", other))


def test_weights_are_told_apart_by_content(tmp_path: Path) -> None:
    """Training again writes into the same folder, and a moved run folder holds the same weights."""
    bundle = replace(toy_bundle(), weights=adapter(tmp_path / "a", 1.0))
    first = scored(tmp_path / "stage", bundle)
    adapter(tmp_path / "a", 2.0)
    np.testing.assert_allclose(scored(tmp_path / "stage", bundle)[:, 0], first[:, 0] + 1)
    moved = weights_fingerprint(adapter(tmp_path / "elsewhere", 2.0))
    assert moved == weights_fingerprint(bundle.weights) != weights_fingerprint(Base("fake"))
    base = tmp_path / "base"
    adapter(base, 1.0)
    before = weights_fingerprint(Base(str(base)))
    adapter(base, 2.0)
    assert weights_fingerprint(Base(str(base))) != before
    assert weights_fingerprint(Base("fake")) != weights_fingerprint(Base("other"))
    assert weights_fingerprint(Full("x", base)) != weights_fingerprint(Adapter("x", base))


def test_kept_scores_go_to_every_options_end(tmp_path: Path) -> None:
    opened: list[Tuned] = []
    bundle = replace(toy_bundle(), calibration=Calibration(2.0, (0.0, 1.0, 2.0)))
    scored(tmp_path, bundle, opened)
    assert set(opened[0].asked) == {None}, "what will be fitted on them is not known"


def test_what_another_asker_left_counts_with_what_it_took(tmp_path: Path) -> None:
    """So that a step costs the same whoever scored its rows before."""
    bundle, opened = toy_bundle(), []

    def open_engine(weights: Weights) -> FakeEngine:
        opened.append(weights)
        return FakeEngine()

    first, again, other = (KeptScores(tmp_path, "engine", asker) for asker in ("a", "a", "b"))
    scores = first.of(bundle, ROWS, open_engine)
    np.testing.assert_array_equal(again.of(bundle, ROWS, open_engine), scores)
    np.testing.assert_array_equal(other.of(bundle, ROWS, open_engine), scores)
    assert len(opened) == 1
    took = first.seconds_per_row(bundle, ROWS)
    assert took is not None
    assert (first.reused_s, again.reused_s) == (0.0, 0.0), "what it scored itself is in its own time already"
    assert took > 0
    assert other.reused_s == pytest.approx(took * len(ROWS))


def test_another_engine_and_other_rows_are_other_questions(tmp_path: Path) -> None:
    bundle = toy_bundle()
    KeptScores(tmp_path, "engine").of(bundle, ROWS, lambda weights: FakeEngine())
    assert KeptScores(tmp_path, "engine").known(bundle, ROWS) is not None
    assert KeptScores(tmp_path, "engine of other settings").known(bundle, ROWS) is None
    assert KeptScores(tmp_path, "engine").known(bundle, ROWS[1:]) is None
    other = replace(bundle, calibration=Calibration(2.0, (1.0, 0.0, 0.0)))
    assert KeptScores(tmp_path, "engine").known(other, ROWS) is not None, "scores are of no calibration"


def test_no_numbers_and_half_files_are_not_taken_for_scores(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def score(self, prompts, options):
            return np.full((len(prompts), len(options)), np.nan)

    kept, bundle = KeptScores(tmp_path), toy_bundle()
    assert np.isnan(kept.of(bundle, ROWS, lambda weights: Broken())).all()
    scores = kept.of(bundle, ROWS, lambda weights: FakeEngine())
    assert np.isfinite(scores).all()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    np.testing.assert_array_equal(kept.of(bundle, ROWS, lambda weights: FakeEngine()), scores)


def test_what_another_took_counts_once_however_often_it_is_read(tmp_path: Path) -> None:
    """A stage asks about dev, and the step's report asks again: had it been scored here, the second were free."""
    bundle = toy_bundle()
    KeptScores(tmp_path, asker="a").of(bundle, ROWS, lambda weights: FakeEngine())
    other = KeptScores(tmp_path, asker="b")
    other.of(bundle, ROWS, lambda weights: FakeEngine())
    once = other.reused_s
    other.of(bundle, ROWS, lambda weights: FakeEngine())
    assert other.reused_s == once == other.seconds(bundle, ROWS)
    assert once > 0
    KeptScores(tmp_path, asker="a").of(bundle, ROWS[1:], lambda weights: FakeEngine())
    other.of(bundle, ROWS[1:], lambda weights: FakeEngine())
    assert other.reused_s > once, "another question"


def test_scores_outlive_a_folder_that_takes_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept, bundle = KeptScores(tmp_path / "file" / "scores"), toy_bundle()
    assert np.isfinite(kept.of(bundle, ROWS, lambda weights: FakeEngine())).all()
    assert kept.known(bundle, ROWS) is None


def test_what_cannot_be_unpacked_is_scored_again(tmp_path: Path) -> None:
    kept, bundle = KeptScores(tmp_path), toy_bundle()
    scores = kept.of(bundle, ROWS, lambda weights: FakeEngine())
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    for header in (b"PK\x01\x02", b"PK\x03\x04"):
        at = content.find(header)
        method = at + (10 if header == b"PK\x01\x02" else 8)
        content[method] = 97  # no method that zipfile knows
    path.write_bytes(content)
    np.testing.assert_array_equal(kept.of(bundle, ROWS, lambda weights: FakeEngine()), scores)


def test_how_busy_the_machine_was_is_told_with_the_seconds(tmp_path: Path) -> None:
    @contextmanager
    def busy(cores: float) -> Iterator[SimpleNamespace]:
        load = SimpleNamespace(others_busy_cores=None)
        yield load
        load.others_busy_cores = cores

    bundle = toy_bundle()
    for rows, cores in ((ROWS, 1.5), (ROWS[1:], 0.5)):
        first = KeptScores(tmp_path, asker="a", watch=lambda cores=cores: busy(cores))
        first.of(bundle, rows, lambda weights: FakeEngine())
        assert first.reused_busy_cores is None
    KeptScores(tmp_path, asker="a").of(bundle, ROWS[2:], lambda weights: FakeEngine())
    other = KeptScores(tmp_path, asker="b")
    other.of(bundle, ROWS[2:], lambda weights: FakeEngine())
    assert other.reused_busy_cores is None, "nobody watched"
    for rows in (ROWS, ROWS[1:]):
        other.of(bundle, rows, lambda weights: FakeEngine())
    assert other.reused_busy_cores == 1.5


def test_what_nobody_read_for_long_is_removed(tmp_path: Path) -> None:
    bundle, kept = toy_bundle(), KeptScores(tmp_path)
    kept.of(bundle, ROWS, lambda weights: FakeEngine())
    kept.of(bundle, ROWS[1:], lambda weights: FakeEngine())
    (tmp_path / ".cut.1-1.tmp.npz").touch()
    (tmp_path / ".at work.2-2.tmp.npz").touch()
    for path in tmp_path.iterdir():
        if "at work" not in path.name:
            os.utime(path, (1, 1))
    assert kept.known(bundle, ROWS) is not None, "read again"
    kept.of(bundle, ROWS[2:], lambda weights: FakeEngine())
    assert (kept.known(bundle, ROWS) is None, kept.known(bundle, ROWS[1:]) is None) == (False, True)
    assert [path.name for path in tmp_path.glob(".*")] == [".at work.2-2.tmp.npz"]
