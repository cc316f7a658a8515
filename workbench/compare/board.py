"""The leaderboard as types: all that the statistics find of a comparison, for the report and its pictures to show.

Types only. Nothing here computes, reads or writes. They hold plain values alone (numbers, texts, tuples, mappings), so
that a report, which is a leaderboard with its circumstances (``workbench.report.report``), is JSON as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from labelwright.decisions.structured import Kind as Structure
from labelwright.settings import SHARE, Range
from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import METRICS
from workbench.compare.candidate import CurvePoint, Kind, Repeat, Together
from workbench.compare.kept.learnt import Augmented, Lesson, Sought

# The version of all that is below, in report.json and in what a comparison depends on: another one is computed anew.
FORMAT = "labelwright-report-11"

# The quality metrics in the tables' order, and those of an answer in free text, which has no probabilities.
QUALITY = tuple(name for name, metric in METRICS.items() if metric.is_reported)
QUALITY_OF_FREE = tuple(name for name in QUALITY if METRICS[name].of_free_text)

# By what candidates are ranked, tested against the best and shipped: accuracy, or with prices what a row costs.
By = Literal["accuracy", "cost"]
# How a candidate stands to the best one by that; ``workbench.compare.differences.standing`` has the rule.
Standing = Literal["best", "as good", "not told apart", "worse"]
# Why this candidate ships: it is cheaper and as good; what is cheaper is too little known; nothing as good is cheaper;
# nothing is as good; or, whatever it is, the test rows have one label alone.
WhyShip = Literal["cheaper", "too few rows", "none cheaper", "none as good", "one label"]
# Whether the tuned model was worth it: which of it and the best baseline is ahead on test.
Worth = Literal["model", "baseline", "equal", "no baseline", "no model"]
# How sure that is: the test tells them apart; within the margin they are equally good; or it may be chance.
Sure = Literal["told apart", "as good", "chance"]

Side = Literal["train", "dev", "calib", "test"]
Share = Annotated[float, SHARE]
Count = Annotated[int, Range(0)]


@dataclass(frozen=True)
class Difference:
    """A metric of this candidate minus that of the best candidate.

    Attributes
    ----------
    value : Interval
        Paired, at a level at which those of all candidates hold together with 95 %. It leaves out 0, or ends there,
        where ``p_holm`` is below 0.05.
    p_value : float
        Two-sided, of the hypothesis that both are equal.
    p_holm : float
        The same, corrected for the number of candidates tested on this metric (Holm 1979).
    """

    value: Interval
    p_value: Share
    p_holm: Share

    @property
    def turned(self) -> Difference:
        """The best candidate's metric minus this one's."""
        value, low, high = self.value
        return Difference(Interval(-value, -high, -low), self.p_value, self.p_holm)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1 in the denominator) over ``n`` trainings, by metric.

    The metrics are accuracy, macro_f1 and log_loss.
    """

    n: int
    mean: Mapping[str, float]
    sd: Mapping[str, float]


@dataclass(frozen=True)
class Generation:
    """Answers in free text: of ``n_rows`` the shares that are a label at all, and that are the right one."""

    n_rows: Annotated[int, Range(1)]
    valid: Interval
    right: Interval


