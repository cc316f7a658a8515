"""What the comparison knows of a candidate: its probabilities, its price, and how it fared under other seeds.

Types only. ``workbench.compare.jobs`` makes them, ``workbench.compare.leaderboard`` puts statistics to them, the
report shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.promise import NO_PROMISE, Promise
from labelwright.statistics.intervals import Interval
from workbench.compare.searched.found import Searched

# "free" answers in free text, so some answers are no label: its probabilities have a last column for those.
# "together" is made of other candidates; "distilled" learnt from a teacher besides, "synthetic" one
# that learnt rows which a model wrote besides, "searched" one whose settings were searched on dev.
Kind = Literal["baseline", "llm", "free", "together", "distilled", "synthetic", "searched"]


@dataclass(frozen=True)
class Kept:
    """An array in a .npz file, to be read when it is asked for."""

    path: Path
    name: str

    def read(self) -> NDArray[np.float64]:
        """The array, read anew each time."""
        with np.load(self.path, allow_pickle=False) as kept:
            return np.asarray(kept[self.name])


class _Array:
    """A field given as an array or as where one is kept; then it is read at each access and not held.

    The probabilities of 25 candidates for 3,000 rows and 1,000 labels, before and after calibration, are 1.2 GB.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, candidate: Any, owner: type | None = None) -> Any:
        # Asked of the class, this is the field's default.
        given = None if candidate is None else candidate.__dict__[self._name]
        return given.read() if isinstance(given, Kept) else given

    def __set__(self, candidate: Any, given: NDArray[np.float64] | Kept | None) -> None:
        candidate.__dict__[self._name] = np.empty((0, 0)) if given is None else given


@dataclass(frozen=True)
class Repeat:
    """Test scores of one more training of a candidate.

    Attributes
    ----------
    split_seed, seed : int
        What dealt the splits, and what the training drew from.
    scores : mapping of str to float
        accuracy, macro_f1 and log_loss on that split's test rows, calibrated on its calib rows; with prices also cost,
        of a row.
    """

    split_seed: int
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class CurvePoint:
    """Test accuracy of a candidate that was shown part of the training rows.

    Attributes
    ----------
    per_label : int
        Training rows a label, at most; 0 for all there are. Of kind "synthetic" those that a model wrote, beside all
        train rows.
    n_rows : int
        Training rows in all.
    """

    per_label: int
    n_rows: int
    seed: int
    accuracy: float


@dataclass(frozen=True)
class Asking:
    """A level of a candidate that is made of others: who is asked together.

    Attributes
    ----------
    weights : mapping of candidate to float
        Shares that add up to 1.
    threshold : float, optional
        The least confidence with which a row is answered here; None at the last level, which answers what is left.
    share : float
        Of the test rows that it answers.
    accuracy : float, optional
        On those; None where there are none.
    """

    weights: Mapping[str, float]
    threshold: float | None
    share: float
    accuracy: float | None


@dataclass(frozen=True)
class Hosted:
    """The level behind a cascade's last one: a model elsewhere, which answers rows that the cascade is not sure of.

    Attributes
    ----------
    model : str
        As DSPy, or the server that has it, calls it.
    threshold : float
        The confidence below which a row is passed on; 0: none is, as nothing surely gained on calib.
    n_calib : int
        Calib rows that it was asked about.
    n_rows : int
        Test rows that are passed on.
    share : float
        Of the test rows.
    n_right, n_right_before : int
        Those of them that it has right, and that the cascade alone had.
    n_no_label, n_refused : int
        Those that it answered with no label, and that its server did not take. A person is next; counted as wrong.
    accuracy : Interval
        Of all test rows, with it.
    gain : Interval
        Over the cascade alone, paired: in accuracy, or with prices in what a row costs.
    curve : tuple of (share, gain)
        On calib, over thresholds: the share of rows that are passed on, and what that gains a row.
    n_in, n_out : int
        Tokens of all these questions and answers.
    price : float, optional
        What they cost in dollars, as far as DSPy knows it.
    """

    model: str
    threshold: float
    n_calib: int
    n_rows: int
    share: float
    n_right: int
    n_right_before: int
    n_no_label: int
    n_refused: int
    accuracy: Interval
    gain: Interval
    curve: tuple[tuple[float, float], ...] = ()
    n_in: int = 0
    n_out: int = 0
    price: float | None = None


