"""Racing: what is worse is given up early, what is not is hardly ever, and a search that races pays less."""

from __future__ import annotations

import json
from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle
from gepa_search import hard_splits, run

from labelwright.errors import RecipeError
from optimizers.gepa import reflection
from optimizers.gepa.choice.objective import CalibratedAnswers, Objective
from optimizers.gepa.choice.race import N_PARTS, Race, is_worse
from optimizers.kept import KeptScores
from rewards.label_match import LabelMatch

SPLITS = hard_splits()
ROWS = (*SPLITS.train, *SPLITS.dev)
GOOD = "Name it.\npool: chlorine, skimmer, liner\nfence: post, panel, gate\nhvac: furnace, duct, vent"
HALF = "Name it.\npool: chlorine\nfence: post"
BAD = "Name it.\nfence: chlorine, skimmer, liner\nhvac: post, panel, gate\npool: furnace, duct, vent"


def part_sizes(folder: Path) -> np.ndarray:
    answers = CalibratedAnswers(toy_bundle(), SPLITS.dev, (), FakeEngine(), KeptScores(folder), 0, N_PARTS)
    return np.diff([answers.n_rows_of(n) for n in range(N_PARTS + 1)])


def looks(gains: np.ndarray) -> int:
    """Parts after which a race of these gains ends; N_PARTS where it never does."""
    ends = np.linspace(0, len(gains), N_PARTS + 1).astype(int)[1:-1]
    names = [str(i) for i in range(len(gains))]
    few = {"n_draws": 499}
    lost = (k for k, end in enumerate(ends, 1) if is_worse(gains[:end], names[:end], 0.95, len(ends), **few))
    return next(lost, N_PARTS)


def test_the_best_of_a_pool_is_kept_as_often_as_promised_and_the_rest_costs_less():
    """Pools of six as a search meets them: each is raced with the best that was scored whole before it.

    Rows are heavy-tailed and of unequal difficulty. The best is the best by its mean over all rows, which is what GEPA
    would have ranked by. Where all are as good as each other the promise is tried hardest.
    """
    chance, n_pools, n_rows, n_programs = np.random.default_rng(1), 60, 96, 6
    for spread in (0.0, 0.15):
        n_lost, paid, whole = 0, 0, 0
        for _ in range(n_pools):
            hard = chance.beta(0.6, 0.6, n_rows)
            worth = spread * chance.normal(size=n_programs)
            values = np.clip(hard + worth[:, None] + 0.25 * chance.standard_t(3, (n_programs, n_rows)), 0, 1)
            best, leader, lost = int(values.mean(axis=1).argmax()), 0, set()
            for program in range(1, n_programs):
                ended = looks(values[program] - values[leader])
                paid, whole = paid + ended * n_rows // N_PARTS, whole + n_rows
                if ended < N_PARTS:
                    lost.add(program)
                elif values[program].mean() > values[leader].mean():
                    leader = program
            n_lost += best in lost
        # 60 pools at 5 %: 3 are expected at most, and more than 8 are one in 300.
        assert n_lost <= 8
        if spread:
            assert paid < 0.8 * whole
        else:
            assert paid > 0.9 * whole


def test_what_is_worse_on_its_first_part_costs_no_more_and_what_is_better_is_never_given_up(tmp_path: Path):
    engine, bundle = FakeEngine(), toy_bundle()
    answers = CalibratedAnswers(bundle, ROWS, SPLITS.train, engine, KeptScores(tmp_path), 0, N_PARTS)
    race = Race(answers, Objective.of("expected_reward", LabelMatch(), bundle), 0.95, engine)
    good, bad = (bundle.prompt.with_instructions(text) for text in (GOOD, BAD))
    n_rows = race.rows_until_given_up(bad, good)
    assert 0 < n_rows <= len(ROWS) / 2
    # Each part is scored once, by both, and nothing else is.
    assert sum(n for n, _ in engine.calls) == 2 * n_rows
    assert race.rows_until_given_up(good, bad) == 0
    assert race.rows_until_given_up(good, good) == 0


def test_parts_are_families_whole_and_scored_once_for_all(tmp_path: Path):
    engine, bundle = FakeEngine(), toy_bundle()
    rows = (*ROWS, ROWS[0])
    parted = CalibratedAnswers(bundle, rows, SPLITS.train, engine, KeptScores(tmp_path / "parts"), 0, N_PARTS)
    ends = [parted.n_rows_of(n) for n in range(N_PARTS + 1)]
    assert ends[0] == 0 < ends[1] < ends[2] < ends[3] < ends[4] == len(rows)
    assert max(np.diff(ends)) < 1.3 * len(rows) / N_PARTS
    seen = [set(parted.on_parts(bundle.prompt, n, engine)[2]) for n in range(1, N_PARTS + 1)]
    assert [len(a & b) for a, b in pairwise(seen)] == [len(a) for a in seen[:-1]]
    probs, gold, _ = parted.on_parts(bundle.prompt, 2, engine)
    assert len(probs) == len(gold) < ends[2] + 1
    whole = CalibratedAnswers(bundle, rows, SPLITS.train, FakeEngine(), KeptScores(tmp_path / "whole"))
    np.testing.assert_allclose(parted.on_validation(bundle.prompt), whole.on_validation(bundle.prompt))
    assert sum(n for n, _ in engine.calls) == len(ROWS)
    # Scores of all rows, which another stage may have kept, serve for the parts.
    again = FakeEngine()
    CalibratedAnswers(bundle, rows, (), again, whole.kept, 0, N_PARTS).on_parts(bundle.prompt, 3, again)
    assert again.calls == []


def test_a_search_that_races_gives_up_some_ranks_whole_ones_only_and_pays_for_what_it_scored(
    tmp_path: Path, monkeypatch
):
    """The first proposal is good; those after it are better than where the search began, and worse than the first."""
    written = iter([GOOD, *(f"{HALF} {n}" for n in range(99))])
    monkeypatch.setattr(reflection, "Reflection", lambda *args: lambda *asked: next(written))
    settings = {"reflection_model": "fake/model", "proposals_per_step": 1}
    raced, _, _ = run(tmp_path / "raced", SPLITS, race_confidence=0.8, **settings)
    (entry,) = raced.history
    assert entry["n_given_up"] > 0
    assert entry["n_tried"] == entry["n_kept"] + entry["n_rejected"] + entry["n_failed"]
    assert f"{entry['n_given_up']} given up before all validation rows were scored" in entry["proposals"]
    programs = (tmp_path / "raced/programs.json").read_text()
    assert programs.count('"program":') == entry["n_kept"] + 1
    # Metric calls are minibatches, of nine rows, all validation rows of what was kept, and some of what was given up.
    n_steps = len(json.loads((tmp_path / "raced/gepa/proposals.json").read_text()))
    for_races = entry["metric_calls"] - (entry["n_kept"] + 1) * len(SPLITS.dev) - 9 * (n_steps + entry["n_tried"])
    ends = np.cumsum(part_sizes(tmp_path))[:-1]
    assert for_races in {sum(mix) for mix in combinations_with_replacement(ends.tolist(), entry["n_given_up"])}


@pytest.mark.parametrize("value", [1.0, -0.1, True])
def test_no_confidence_out_of_range(tmp_path: Path, value):
    with pytest.raises(RecipeError, match="race_confidence"):
        run(tmp_path, SPLITS, race_confidence=value)