@dataclass(frozen=True)
class Promised:
    """How many rows a candidate may answer so that few of them are wrong: what calib rows promise, and what came of it.

    Attributes
    ----------
    max_error, confidence : float
        At most so many of the answered rows are wrong, which holds so often.
    threshold : float, optional
        The probability from which on a row is answered; None where nothing can be promised, which ``why`` says.
    answered : Interval, optional
        Share of the test rows.
    wrong : Interval, optional
        Share of mistakes among these; None where none is answered.
    n_apart : int
        Independent calib rows behind it.
    bound : tuple of (coverage, rate)
        At each threshold the share of those rows that is answered, and what the rate of mistakes is below with that
        confidence, each by itself.
    """

    max_error: Share
    confidence: Share
    threshold: Share | None = None
    why: str = ""
    answered: Interval | None = None
    wrong: Interval | None = None
    n_apart: Count = 0
    bound: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Structured:
    """What is measured besides of a question whose labels have a structure: ``labelwright.decisions.structured``.

    Attributes
    ----------
    kind : {"levels", "tree"}
    n_rows : int
        Test rows that have an answer to it.
    metrics : mapping of str to Interval
    to_best : mapping of str to Difference
        These minus those of the best candidate; empty for the best itself.
    """

    kind: Structure
    n_rows: Count
    metrics: Mapping[str, Interval]
    to_best: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Joint:
    """What is true of whole rows under a candidate, where several points are asked of each.

    Attributes
    ----------
    exact : Interval
        Share of rows of which all answers are right.
    questions : mapping of question to mapping of metric to Interval
        As ``labelwright.decisions.whole_rows.joint_metrics`` has them.
    against_best : mapping of question to Difference
        Of questions that take any of their labels: the wanted metric minus that of the candidate which is best by it,
        which itself has none.
    gained : mapping of question to Interval
        The wanted metric minus what it would be were all labels said from a half on; paired, with 95 % by itself. Where
        they are said from something else.
    """

    exact: Interval
    questions: Mapping[str, Mapping[str, Interval]]
    against_best: Mapping[str, Difference] = field(default_factory=dict)
    gained: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One candidate of the leaderboard: ``workbench.compare.candidate.Candidate``, measured, without its arrays.

    Attributes
    ----------
    failed : str, optional
        Why there are no numbers.
    zero_shot : bool
        It learns nothing from training rows.
    test : mapping of str to Interval
        The metrics of ``QUALITY`` on the test rows, calibrated, 95 % intervals: of a share of rows Wilson's, of as many
        independent rows as the groups are worth; of others bootstrap. Those of ``QUALITY_OF_FREE`` alone for a
        candidate of kind "free"; empty for one that failed.
    raw : mapping of str to Interval
        The same before calibration; empty for kind "free".
    n_only_this, n_only_best : int, optional
        Test rows that only this candidate, only the best one has right; None for the best itself and for failed ones.
    standing : Standing, optional
        To the best one; None for failed ones.
    against_best : mapping of str to Difference, optional
        cost a row where the recipe has [costs], accuracy, macro_f1 and log_loss (no log_loss for kind "free"); None for
        the best itself and for failed ones.
    spread : mapping of str to Spread
        "split fixed": trainings that differ in their seed alone; "split varied": in what dealt the splits. The
        candidate itself is one of them. A key is absent where there are fewer than two trainings.
    promised : Promised, optional
        None for kind "free" and for failed ones, and where nothing is asked.
    priced : mapping of str to Interval
        Of a test row, where the recipe has prices: ``labelwright.decisions.measured.costs``; for kind "free" ``cost``
        alone, in which an answer that is no label costs what giving none does.
    structured : mapping of str to Structured
        By question, whose name is empty where nothing else is asked.
    joint : Joint, optional
        Where several points are asked of a row.
    """

    name: str
    kind: Kind
    about: str = ""
    step: str | None = None
    failed: str | None = None
    zero_shot: bool = False
    test: Mapping[str, Interval] = field(default_factory=dict)
    raw: Mapping[str, Interval] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    n_only_this: Count | None = None
    n_only_best: Count | None = None
    standing: Standing | None = None
    against_best: Mapping[str, Difference] | None = None
    spread: Mapping[str, Spread] = field(default_factory=dict)
    repeats: tuple[Repeat, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    cost: Mapping[str, float | None] = field(default_factory=dict)
    generation: Generation | None = None
    outside: Mapping[str, float] | None = None
    steering: Mapping[str, float] | None = None
    together: Together | None = None
    lesson: Lesson | None = None
    augmented: Augmented | None = None
    sought: Sought | None = None
    promised: Promised | None = None
    priced: Mapping[str, Interval] = field(default_factory=dict)
    structured: Mapping[str, Structured] = field(default_factory=dict)
    joint: Joint | None = None

    @property
    def ms(self) -> float | None:
        """Milliseconds that a row costs: the median, of a cascade the mean, as its rows do not cost alike."""
        return self.cost.get("ms_mean") or self.cost.get("ms_p50")

    @property
    def accuracy(self) -> float:
        """On test, in percent."""
        return 100 * self.test["accuracy"].value

    def score(self, by: By) -> Interval:
        """What it is ranked by, on test."""
        return self.priced["cost"] if by == "cost" else self.test["accuracy"]

    def merit(self, by: By) -> float:
        """The same, higher being better."""
        return -self.score(by).value if by == "cost" else self.score(by).value

    def lead(self, by: By) -> Difference | None:
        """How much better than the best one it is, below 0 where it is worse; None for the best itself."""
        if not self.against_best:
            return None
        return self.against_best[by].turned if by == "cost" else self.against_best[by]


@dataclass(frozen=True)
class Gain:
    """What several candidates together gain over the best single one.

    Attributes
    ----------
    together, single : str
        The best candidates that are, and are not, made of others.
    value : Interval
        How much better the first is than the second, paired: in accuracy, or with prices in what a row costs.
    sure : Sure
        Of that.
    over_splits : Interval, optional
        The same on average over trainings on other splits; None where there are too few of them.
    n_splits : int
        So many.
    """

    together: str
    single: str
    value: Interval
    sure: Sure
    over_splits: Interval | None = None
    n_splits: Count = 0


@dataclass(frozen=True)
class Verdict:
    """Which candidate wins, which are as good, which to ship and why, whether tuning was worth it. No words.

    Attributes
    ----------
    best : str
        The candidate of highest test accuracy, with prices that of least cost a test row; of two equal ones that of
        lower log loss.
    ship : str
        The cheapest to run of the best candidate and ``as_good``.
    why_ship : WhyShip
    as_good, not_told_apart : tuple of str
        Other candidates of that standing, in the comparison's order.
    margin : float
        Within which a candidate is as good as the best: a share of accuracy, or with prices so much a row.
    n_rows_needed : int, optional
        About how many test rows would show that the best of the cheaper candidates not told apart is as good, if it is.
    least_known : str, optional
        Of ``not_told_apart`` the one whose difference to the best has the widest interval.
    free_ahead : str, optional
        Free text that is right more often than the best candidate.
    tuned, best_baseline : str, optional
        The tuned model, and the best classifier that is no language model; None where either is missing.
    worth : Worth
    difference : Interval, optional
        How much better ``best_baseline`` is than ``tuned``, in accuracy or with prices in what a row costs, with the
        corrected ``p_value`` of the paired test: one of the comparisons with the best candidate, or as one more of
        them.
    sure : Sure, optional
        Of the difference.
    gain : Gain, optional
        What the best candidate that is made of others gains over the best that is not; None where either is missing.
    """

    best: str
    ship: str
    why_ship: WhyShip = "none as good"
    as_good: tuple[str, ...] = ()
    not_told_apart: tuple[str, ...] = ()
    margin: Annotated[float, Range(0)] = 0.0
    n_rows_needed: Annotated[int, Range(1)] | None = None
    least_known: str | None = None
    free_ahead: str | None = None
    tuned: str | None = None
    best_baseline: str | None = None
    worth: Worth = "no model"
    difference: Interval | None = None
    p_value: Share | None = None
    sure: Sure | None = None
    gain: Gain | None = None


@dataclass(frozen=True)
class Suspect:
    """A row whose label several confident candidates doubt.

    Attributes
    ----------
    side : str
        The split it is in.
    suggested : str
        The label they agree on.
    confidence : float
        Their mean probability of it.
    candidates : tuple of str
        Who they are.
    """

    side: Side
    id: str
    text: str
    label: str
    suggested: str
    confidence: Share
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class LabelScores:
    """How a candidate does on one label: ``labelwright.statistics.metrics.per_label``."""

    label: str
    n_rows: Count
    n_predicted: Count
    precision: Share
    recall: Share
    f1: Share


@dataclass(frozen=True)
class Mistake:
    """A test row answered wrongly; the answer is a label, "no label" (free text) or "no answer"."""

    id: str
    text: str
    label: str
    answer: str
    confidence: Share


@dataclass(frozen=True)
class Answered:
    """A candidate's answers on the test rows.

    Attributes
    ----------
    labels : tuple of LabelScores
        In the labels' order, with "no label" behind them for a candidate in free text.
    confusion : tuple of (label, answer, number of rows)
        Positions in ``labels``, as far as there are such rows, right answers included: of a thousand labels few pairs
        occur.
    n_wrong : int
    mistakes : tuple of Mistake
        The most confident ones, the surest first.
    """

    labels: tuple[LabelScores, ...]
    confusion: tuple[tuple[int, int, int], ...]
    n_wrong: Count
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Bin:
    """Rows of about the same confidence: ``labelwright.statistics.metrics.reliability``."""

    low: float
    high: float
    n_rows: int
    confidence: Share
    accuracy: Share


@dataclass(frozen=True)
class Confidence:
    """What a candidate's confidence is worth.

    Attributes
    ----------
    before, after : tuple of Bin
        Before and after calibration.
    risk : tuple of (coverage, risk)
        Answering only the most confident rows: the share answered, and the share of wrong answers among them.
    """

    before: tuple[Bin, ...]
    after: tuple[Bin, ...]
    risk: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LabelsOf:
    """A question that takes any of its labels, and how the candidate to ship does on them.

    Attributes
    ----------
    n_rows : int
        Test rows that have an answer to it.
    best : str
        The candidate that is best by the wanted metric.
    labels : tuple of LabelScores
        Their rows are those that have the label, and are given it.
    said_from : tuple of float
        The probability from which on it says each.
    """

    n_rows: Count
    best: str
    labels: tuple[LabelScores, ...]
    said_from: tuple[float, ...]


@dataclass(frozen=True)
class Several:
    """Rows of which several points are asked.

    Attributes
    ----------
    n_rows : int
        Rows; ``TestRows.n_rows`` are the answers to their points.
    wanted : str
        The metric of sets of labels that candidates are held against each other by.
    questions : mapping of str to LabelsOf
        Those that take any of their labels.
    """

    n_rows: Count
    wanted: str
    questions: Mapping[str, LabelsOf]


@dataclass(frozen=True)
class TestRows:
    """The rows that all of this was measured on.

    Attributes
    ----------
    n_rows : int
        Where several points are asked of a row, the answers to them.
    without_rows : tuple of str
        Labels that none of them has.
    own_choices : bool
        Rows bring their own choices; labels are the letters before them.
    """

    __test__ = False

    n_rows: int
    n_groups: int
    without_rows: tuple[str, ...] = ()
    own_choices: bool = False


@dataclass(frozen=True)
class Leaderboard:
    """Candidates in the comparison's order, the verdict, and what else the test rows tell.

    Attributes
    ----------
    tables : mapping of str to Answered
        Of the candidates that matter most: the one to ship, the best, the tuned one.
    confidence : mapping of str to Confidence
        Of the best, the one to ship, the tuned one and the best baseline, as far as they have probabilities.
    ece_floor : float, optional
        The ECE that the best candidate's confidences would show on average if they were exactly right; None where it
        has none.
    frontier : tuple of str
        Candidates that no other beats both in what they are ranked by and in milliseconds a row, from fast to slow.
    money : mapping of str to float
        What answering 1,000 rows costs, by candidate; empty where the recipe has no ``[money]``.
    person : float, optional
        What they cost that a person answers.
    several : Several, optional
        Where several points are asked of a row: how many rows there are, and what is true of those.
    """

    verdict: Verdict
    labels: tuple[str, ...]
    test_rows: TestRows
    candidates: tuple[Entry, ...]
    frontier: tuple[str, ...] = ()
    tables: Mapping[str, Answered] = field(default_factory=dict)
    confidence: Mapping[str, Confidence] = field(default_factory=dict)
    ece_floor: float | None = None
    suspects: tuple[Suspect, ...] = ()
    money: Mapping[str, float] = field(default_factory=dict)
    person: float | None = None
    several: Several | None = None

    def entry(self, name: str | None) -> Entry:
        """A candidate by its name."""
        return next(entry for entry in self.candidates if entry.name == name)

    @property
    def by(self) -> By:
        """By what the candidates are ranked."""
        return "cost" if self.entry(self.verdict.best).priced else "accuracy"

    @property
    def scored(self) -> list[Entry]:
        """The candidates that have numbers."""
        return [entry for entry in self.candidates if not entry.failed]

    def roles(self, name: str) -> list[str]:
        """Which of best, to ship and tuned a candidate is."""
        of: Iterable[tuple[str, str | None]] = (
            ("best", self.verdict.best), ("to ship", self.verdict.ship), ("tuned", self.verdict.tuned)
        )  # fmt: skip
        return [role for role, one in of if one == name]