@dataclass(frozen=True)
class Together:
    """How a candidate is made of others.

    Attributes
    ----------
    levels : tuple of Asking
        One of an ensemble; of a cascade in the order in which they are asked.
    mean : str
        "log" or "probability": what is averaged.
    last : str
        Of a cascade the candidate that its last level is; empty for an ensemble.
    curve : tuple of (float, float)
        Of a cascade: mean milliseconds a row and accuracy on calib, of the chains and thresholds that no other beats in
        both, from fast to slow.
    hosted : Hosted, optional
        Of a cascade behind which a model elsewhere answers.
    encoders : mapping of member to str
        What reads a row for it, as in ``workbench.compare.together.prices.Prices``; left out: nothing that they share.
    """

    levels: tuple[Asking, ...]
    mean: str
    last: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)
    hosted: Hosted | None = None

    def ends_in(self, name: str, whole: Together | None) -> bool:
        """Whether its last level is a candidate of that name, which is made so, and not only called so."""
        if whole is None or name != self.last:
            return name == self.last
        own, other = self.levels[-1].weights, whole.levels[-1].weights
        same = own.keys() == other.keys() and all(abs(share - other[one]) < 1e-6 for one, share in own.items())
        return same and self.mean == whole.mean


def is_second_name(together: Together | None) -> bool:
    """Whether one member answers every row: it is another candidate once more, as a hosted model is asked behind it."""
    return together is not None and len(together.levels) == 1 and len(together.levels[0].weights) == 1


@dataclass(frozen=True)
class Distilled:
    """What a student learnt besides train rows.

    Attributes
    ----------
    teacher : str
        A candidate, or a model elsewhere.
    n_rows : int
        Rows that it learnt the teacher's probabilities of.
    left_out : mapping of str to int
        Other rows of the pool, by ``workbench.recipe.beside.unlabelled.LEFT_OUT``; "silent": the teacher gave no
        answer.
    agreement : Interval
        Share of the dev rows to which both give the same label.
    source : str
        The pool's file or folder, or whose texts stand in its place; empty of results that do not say.
    hosted : bool
        Whether the teacher is a model elsewhere.
    right : Interval, optional
        Share of the dev rows that the teacher has right.
    n_in, n_out : int
        Tokens of such a model, of its questions about dev and the pool and of the answers; 0 where its server does not
        say.
    price : float, optional
        What these cost in dollars, as far as DSPy knows it.
    """

    teacher: str
    n_rows: int
    left_out: Mapping[str, int]
    agreement: Interval
    source: str = ""
    hosted: bool = False
    right: Interval | None = None
    n_in: int = 0
    n_out: int = 0
    price: float | None = None


@dataclass(frozen=True)
class Written:
    """What a candidate learnt besides train rows: rows that a model wrote.

    Attributes
    ----------
    n_rows, n_checked : int
        Such rows, and those of them whose label a second answer gave as well.
    models : tuple of str
        Who wrote them.
    left_out : mapping of str to int
        Other rows of the file, by ``workbench.recipe.beside.synthetic.LEFT_OUT``.
    without : tuple of float
        Test accuracy of the same baseline that learnt train rows alone, before calibration, seed by seed.
    """

    n_rows: int
    n_checked: int
    models: tuple[str, ...]
    left_out: Mapping[str, int]
    without: tuple[float, ...] = ()


