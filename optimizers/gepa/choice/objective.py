"""The value of an answer to the search, on probabilities that are calibrated as they will ship.

A model likes some labels whatever the row says, and instructions move that liking. Whoever counts the hits of raw
probabilities finds instructions that happen to shift it towards the labels of these rows; the calibration that every
candidate gets in the end does the same better, for any instructions. So here every program is calibrated before it is
valued: on the validation rows as the calibrate stage does it, cross-fitted, families whole. What is then left to gain
is telling rows apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.asked.classes import classes_of
from labelwright.data.families import family_names
from labelwright.data.task import Example
from labelwright.decide import log_scores
from labelwright.decisions.decision import Decision
from labelwright.engines.protocol import Engine, has_probabilities
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration, group_folds
from labelwright.statistics.metrics import Floats, Ints
from optimizers.calibration_choice import best_calibration
from optimizers.kept import KeptScores
from optimizers.prior import prior_bias
from optimizers.scores import gold_of
from rewards import reward_matrix
from rewards.outcome import Reward

OBJECTIVES = ("reward", "expected_reward", "log_loss")
# A row is not worth less than one that gives its label this.
_LEAST_PROBABILITY = 1e-6
# Of ``without_liking``: more steps change nothing.
_STEPS, _SHARE = 20, 0.1
# A label is at least so common.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class Objective:
    """What a row's answer is worth, the more the better.

    Attributes
    ----------
    name : {"reward", "expected_reward", "log_loss"}
        The reward of the answer that is decided on; the mean reward of a label drawn from the probabilities, which does
        not jump; or 1 - log loss / ln n_labels, which is 1 where the right label is certain and 0 for guesses.
    rewards : ndarray of shape (n_labels, n_labels)
        ``rewards.reward_matrix``: row gold, column answered.
    """

    name: str
    rewards: Floats
    decision: Decision

    @classmethod
    def of(cls, name: str, reward: Reward, bundle: Bundle) -> Objective:
        """The objective of that name, for a bundle's labels and decision."""
        return cls(name, reward_matrix(reward, bundle.task.names), bundle.decision)

    def values(self, probs: Floats, gold: Ints) -> Floats:
        """Shape (n_rows,), of probabilities (n_rows, n_labels); 0 for a row without an answer (all 0)."""
        rows = np.arange(len(gold))
        if self.name == "expected_reward":
            return np.asarray((self.rewards[gold] * probs).sum(axis=1))
        if self.name == "log_loss":
            at_gold = np.maximum(probs[rows, gold], _LEAST_PROBABILITY)
            return np.where(probs.any(axis=1), 1 + np.log(at_gold) / np.log(max(probs.shape[1], 2)), 0.0)
        choice = self.decision.decide(probs).choice
        return np.where(choice >= 0, self.rewards[gold, choice], 0.0)

    def value(self, probs: Mapping[str, float], names: Sequence[str], gold: str) -> float:
        """The same of one row, by label name."""
        row = np.array([[probs[name] for name in names]])
        return float(self.values(row, np.array([names.index(gold)]))[0])


