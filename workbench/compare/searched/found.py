"""What a search found, as types and as a file. Knows nothing of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from labelwright.files import read_json, write_json
from labelwright.settings import Range
from labelwright.statistics.intervals import Interval

By = Literal["log_loss", "accuracy"]


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and how they did on dev; or, of a trial that is under way, how at one share of train.

    Attributes
    ----------
    settings : mapping
        Those that the search set; empty for the candidate as it is.
    accuracy : Interval, optional
        On dev, calibrated; None where ``failed`` says why there is none.
    log_loss : float, optional
        Likewise.
    seconds : float
        To train, calibrate and answer dev; of a trial as a whole with the shares before.
    share : float
        Of train rows, that it learnt; below 1 of a trial that was given up there.
    way : tuple of float or None
        What is made small, at each share on which it might have been given up; None where that failed.
    """

    settings: Mapping[str, Any]
    accuracy: Interval | None = None
    log_loss: float | None = None
    seconds: Annotated[float, Range(0)] = 0.0
    failed: str = ""
    share: Annotated[float, Range(0, 1)] = 1.0
    way: tuple[float | None, ...] = ()

    @property
    def is_given_up(self) -> bool:
        """Whether it ended before it had learnt all train rows."""
        return self.share < 1

    def reached(self, by: By) -> float | None:
        """What is made small, at its share: log loss, or the share of dev rows answered wrongly; None: it failed."""
        if self.accuracy is None or self.log_loss is None:
            return None
        return self.log_loss if by == "log_loss" else 1 - self.accuracy.value

    def loss(self, by: By) -> float | None:
        """The same of all train rows; None where it failed, or was given up."""
        return None if self.is_given_up else self.reached(by)


@dataclass(frozen=True)
class Searched:
    """All trials of a search, in their order.

    Attributes
    ----------
    by : {"log_loss", "accuracy"}
        What dev chose by.
    space : mapping of setting to str
        What was tried, in words.
    plain : Trial
        The candidate as it is.
    best : int
        The trial whose settings the candidate has: the first of the least loss.
    n_dev : int
        Dev rows.
    """

    by: By
    space: Mapping[str, str]
    plain: Trial
    trials: tuple[Trial, ...]
    best: Annotated[int, Range(0)]
    n_dev: Annotated[int, Range(0)]

    @property
    def seconds(self) -> float:
        """That all trials took."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def n_given_up(self) -> int:
        """Trials that were given up."""
        return sum(trial.is_given_up for trial in self.trials)

    @property
    def is_better_on_dev(self) -> bool:
        """Whether what was found is ahead of the candidate as it is, where that was chosen."""
        found, plain = self.trials[self.best].loss(self.by), self.plain.loss(self.by)
        return plain is None or (found is not None and found < plain)

    def records(self) -> list[int]:
        """Trials that were the best so far."""
        found: list[int] = []
        least = float("inf")
        for number, trial in enumerate(self.trials):
            loss = trial.loss(self.by)
            if loss is not None and loss < least:
                least = loss
                found.append(number)
        return found


def write_steps(path: Path, steps: Sequence[Trial]) -> None:
    """Write what a trial reached at each share, in their order; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"steps": [asdict(step) for step in steps]})


def read_steps(path: Path) -> tuple[Trial, ...]:
    """What is kept of a trial, a share each; none where nothing is."""
    return tuple(map(trial_of, read_json(path)["steps"])) if path.is_file() else ()


def write_found(path: Path, found: Searched) -> None:
    """Write what a search found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(found))


def read_found(path: Path) -> Searched | None:
    """What a search found, or None where it is not through."""
    if not path.is_file():
        return None
    kept = read_json(path)
    trials = tuple(map(trial_of, kept["trials"]))
    return Searched(**kept | {"plain": trial_of(kept["plain"]), "trials": trials})


def trial_of(kept: dict[str, Any]) -> Trial:
    """A trial as JSON has it."""
    accuracy = kept["accuracy"]
    return Trial(**kept | {"accuracy": None if accuracy is None else Interval(*accuracy), "way": tuple(kept["way"])})
