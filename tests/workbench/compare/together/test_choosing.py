"""From answers to a plan: a cascade ends in what dev likes best, an ensemble included, and prices count parts once."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.compare.together.choosing import in_turn, mixed, told
from workbench.compare.together.prices import Prices

CHANCE = np.random.default_rng(3)
GOLD = {side: CHANCE.integers(0, 3, 240) for side in ("dev", "calib", "test")}


def answers(ahead: float, seed: int, sure: float = 0.0) -> dict[str, np.ndarray]:
    """By side; sure and right on a share of the rows."""
    found = {}
    for number, (side, gold) in enumerate(GOLD.items()):
        chance = np.random.default_rng([seed, number])
        logits = chance.normal(size=(240, 3))
        easy = chance.random(240) < sure
        logits[np.arange(240), gold] += np.where(easy, 9.0, ahead)
        weights = np.exp(logits)
        found[side] = weights / weights.sum(axis=1, keepdims=True)
    return found


MEMBERS = {"tiny": answers(0.3, 1, 0.5), "a": answers(2.5, 2), "b": answers(2.5, 3), "large": answers(2.6, 4)}
PRICES = Prices({"tiny": 1.0, "a": 10.0, "b": 12.0, "large": 100.0}, {"tiny": "tiny", "a": "e", "b": "e", "large": "l"})
GROUPS = [str(i) for i in range(240)]


def test_members_of_one_encoder_cost_the_dearest_of_them():
    assert PRICES(["a", "b"]) == 12.0
    assert PRICES(["a", "tiny", "a", "large"]) == 111.0


def test_a_cascade_ends_in_the_ensemble_where_dev_likes_that_best():
    ensemble = mixed(MEMBERS, GOLD, GROUPS, 8, 5, 0)
    assert {"a", "b", "large"} <= set(ensemble.names)
    chosen = in_turn(MEMBERS, GOLD, GROUPS, PRICES, 3, ensemble)
    assert chosen.last == "ensemble"
    assert len(chosen.plan.levels) > 1
    assert chosen.names[0] == "tiny"
    assert {chosen.names[one] for one in chosen.plan.levels[-1].members} == set(ensemble.names)
    found, whole = chosen.answers(MEMBERS, "calib"), ensemble.answers(MEMBERS, "calib")
    right, best = ((one.log_probs.argmax(axis=1) == GOLD["calib"]).mean() for one in (found, whole))
    assert right >= best
    assert chosen.mean_ms(found, PRICES) < ensemble.mean_ms(whole, PRICES) == PRICES(ensemble.names)
    assert chosen.curve == tuple(sorted(chosen.curve))


def test_without_an_ensemble_it_ends_in_the_best_single_one():
    best = min(MEMBERS, key=lambda name: -np.log(MEMBERS[name]["dev"][np.arange(240), GOLD["dev"]]).mean())
    ms = {name: 100.0 if name == best else 1.0 for name in MEMBERS}
    dearest = Prices(ms, dict(zip(MEMBERS, MEMBERS, strict=True)))
    assert in_turn(MEMBERS, GOLD, GROUPS, dearest, 2, None).last == best


def test_where_nothing_is_cheaper_the_last_level_is_alone():
    alike = Prices(dict.fromkeys(MEMBERS, 5.0), dict(zip(MEMBERS, MEMBERS, strict=True)))
    chosen = in_turn(MEMBERS, GOLD, GROUPS, alike, 3, None)
    assert (chosen.names, len(chosen.plan.levels)) == ((chosen.last,), 1)


def test_what_is_told_is_what_was_answered():
    chosen = in_turn(MEMBERS, GOLD, GROUPS, PRICES, 3, mixed(MEMBERS, GOLD, GROUPS, 8, 5, 0))
    found = chosen.answers(MEMBERS, "test")
    report = told(chosen, found.levels, np.exp(found.log_probs), GOLD["test"], PRICES.encoders)
    assert report.encoders == {name: PRICES.encoders[name] for name in chosen.names}
    assert sum(level.share for level in report.levels) == pytest.approx(1)
    assert report.levels[-1].threshold is None
    assert all(sum(level.weights.values()) == pytest.approx(1) for level in report.levels)
    right = (found.log_probs.argmax(axis=1) == GOLD["test"]).mean()
    assert sum(level.share * (level.accuracy or 0) for level in report.levels) == pytest.approx(right)


def test_the_test_rows_choose_nothing():
    """Other test answers, the same plan."""
    others = {name: {**one, "test": one["test"][:, ::-1]} for name, one in MEMBERS.items()}
    gold = {**GOLD, "test": GOLD["test"][::-1]}
    both = ((MEMBERS, GOLD), (others, gold))
    first, second = (in_turn(one, of, GROUPS, PRICES, 3, mixed(one, of, GROUPS, 8, 3, 0)) for one, of in both)
    assert first == second
