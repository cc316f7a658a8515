"""One pass over answers: window by window the test, the audit and the challenger; and what came of it, as one value.

Memory holds a window's rows and a summary of each window, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from labelwright.bundle.reference import LABELS, Counts
from labelwright.errors import DataError
from labelwright.statistics.proportions import wilson
from labelwright.watch.answers import Answer
from labelwright.watch.audit import Audit, Shadow
from labelwright.watch.drift import FALSE_ALARMS, Change, Drift, sentence
from labelwright.watch.sketch import Sketch

FORMAT, VERSION = "labelwright-watch", 1
WINDOW = 500
EMBEDDED = 100
# Labels whose share is told window by window: the most frequent ones before, and those that changed.
_MOST_SHARES = 8


@dataclass(frozen=True)
class Settings:
    """How answers are watched.

    Attributes
    ----------
    window : int
        Rows of a window; what is left at the end is a smaller one.
    false_alarms : float
        Share of windows of unchanged rows that may be an alarm.
    n_embedded : int
        Texts of a window that are embedded, where the bundle reads texts with an encoder.
    """

    window: int = WINDOW
    false_alarms: float = FALSE_ALARMS
    n_embedded: int = EMBEDDED


@dataclass(frozen=True)
class Window:
    """What is said of one window.

    Attributes
    ----------
    number, first_row, n_rows : int
    time : str
        Of its first row, as the file has it.
    p : float
        The smallest number of its questions (``labelwright.watch.drift``).
    changes : tuple of Change
        An alarm, where there are any.
    shares : mapping
        Of the ``Watched.labels``, those not 0.
    confidence : float or None
        Mean.
    n_abstained, n_unanswered : int
        Rows that were answered and not told, and those without an answer.
    n_audited, n_right : int
    """

    number: int
    first_row: int
    n_rows: int
    time: str
    p: float
    changes: tuple[Change, ...]
    shares: dict[str, float]
    confidence: float | None
    n_abstained: int
    n_unanswered: int
    n_audited: int
    n_right: int

    @property
    def is_alarm(self) -> bool:
        """Whether a change is told."""
        return bool(self.changes)


@dataclass(frozen=True)
class Watched:
    """What came of a file.

    Attributes
    ----------
    looked_at : tuple of str
        What was asked about: ``LABELS`` and keys of ``labelwright.bundle.reference.EDGES``.
    reference : str
        What the windows were compared with: "dev", or a file.
    n_reference : int
        Rows of it.
    labels : tuple of str
        Those whose shares every window has.
    audit : Audit
    shadow : Shadow, optional
    """

    settings: Settings
    looked_at: tuple[str, ...]
    reference: str
    n_reference: int
    labels: tuple[str, ...]
    shares_before: dict[str, float]
    windows: tuple[Window, ...]
    audit: Audit
    shadow: Shadow | None = None

    @property
    def alarms(self) -> list[Window]:
        """The windows in which a change is told."""
        return [one for one in self.windows if one.is_alarm]

    @property
    def has_moved(self) -> bool:
        """Whether there is anything to look into: an alarm, or accuracy told to be below dev's."""
        return bool(self.alarms) or self.audit.has_fallen

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON; alarms also in plain words."""
        audit, shadow = self.audit, self.shadow
        return {
            "format": FORMAT,
            "version": VERSION,
            "window": self.settings.window,
            "false_alarms": self.settings.false_alarms,
            "looked_at": list(self.looked_at),
            "reference": self.reference,
            "n_reference": self.n_reference,
            "n_rows": sum(one.n_rows for one in self.windows),
            "n_windows": len(self.windows),
            "n_alarms": len(self.alarms),
            "n_false_alarms_expected": self.settings.false_alarms * len(self.windows),
            "has_moved": self.has_moved,
            "audit": _audit_json(audit),
            "against": None if shadow is None else _shadow_json(shadow),
            "shares_before": self.shares_before,
            "windows": [_window_json(one) for one in self.windows],
        }


def watch(
    answers: Iterable[tuple[Answer, Answer | None]],
    sketch: Sketch,
    before: Counts,
    settings: Settings,
    reference: str = "dev",
    dev: tuple[int, int] = (0, 0),
) -> Watched:
    """Watch answers, each with the challenger's where there is one.

    Parameters
    ----------
    before : mapping of str to int64 ndarray
        Counts of what the windows are compared with.
    reference : str
        What that is called.
    dev : (int, int)
        Dev rows, and those that were right; (0, 0) where nothing is known of dev.

    Raises
    ------
    DataError
        No answers.
    """
    names, labels = sketch.names, before[LABELS]
    # Later labels of the same share come later.
    order = np.argsort(-labels[: len(names)], kind="stable")[:_MOST_SHARES].tolist()
    shown = tuple(names[place] for place in sorted(order))
    drift = Drift(before, names, settings.false_alarms)
    audit = Audit(*dev)
    shadow = Shadow()
    windows = []
    looked_at: dict[str, None] = {}
    for number, rows in enumerate(_windows(answers, settings.window), start=1):
        ours = [one for one, _ in rows]
        counts = sketch.counts(ours, settings.n_embedded)
        looked_at |= dict.fromkeys(name for name in counts if name in before)
        told = drift.window(counts)
        n_audited = n_right = 0
        for one, other in rows:
            if other is not None:
                shadow.add(one.label, other.label, one.gold, one.number)
            if one.gold is not None:
                audit.add(one.label == one.gold, one.number)
                n_audited += 1
                n_right += one.label == one.gold
        of = counts[LABELS]
        told_of = {change.label for change in told.changes if change.what == LABELS and change.label is not None}
        confidences = [one.confidence for one in ours if one.confidence is not None]
        windows.append(
            Window(
                number=number,
                first_row=ours[0].number,
                n_rows=len(ours),
                time=ours[0].time,
                p=told.p,
                changes=told.changes,
                shares={
                    name: float(of[place] / len(ours))
                    for place, name in enumerate(names)
                    if of[place] and (place in order or name in told_of)
                },
                confidence=float(np.mean(confidences)) if confidences else None,
                n_abstained=sum(one.abstained for one in ours),
                n_unanswered=int(of[-1]),
                n_audited=n_audited,
                n_right=n_right,
            )
        )
    if not windows:
        raise DataError("no answers to watch: expected one JSON object a line, as `labelwright predict` writes them")
    return Watched(
        settings,
        tuple(looked_at),
        reference,
        int(labels.sum()),
        shown,
        {name: float(labels[place] / max(labels.sum(), 1)) for place, name in enumerate(names) if place in order},
        tuple(windows),
        audit,
        shadow if shadow.n else None,
    )


def count(answers: Iterable[Answer], sketch: Sketch, settings: Settings) -> Counts:
    """The counts of all answers, to compare others with. Raises DataError where there are none."""
    total: dict[str, Any] = {}
    for rows in _windows(answers, settings.window):
        for name, counts in sketch.counts(rows, settings.n_embedded).items():
            total[name] = total[name] + counts if name in total else counts
    if not total:
        raise DataError("no answers to compare with")
    return total


def _windows(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _window_json(window: Window) -> dict[str, Any]:
    accuracy = wilson(window.n_right / window.n_audited, window.n_audited)._asdict() if window.n_audited else None
    changes = [asdict(change) | {"said": sentence(change)} for change in window.changes]
    return asdict(window) | {"is_alarm": window.is_alarm, "changes": changes, "accuracy": accuracy}


def _audit_json(audit: Audit) -> dict[str, Any] | None:
    if not audit.n:
        return None
    return {
        "n": audit.n,
        "n_right": audit.n_right,
        "accuracy": audit.accuracy._asdict(),
        "always": audit.always._asdict(),
        "dev": audit.dev._asdict() if audit.n_dev else None,
        "told_apart_at_row": audit.told_at,
        "has_fallen": audit.has_fallen,
    }


def _shadow_json(shadow: Shadow) -> dict[str, Any]:
    audited = {
        "both_right": shadow.both,
        "bundle_alone": shadow.first,
        "challenger_alone": shadow.second,
        "neither": shadow.neither,
        "difference": shadow.difference._asdict(),
        "mcnemar_p": shadow.mcnemar_p,
        "told_apart_at_row": shadow.told_at,
    }
    return {
        "n": shadow.n,
        "agreement": shadow.agreement._asdict(),
        "differences": [{"bundle": a, "challenger": b, "n": n} for a, b, n in shadow.most_pairs],
        "audited": audited if shadow.n_audited else None,
    }