@dataclass
class CalibratedAnswers:
    """Probabilities of labelled rows under any instructions, calibrated for each of them.

    Attributes
    ----------
    bundle : Bundle
        All but its prompt's words stays. Its own calibration is applied first, as the calibrate stage has it.
    validation : sequence of Example
        What programs are calibrated on; whole scores of these are kept, for the stage's next start and for later ones.
    rows : sequence of Example
        The search's own. Minibatches are drawn from them, and have their labels as often as these have.
    engine : Engine
        One that gives no probabilities is believed as it is.
    seed : int
        Deals the folds, and the parts.
    n_parts : int
        Validation rows are scored in so many parts (``race``), labels spread evenly, families whole; fewer where there
        are fewer families.
    """

    bundle: Bundle
    validation: Sequence[Example]
    rows: Sequence[Example]
    engine: Engine
    kept: KeptScores
    seed: int = 0
    n_parts: int = 1
    _fitted: dict[tuple[Any, ...], tuple[Floats, Calibration]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # A text that stands there twice is asked once, as it is by ``programs.decision``.
        first: dict[str, Example] = {}
        for row in self.validation:
            first.setdefault(row.text, row)
        self._unique = list(first.values())
        self._place = {text: number for number, text in enumerate(first)}
        self._shares = label_shares(self.bundle, self.rows)
        self._families, gold = family_names(self._unique), gold_of(self.bundle, self._unique)
        self.n_parts = max(min(self.n_parts, len(set(self._families))), 1)
        part = np.zeros(len(gold), dtype=np.int64)
        if self.n_parts > 1:
            part = group_folds(gold, self._families, self.n_parts, self.seed)
        self._parts = [np.flatnonzero(part == number) for number in range(self.n_parts)]

    def __call__(self, prompt: Prompt, engine: Engine, texts: Sequence[str]) -> Floats:
        """Of a batch of rows that DSPy asks for, (n_texts, n_labels).

        All validation rows, in any order: as ``on_validation``. A minibatch is too few for a fit, and is answered
        ``without_liking``.
        """
        if len(texts) == len(self._place) and set(texts) == self._place.keys():
            return self._fit(prompt, engine)[0][[self._place[text] for text in texts]]
        return self._batch(log_scores(self._with(prompt), engine, texts), engine)

    def on_validation(self, prompt: Prompt) -> Floats:
        """Probabilities of the validation rows, in their order, each by a calibration fitted without its group."""
        probs = self._fit(prompt, self.engine)[0]
        return probs[[self._place[row.text] for row in self.validation]]

    def on_parts(self, prompt: Prompt, n_parts: int, engine: Engine) -> tuple[Floats, Ints, list[str]]:
        """Probabilities, gold labels and families of the rows of the first parts, a text that stands twice once.

        Fewer rows than all of them are answered as a minibatch is, ``without_liking``.
        """
        asked, places = self._with(prompt), np.concatenate(self._parts[:n_parts])
        rows = [self._unique[place] for place in places]
        scores = np.concatenate([self._part(asked, engine, number) for number in range(n_parts)])
        return self._batch(scores, engine), gold_of(asked, rows), [self._families[place] for place in places]

    def n_rows_of(self, n_parts: int) -> int:
        """So many validation rows are in the first parts, one that stands twice counted twice."""
        texts = {self._unique[place].text for part in self._parts[:n_parts] for place in part}
        return sum(row.text in texts for row in self.validation)

    def elsewhere(self, prompt: Prompt, rows: Sequence[Example]) -> Floats:
        """Probabilities of rows outside, (n_rows, n_labels), by the calibration fitted on all validation rows."""
        _, calibration = self._fit(prompt, self.engine)
        return calibration.apply(self.kept.of(self._with(prompt), rows, lambda weights: self.engine))

    def _with(self, prompt: Prompt) -> Bundle:
        return replace(self.bundle, prompt=prompt)

    def _batch(self, scores: Floats, engine: Engine) -> Floats:
        if not has_probabilities(engine):
            return self.bundle.calibration.apply(scores)
        return without_liking(self.bundle.calibration.logits(scores), self._shares)

    def _part(self, asked: Bundle, engine: Engine, number: int) -> Floats:
        """Scores of a part's rows, kept; read from those of all rows where somebody scored these together."""
        places = self._parts[number]
        if (whole := self.kept.known(asked, self._unique)) is not None:
            return whole[places]
        return self.kept.of(asked, [self._unique[place] for place in places], lambda weights: engine)

    def _whole(self, asked: Bundle, engine: Engine) -> Floats:
        if self.n_parts == 1:
            return self.kept.of(asked, self._unique, lambda weights: engine)
        scores = np.concatenate([self._part(asked, engine, number) for number in range(self.n_parts)])
        return scores[np.argsort(np.concatenate(self._parts))]

    def _fit(self, prompt: Prompt, engine: Engine) -> tuple[Floats, Calibration]:
        # Nothing but these differs from one program to the next.
        key = prompt.instructions, prompt.demos, prompt.labels
        if key not in self._fitted:
            asked = self._with(prompt)
            scores = self._whole(asked, engine)
            before, groups = self.bundle.calibration, self._families
            if has_probabilities(engine) and len(set(groups)) > 1:
                found = best_calibration(before.logits(scores), gold_of(asked, self._unique), groups, seed=self.seed)
                self._fitted[key] = found.probs, before.then(found.calibration)
            else:
                self._fitted[key] = before.apply(scores), before
        return self._fitted[key]


def label_shares(bundle: Bundle, rows: Sequence[Example]) -> Floats:
    """How common each label is among the rows that have it, (n_labels,): letters are of those with so many choices."""
    n_labels = len(bundle.task.names)
    counts = np.bincount(gold_of(bundle, rows), minlength=n_labels)
    has = classes_of(bundle.task, [row.text for row in rows])
    return np.asarray(counts / (max(len(rows), 1) if has is None else np.maximum(has.sum(axis=0), 1)))


def without_liking(logits: Floats, shares: Floats | None = None) -> Floats:
    """Probabilities of a batch by the bias that makes labels as probable on average as they are common.

    Found without the batch's own gold labels, by taking out the mean ("Batch Calibration", Zhou et al. 2024) again and
    again, which is Sinkhorn's iteration: so another constant a label changes nothing. Minibatches are stratified
    (``sampling.StepSampling``), and have labels about as often as all of the search's rows; fewer rows than labels
    cannot, and one step moves those a little.

    Parameters
    ----------
    logits : ndarray of shape (n_rows, n_labels)
        -inf where a row does not have the label (a letter of no choice).
    shares : ndarray of shape (n_labels,), optional
        How common labels are among the rows that have them; all alike by default. What a row may be is shared out
        among the labels that it has.

    Returns
    -------
    ndarray of shape (n_rows, n_labels)
    """
    n_rows, n_labels = logits.shape
    n_steps, share = (_STEPS, _SHARE) if n_rows >= n_labels else (1, 1.0)
    shares = np.full(n_labels, 1 / n_labels) if shares is None else shares
    # A label that no row has must not be impossible: it is worth less than one row.
    shares = np.maximum(shares, _LEAST_SHARE)
    has = np.isfinite(logits)
    expected = np.where(has, shares, 0.0)
    expected = (expected / np.maximum(expected.sum(axis=1, keepdims=True), _LEAST_SHARE)).sum(axis=0)
    # A share of a row, dealt as the rows are, keeps a label that nobody is given from running away.
    more = share * n_labels * shares / shares.sum()
    bias = np.zeros(n_labels)
    for _ in range(n_steps):
        probs = Calibration(bias=tuple(bias.tolist())).apply(logits)
        bias = bias + prior_bias((probs.sum(axis=0) + more) / (expected + more))
    return Calibration(bias=tuple(bias.tolist())).apply(logits)
