"""What the comparison knows of a rung: its probabilities, its price, and how it fared under other seeds.

Types only. ``workbench.ladder`` makes them, ``workbench.leaderboard`` puts statistics to them, the report shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# "free" answers in free text, so some answers are no label: its probabilities have a last column for those.
Kind = Literal["baseline", "llm", "free"]


def _no_rows() -> NDArray[np.float64]:
    return np.empty((0, 0))


@dataclass(frozen=True)
class Repeat:
    """Test scores of one more training of a rung.

    Attributes
    ----------
    split_seed, seed : int
        What dealt the splits, and what the training drew from.
    scores : mapping of str to float
        accuracy, macro_f1 and log_loss on that split's test rows, calibrated on its calib rows.
    """

    split_seed: int
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class CurvePoint:
    """Test accuracy of a rung that was shown part of the training rows.

    Attributes
    ----------
    per_label : int
        Training rows a label, at most; 0 for all there are.
    n_rows : int
        Training rows in all.
    """

    per_label: int
    n_rows: int
    seed: int
    accuracy: float


@dataclass(frozen=True)
class Rung:
    """One classifier on the test rows.

    Attributes
    ----------
    name : str
        Of a baseline, or the stages of a model joined by "+", with "@code" behind where it answers in codes.
    about : str
        What it is, in a line.
    step : str, optional
        The run's own step behind it, where there is one.
    raw, probs : ndarray of shape (n_test, n_labels)
        In label order, before and after calibration on the calib rows; empty where ``failed`` says why there is none.
        Those of kind "free" are equal, each row one 1, and have one column more, for answers that are no label.
    calibration : mapping
        Of the bundle that ships: temperature, bias (list, empty for none), variant ("none" where nothing helped), and
        log_loss_before and log_loss_after (cross-validated, on calib).
    cost : mapping
        seconds_to_train, ms_p50, ms_p95 (a batch of one row), rows_per_second (bulk), size_bytes (encoder or base model
        included), peak_memory_bytes, prompt_tokens; None where one does not apply. Where it applies also
        scorings_shortened, train_rows_shortened, has_probabilities (0), thinking_tokens_mean, thoughts_cut_share, and
        n_invalid: test rows to which a server answered nothing usable. others_busy_cores and others_busy_cores_training
        say how many cores other processes kept busy while it was timed and trained.
    generation : mapping
        n_rows, valid (share of answers that are a label) and right (share that are the gold label) under free
        generation; empty where it does not apply.
    outside : mapping
        How well the rung's confidence, its highest probability, tells test rows from rows out of scope: n_rows, auroc,
        and accepted (share of rows out of scope that are answered where 95 % of the test rows are); empty where there
        are none.
    repeats : tuple of Repeat
        Other seeds and other splits; the rung itself is not among them.
    curve : tuple of CurvePoint
        Empty where the recipe asks for no learning curve of it.
    folder : str
        Where it is kept, for export; empty where there is nothing to export.
    """

    name: str
    kind: Kind
    about: str = ""
    step: str | None = None
    raw: NDArray[np.float64] = field(default_factory=_no_rows)
    probs: NDArray[np.float64] = field(default_factory=_no_rows)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    generation: Mapping[str, float] = field(default_factory=dict)
    outside: Mapping[str, float] = field(default_factory=dict)
    repeats: tuple[Repeat, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    folder: str = ""
    failed: str = ""
