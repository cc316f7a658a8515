"""The prior stage: the liking that a model has for some labels, whatever the row says, taken out of its probabilities.

An untuned model's closed-set probabilities follow how common a label's words are as much as what the row is about. The
prior is measured without a single gold label, and its logarithm becomes the calibration's bias with the sign turned:

- "train": the mean of the model's probabilities over the train texts ("Batch Calibration", Zhou et al. 2024,
  arXiv:2309.17249, equations 3 and 4). Right where labels are about equally common.
- "content_free": the mean over texts that say nothing ("Calibrate Before Use", Zhao et al. 2021, arXiv:2102.09690,
  section 5).

What it leaves is still no calibrated classifier: that takes gold labels, and is the calibrate stage's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.asked.classes import classes_of
from labelwright.data.task import Example, Splits
from labelwright.errors import DataError, RecipeError
from labelwright.settings import Choice, Range, check
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import Floats
from optimizers.scores import dev_numbers, gold_of, kept_scores, rank
from optimizers.stage import StageContext

SOURCES = ("train", "content_free")
# Zhao et al. 2021, section 5.
CONTENT_FREE = ("N/A", "", "[MASK]")
# A label that the model never expects would otherwise get a bias without bound.
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class PriorStage:
    """Settings of the recipe's ``[prior]`` table.

    Attributes
    ----------
    source : {"dev", "train", "content_free"}
        Where the prior is measured. "dev" tries both and keeps the one that is more accurate on dev, or none where
        neither is better than what came in.
    rows : int
        Train texts at most; enough for a mean, and less to score.
    """

    source: Annotated[str, Choice(("dev", *SOURCES))] = "dev"
    rows: Annotated[int, Range(1)] = 256

    name: ClassVar[str] = "prior"

    def __post_init__(self) -> None:
        check(self, "[prior] ")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """The bundle with the prior's bias as its only calibration, or as it came where dev did not gain.

        Raises
        ------
        RecipeError
            If the source is "content_free" and rows bring their own choices or points: without, there is no question.
        """
        context.tracker.params(asdict(self))
        restricted = bundle.prompt.restricts_rows
        if restricted and self.source == "content_free":
            raise RecipeError(
                '[prior] source = "content_free": rows bring choices or points of their own, and a text without has no '
                'answer; use "train"'
            )
        plain = replace(bundle, calibration=Calibration(rotations=bundle.calibration.rotations))
        sources = [source for source in SOURCES if source != "content_free" or not restricted]
        sources = sources if self.source == "dev" else [self.source]
        scores, gold = kept_scores(plain, splits.dev, context, "dev"), gold_of(bundle, splits.dev)
        dev = {"none": dev_numbers(bundle.calibration.apply(scores), gold)}
        fitted: dict[str, Calibration] = {"none": bundle.calibration}
        for source in sources:
            bias = prior_bias(self._prior(source, plain, splits.train, context))
            fitted[source] = replace(plain.calibration, bias=tuple(bias.tolist()))
            dev[source] = dev_numbers(fitted[source].apply(scores), gold)
            context.tracker.metrics({f"prior.dev_{key}_{source}": value for key, value in dev[source].items()})
        tried = fitted if self.source == "dev" else sources
        best = max(tried, key=lambda source: rank(dev[source]))
        context.tracker.progress(1, 1, f"dev {dev[best]['accuracy']:.3f}")
        entry: dict[str, Any] = {
            "stage": self.name,
            "kept": best != "none",
            "source": best,
            "settings": asdict(self),
            "dev_before": dev["none"],
            "dev_after": dev[best],
            "dev": dev,
        }
        return bundle.with_stage(entry, calibration=fitted[best])

    def _prior(self, source: str, plain: Bundle, train: Sequence[Example], context: StageContext) -> Floats:
        """The model's mean probability of each label, shape (n_labels,)."""
        if source == "content_free":
            rows = [Example(f"content-free {n}", text, "") for n, text in enumerate(CONTENT_FREE)]
            return Calibration().apply(kept_scores(plain, rows, context, source)).mean(axis=0)
        if not train:
            raise DataError("the train split is empty: there are no texts to measure the prior on")
        order = np.random.default_rng(context.seed).permutation(len(train))[: self.rows]
        rows = [train[i] for i in order]
        probs = Calibration().apply(kept_scores(plain, rows, context, source))
        # A label is judged by the rows that can have it; one that none can is left alone.
        has = classes_of(plain.task, [row.text for row in rows])
        if has is None:
            return probs.mean(axis=0)
        return np.where(has.any(axis=0), probs.sum(axis=0) / np.maximum(has.sum(axis=0), 1), probs.mean())


def prior_bias(prior: Floats) -> Floats:
    """-ln prior, shifted to a mean of 0; shape (n_labels,).

    >>> prior_bias(np.array([0.8, 0.2])).round(2)
    array([-0.69,  0.69])
    """
    bias = -np.log(np.maximum(prior, _LEAST_PROBABILITY))
    return bias - bias.mean()
