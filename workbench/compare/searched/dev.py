"""What settings reach on dev. No comparison, no recipe: what can change the numbers is what this file imports.

So its code is what makes a kept trial stale.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.data.task import Splits, group_keys
from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import log_loss
from labelwright.statistics.proportions import share_interval
from workbench.compare import measure
from workbench.compare.searched.found import Trial


def reached(
    asked: measure.BaselineJob, settings: Mapping[str, Any], splits: Splits, calibrate: Any, seed: int
) -> Trial:
    """A baseline learns train, is calibrated on calib and answers dev. Test is not read.

    Parameters
    ----------
    settings : mapping
        Those of ``asked`` that the search set.
    calibrate : stage
    seed : int
        Of the calibration.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        trained = measure.train_baseline(asked, splits, Path(scratch))
        final, _, _ = measure.calibrated(trained, calibrate, splits.calib, seed)
        probs = final.bundle.calibration.apply(final.log_scores(splits.dev))
    gold = np.array([asked.task.index(str(row.label)) for row in splits.dev], dtype=np.int64)
    right = final.bundle.decision.read(probs, gold)
    share = share_interval(right.answer == gold, group_keys(splits.dev))
    return Trial(dict(settings), Interval(*share), float(log_loss(right, gold)), time.monotonic() - begun)