@dataclass(frozen=True)
class Candidate:
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
        Those of kind "free" are equal, each row one 1, and have one column more, for answers that are no label. Given
        as ``Kept`` they are read from their file at every access.
    calibration : mapping
        Of the bundle that ships: temperature, bias (list, empty for none), variant ("none" where nothing helped), and
        log_loss_before and log_loss_after (cross-validated, on calib).
    cost : mapping
        seconds_to_train, ms_p50, ms_p95 (a batch of one row), rows_per_second (bulk), size_bytes (encoder or base model
        included), peak_memory_bytes, prompt_tokens; None where one does not apply. Where it applies also ms_mean (of a
        cascade, whose rows do not cost alike: what counts as its price),
        scorings_shortened, train_rows_shortened, has_probabilities (0), thinking_tokens_mean, thoughts_cut_share, and
        n_invalid: test rows to which a server answered nothing usable. others_busy_cores and others_busy_cores_training
        say how many cores other processes kept busy while it was timed and trained.
    generation : mapping
        n_rows, valid (share of answers that are a label) and right (share that are the gold label) under free
        generation; empty where it does not apply.
    outside : mapping
        Rows out of scope beside test rows, empty where there are none: n_rows; how well the highest probability, the
        certainty and the bundle's own score tell them apart (auroc, auroc_certainty, auroc_score); at the bundle's
        threshold the shares of test rows that are kept and that are kept and right, and of rows out of scope that are
        found (kept, right, recall, each also with _low and _high); ms a row that the score takes. Where rows out of
        scope taught a "none of these" also none_n_taught, none_n_calib, none_score and none_trained (as
        ``labelwright.decisions.scope.Preference``), and none_used, 1 or 0.
    steering : mapping
        Test rows with an ending that asks for a label which is not the answer without it; empty where that was not
        asked. n_rows, and n_unread that were left out, as an ending has no room in them; by ending, and for "all" of
        them, the share of rows answered with that label, each also with _low and _high.
    scores : mapping of str to float
        Its own, as a ``Repeat`` has them: a scope, which those do without, has no part in what a row cost.
    repeats : tuple of Repeat
        Other seeds and other splits; the candidate itself is not among them.
    curve : tuple of CurvePoint
        Empty where the recipe asks for no learning curve of it.
    folder : str
        Where it is kept, for export; empty where there is nothing to export.
    together : Together, optional
        Of kind "together": how it is made of others.
    distilled : Distilled, optional
        Of kind "distilled": what it learnt from whom.
    written : Written, optional
        Of kind "synthetic": what it learnt that a model wrote.
    searched : Searched, optional
        Of kind "searched": what was tried, and found.
    n_train : int
        Training rows; 0 where that is not known.
    decision : Decision
        Which label it says, at the task's prices; without thresholds.
    promise : Promise
        What its calib rows say of its errors, asked for what the recipe wants to know.
    said_from : tuple of float
        ``labelwright.bundle.types.Bundle.said_from``, which is in the decision.
    turned_away : ndarray of shape (n_test,)
        Which test rows it finds to belong to no label, 1 or 0; empty where it does not ask.
    """

    name: str
    kind: Kind
    about: str = ""
    step: str | None = None
    raw: _Array = _Array()
    probs: _Array = _Array()
    calibration: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    generation: Mapping[str, float] = field(default_factory=dict)
    outside: Mapping[str, float] = field(default_factory=dict)
    steering: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    repeats: tuple[Repeat, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    folder: str = ""
    failed: str = ""
    together: Together | None = None
    distilled: Distilled | None = None
    written: Written | None = None
    searched: Searched | None = None
    n_train: int = 0
    decision: Decision = LIKELIEST
    promise: Promise = NO_PROMISE
    said_from: tuple[float, ...] = ()
    turned_away: _Array = _Array()

    @property
    def away(self) -> NDArray[np.bool_] | None:
        """``turned_away`` as a decision takes it; None where the candidate does not ask."""
        found = self.turned_away
        return found.astype(bool) if found.size else None
