"""`python -m bench.decisions.promises`: how often a promise is broken, by simulation, beside a point estimate.

A classifier (words and pairs of words, naive Bayes) is trained once on a part of a real train file. The other
rows are the world: calib rows are drawn from them with replacement, again and again, and each time all is done that the
calibrate stage does, so that the true error of what is promised is known exactly, as that on the whole world. The point
estimate is ``labelwright.statistics.calibration.abstain_threshold``: the threshold that reaches the wanted accuracy on
cross-validated calib rows, all of them. Test files are not read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from labelwright.data.task import read_examples
from labelwright.decisions.apart import keep_apart
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.promise import Promise
from labelwright.statistics.calibration import abstain_threshold, cross_validated_paths, fit_calibration
from labelwright.statistics.metrics import Floats, Ints
from labelwright.statistics.risk import least_rows

DATA = Path("../shared/data")
N_DRAWS, CONFIDENCE = 200, 0.9
_L2, _N_FOLDS = 10.0, 2


@dataclass(frozen=True)
class Setting:
    """A dataset, the error that is wanted, and how many calib rows are drawn.

    Attributes
    ----------
    n_taught : int
        Rows that the classifier learns from; of the others, at most ``n_world``, calib rows are drawn.
    bias : bool
        Whether a bias of each label is fitted beside the temperature: with many labels that takes its time.
    """

    path: str
    max_error: float
    n_taught: int
    n_calib: int
    bias: bool = True
    n_world: int = 2500


SETTINGS = {
    "banking77": Setting("banking77/train.jsonl", 0.05, 5000, 800, bias=False),
    "snips": Setting("snips/train.jsonl", 0.02, 400, 800),
    "sofmattress": Setting("hint3_sofmattress/train.jsonl", 0.2, 160, 200),
}


class World(NamedTuple):
    """What calib rows are drawn from: log-probabilities (n_rows, n_labels) and gold (n_rows,)."""

    scores: Floats
    gold: Ints


class Tried(NamedTuple):
    """Draws of calib rows, each of shape (n_draws,): share of the world answered, and wrong among them.

    NaN where nothing was promised, or no threshold reached the accuracy.
    """

    answered: Floats
    wrong: Floats

    def broken(self, max_error: float) -> int:
        """Draws in which more of the answered rows are wrong than was wanted."""
        return int((self.wrong > max_error + 1e-12).sum())


def world_of(setting: Setting, seed: int = 0) -> World:
    """Train the classifier and let it answer the rows that it was not shown."""
    rows = read_examples(DATA / setting.path)
    order = np.random.default_rng(seed).permutation(len(rows))
    taught, others = order[: setting.n_taught], order[setting.n_taught :][: setting.n_world]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), MultinomialNB(alpha=0.02))
    model.fit([rows[i].text for i in taught], [rows[i].label for i in taught])
    known = {name: place for place, name in enumerate(model.classes_)}
    kept = [i for i in others if rows[i].label in known]
    scores = model.predict_log_proba([rows[i].text for i in kept])
    return World(scores, np.array([known[rows[i].label] for i in kept], dtype=np.int64))


def promised(world: World, setting: Setting, n_draws: int = N_DRAWS, seed: int = 0) -> Tried:
    """The promise, over draws of calib rows."""
    draws = _draws(world, setting, n_draws, seed)
    return Tried(*np.array([_promised(world, drawn, setting, number) for number, drawn in enumerate(draws)]).T)


def guessed(world: World, setting: Setting, n_draws: int = N_DRAWS, seed: int = 0) -> Tried:
    """The point estimate, over the same draws."""
    return Tried(*np.array([_guessed(world, drawn, setting) for drawn in _draws(world, setting, n_draws, seed)]).T)


def _draws(world: World, setting: Setting, n_draws: int, seed: int) -> Ints:
    return np.random.default_rng(seed).integers(len(world.gold), size=(n_draws, setting.n_calib))


def _promised(world: World, drawn: Ints, setting: Setting, seed: int) -> tuple[float, float]:
    least = least_rows(setting.max_error, CONFIDENCE)
    fitted, apart = (drawn[at] for at in keep_apart([str(i) for i in range(len(drawn))], 0.5, least, seed))
    if not len(apart):
        return float("nan"), float("nan")
    calibration = fit_calibration(world.scores[fitted], world.gold[fitted], bias=setting.bias, l2=_L2)
    sides = [(calibration.apply(world.scores[rows]), world.gold[rows]) for rows in (fitted, apart)]
    counts = Promise.of(LIKELIEST, sides[0], sides[1], len(fitted)).all
    assert counts is not None
    return _of_world(calibration.apply(world.scores), world.gold, counts.threshold(setting.max_error, CONFIDENCE))


def _guessed(world: World, drawn: Ints, setting: Setting) -> tuple[float, float]:
    scores, gold = world.scores[drawn], world.gold[drawn]
    (probs,) = cross_validated_paths(scores, gold, None, (_L2,), bias=setting.bias, n_folds=_N_FOLDS)
    threshold = abstain_threshold(probs, gold, 1 - setting.max_error)
    shipped = fit_calibration(scores, gold, bias=setting.bias, l2=_L2).apply(world.scores)
    return _of_world(shipped, world.gold, np.inf if threshold is None else threshold)


def _of_world(probs: Floats, gold: Ints, threshold: float) -> tuple[float, float]:
    """Share answered, and wrong among them, of the whole world; NaN where no row is answered."""
    said = Decision(thresholds=np.full(probs.shape[1], threshold)).decide(probs).said
    answered = said >= 0
    if not answered.any():
        return float("nan"), float("nan")
    return float(answered.mean()), float((said != gold)[answered].mean())


def line(name: str, setting: Setting, n_draws: int) -> str:
    """A dataset's row of the table."""
    world = world_of(setting)
    promise, guess = promised(world, setting, n_draws), guessed(world, setting, n_draws)
    accuracy = float((world.scores.argmax(axis=1) == world.gold).mean())
    cells = [name, f"{100 * accuracy:.1f}", str(setting.n_calib), f"{100 * setting.max_error:g}"]
    cells += [f"{100 * np.isfinite(promise.wrong).mean():.0f}"]
    for tried in (promise, guess):
        n_broken = tried.broken(setting.max_error)
        interval = binomtest(n_broken, n_draws).proportion_ci(method="exact")
        cells += [f"{100 * np.nanmean(tried.answered):.0f}" if np.isfinite(tried.answered).any() else "-"]
        cells += [f"{100 * n_broken / n_draws:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| dataset | accuracy % | calib rows | wanted error % | promised in % of draws | answered % | broken % | "
    "point estimate: answered % | broken % |\n|---|---|---|---|---|---|---|---|---|"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; a dataset that is not there is named and left out."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decisions.promises", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--draws", type=int, default=N_DRAWS, help=f"of calib rows (default: {N_DRAWS})")
    options = parser.parse_args(argv)
    print(HEAD)
    for name, setting in SETTINGS.items():
        if (DATA / setting.path).is_file():
            print(line(name, setting, options.draws), flush=True)
        else:
            print(f"{name}: {DATA / setting.path} is not there", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
