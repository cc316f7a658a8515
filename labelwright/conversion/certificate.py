"""The certificate: what a bundle answers here, what a target answers, and by how much they differ.

Both are asked the same rows. The verdict is about probabilities: every row must have some, and none may differ by more
than the tolerance. Accuracy and log loss, on rows whose label is known, say what the difference costs, with the
interval of the paired difference; they do not decide, since a handful of rows could not show a loss. Latencies are
measured on the same rows, the two one after the other: other work on the machine disturbs them, and they do not decide
either.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.store import GOLDEN_TOLERANCE
from labelwright.conversion.rows import Rows
from labelwright.errors import BundleError, DataError
from labelwright.files import write_json
from labelwright.reading import AGAIN, read_object
from labelwright.settings import SHARE, Check, Range, Text, read_value
from labelwright.statistics.intervals import resample
from labelwright.statistics.metrics import METRICS, answers, checked
from labelwright.statistics.proportions import Interval, difference_interval, share_interval

FORMAT, VERSION = "labelwright-certificate", 1
# What the same bundle may differ by between machines; a target has no more.
TOLERANCE = GOLDEN_TOLERANCE
# Rows asked one at a time for the latency of one, the first ones.
_ALONE = 40

Probabilities = Callable[[Sequence[str]], NDArray[np.float64]]

_HASH = Check(lambda value: "" if len(value) in (0, 64) and not set(value) - set("0123456789abcdef") else "a sha256")
_AT_LEAST_0 = Range(0)


@dataclass(frozen=True)
class Paired:
    """A metric of the bundle and of the target on the labelled rows, and target minus bundle."""

    here: float
    there: float
    difference: Interval


@dataclass(frozen=True)
class Latency:
    """How fast one side answered.

    Attributes
    ----------
    p50_ms : float
        Median milliseconds of a row that is asked alone.
    rows_per_s : float
        Of all rows in one call.
    """

    p50_ms: Annotated[float, _AT_LEAST_0]
    rows_per_s: Annotated[float, _AT_LEAST_0]


@dataclass(frozen=True)
class Certificate:
    """What was certified, on which rows, and what came of it.

    Attributes
    ----------
    task, bundle, bundle_sha256 : str
        The bundle: its task, what its weights are called, and its hash (``labelwright.bundle.files.bundle_identity``).
    target : str
        A name in ``labelwright.conversion.targets.TARGETS``, or the URL of a server.
    quantise : str
        The target's number format, where one was asked for.
    target_sha256 : str
        Of the folder's ``conversion.json``, which holds the hashes of its files; empty for a server.
    model : str
        What a server calls the model that answered; empty for a folder.
    rows, rows_sha256 : str
        Where the rows are from, and the hash of their texts and labels.
    n_rows, n_labelled : int
    n_silent : int
        Rows to which the target gave no answer.
    tolerance : float
        Largest difference of a probability that is allowed.
    agreement : Interval
        Share of rows with the same label.
    max_difference, mean_difference : float
        Of a probability, absolute, over all rows and labels.
    mean_total_variation : float
        Half the sum of a row's differences, the mean over rows: the share of probability that went elsewhere.
    accuracy, log_loss : Paired, optional
        On labelled rows.
    here, there : Latency
    machine : str
        Where both were measured; of a server, where it was asked from.
    """

    task: str
    bundle: str
    bundle_sha256: Annotated[str, _HASH]
    target: Annotated[str, Text(1)]
    quantise: str
    target_sha256: Annotated[str, _HASH]
    model: str
    rows: str
    rows_sha256: Annotated[str, _HASH]
    n_rows: Annotated[int, Range(1)]
    n_labelled: Annotated[int, _AT_LEAST_0]
    n_silent: Annotated[int, _AT_LEAST_0]
    tolerance: Annotated[float, SHARE]
    agreement: Interval
    max_difference: Annotated[float, SHARE]
    mean_difference: Annotated[float, SHARE]
    mean_total_variation: Annotated[float, SHARE]
    accuracy: Paired | None
    log_loss: Paired | None
    here: Latency
    there: Latency
    machine: str

    @property
    def holds(self) -> bool:
        """Whether every row has an answer, and every probability is within the tolerance."""
        return self.max_difference <= self.tolerance and not self.n_silent

    @property
    def verdict(self) -> str:
        """One sentence."""
        says = "within" if self.holds else "OUTSIDE"
        silent = f"; {self._silent}" if self.n_silent else ""
        return (
            f"{says} the tolerance: the largest difference of a probability is {self.max_difference:.4f}, allowed is "
            f"{self.tolerance:g}; {self.agreement.value:.1%} of {self.n_rows} rows have the same label{silent}"
        )

    @property
    def _silent(self) -> str:
        return f"{self.n_silent} row{' has' if self.n_silent == 1 else 's have'} no answer"

    def to_json(self) -> dict[str, Any]:
        """As ``from_json`` reads it, with the verdict beside the numbers that it follows from."""
        value = asdict(self)
        value["agreement"] = self.agreement._asdict()
        for name in ("accuracy", "log_loss"):
            if (paired := getattr(self, name)) is not None:
                value[name]["difference"] = paired.difference._asdict()
        return {"format": FORMAT, "version": VERSION, "holds": self.holds, **value}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Certificate:
        """Read a certificate. Raises BundleError with everything that is wrong with it."""
        if content.get("format") != FORMAT or content.get("version") != VERSION:
            raise BundleError(
                f"format {content.get('format')!r} version {content.get('version')!r}; this labelwright reads "
                f"{FORMAT!r} version {VERSION}: certify again"
            )
        faults: list[str] = []
        numbers = {key: one for key, one in content.items() if key not in ("format", "version", "holds")}
        read = _read(cls, {"n_silent": 0, **numbers}, faults)  # the first ones did not count them
        if not faults and content.get("holds") is not read.holds:
            faults.append(f"holds = {content.get('holds')!r}: its own numbers say {read.holds}")
        if faults:
            raise BundleError("; ".join(faults))
        assert isinstance(read, cls)
        return read


def certify(
    rows: Rows,
    names: Sequence[str],
    here: Probabilities,
    there: Probabilities,
    about: Mapping[str, str],
    tolerance: float = TOLERANCE,
) -> Certificate:
    """Ask both sides all rows, and compare.

    Parameters
    ----------
    names : sequence of str
        The labels, in the order of both sides' columns.
    here, there : callable
        From texts to probabilities (n_texts, n_labels); a row of zeros where there is no answer.
    about : mapping
        ``task``, ``bundle``, ``bundle_sha256``, ``target``, ``quantise``, ``target_sha256`` and ``model``.

    Raises
    ------
    DataError
        What a side answers is not probabilities, one vector a row.
    """
    ours, here_latency = _asked(here, rows.texts, len(names), "the bundle")
    theirs, there_latency = _asked(there, rows.texts, len(names), about["target"])
    difference = np.abs(ours - theirs)
    paired = _paired(ours, theirs, rows)
    return Certificate(
        **about,
        rows=rows.source,
        rows_sha256=rows.sha256,
        n_rows=len(rows.texts),
        n_labelled=int((rows.gold >= 0).sum()),
        n_silent=int((~theirs.any(axis=1)).sum()),
        tolerance=tolerance,
        agreement=share_interval(answers(ours) == answers(theirs), rows.groups),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        mean_total_variation=float(difference.sum(axis=1).mean() / 2),
        accuracy=paired.get("accuracy"),
        log_loss=paired.get("log_loss"),
        here=here_latency,
        there=there_latency,
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
    )


def _asked(ask: Probabilities, texts: Sequence[str], n_labels: int, who: str) -> tuple[NDArray[np.float64], Latency]:
    """All rows at once, then some alone. What was answered alone counts for nothing but time."""
    ask(texts[:1])  # what is compiled or cached at the first row is no row's latency
    started = time.perf_counter()
    probs = np.asarray(ask(texts), dtype=np.float64)
    seconds = time.perf_counter() - started
    if probs.shape != (len(texts), n_labels):
        raise DataError(f"{who} answered {probs.shape} numbers: expected {len(texts)} rows of {n_labels} probabilities")
    probs, _ = checked(probs, np.zeros(len(texts), dtype=np.int64))
    alone = []
    for text in texts[:_ALONE]:
        begun = time.perf_counter()
        ask([text])
        alone.append(time.perf_counter() - begun)
    return probs, Latency(1000 * float(np.median(alone)), len(texts) / seconds)


def _paired(ours: NDArray[np.float64], theirs: NDArray[np.float64], rows: Rows) -> dict[str, Paired]:
    """Accuracy and log loss on the labelled rows; nothing without any."""
    labelled = np.flatnonzero(rows.gold >= 0)
    if not len(labelled):
        return {}
    gold, both = rows.gold[labelled], {"here": ours[labelled], "there": theirs[labelled]}
    groups = None if rows.groups is None else [rows.groups[row] for row in labelled.tolist()]
    found = resample(both, gold, groups, metrics={name: METRICS[name] for name in ("accuracy", "log_loss")})
    right = {side: (answers(probs) == gold).astype(np.int64) for side, probs in both.items()}
    difference = {
        # The bootstrap gives two sides that no row tells apart no width; this does.
        "accuracy": difference_interval(right["there"] - right["here"], groups),
        "log_loss": found["there"]["log_loss"].minus(found["here"]["log_loss"]).interval(),
    }
    return {
        name: Paired(found["here"][name].value, found["there"][name].value, interval)
        for name, interval in difference.items()
    }


def write_certificate(certificate: Certificate, path: Path) -> None:
    """Write the file, whole or not at all. Raises DataError where it cannot be written."""
    try:
        write_json(path, certificate.to_json())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def read_certificate(path: Path) -> Certificate:
    """Read a file that anybody may have written. Raises BundleError that names it, with all that is wrong."""
    content = read_object(path)
    try:
        return Certificate.from_json(content)
    except BundleError as error:
        raise BundleError(f"{path}: {error}; {AGAIN}") from error


def table(certificate: Certificate) -> list[tuple[str, str, str, str]]:
    """The certificate as rows of (what, here, there, difference), for a terminal or a card."""
    one = certificate
    lines = [("", "here", "there", "difference")]
    for name, paired, unit in (("accuracy %", one.accuracy, 100), ("log loss", one.log_loss, 1)):
        if paired is not None:
            value, low, high = (unit * end for end in paired.difference)
            digits = 1 if unit == 100 else 3
            lines.append(
                (
                    f"{name}, {one.n_labelled} rows",
                    f"{unit * paired.here:.{digits}f}",
                    f"{unit * paired.there:.{digits}f}",
                    f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]",
                )
            )
    lines += [
        ("ms a row alone, p50", f"{one.here.p50_ms:.3g}", f"{one.there.p50_ms:.3g}", ""),
        ("rows/s together", f"{one.here.rows_per_s:.3g}", f"{one.there.rows_per_s:.3g}", ""),
        (
            "same label",
            "",
            "",
            f"{one.agreement.value:.1%} [{one.agreement.low:.1%}, {one.agreement.high:.1%}] of {one.n_rows} rows",
        ),
        ("a probability", "", "", f"{one.max_difference:.4f} at most, {one.mean_difference:.5f} in the mean"),
        ("total variation of a row", "", "", f"{one.mean_total_variation:.4f} in the mean"),
    ]
    if one.n_silent:
        lines.append(("rows without an answer", "", "", f"{one.n_silent} of {one.n_rows}"))
    return lines


def _read(cls: Any, content: Any, faults: list[str], before: str = "") -> Any:
    """A dataclass, or an interval, out of JSON; what is wrong is added to ``faults``."""
    hints = get_type_hints(cls, include_extras=True)
    wanted = list(cls._fields) if cls is Interval else [one.name for one in fields(cls)]
    if not isinstance(content, Mapping) or set(content) != set(wanted):
        found = sorted(map(str, content)) if isinstance(content, Mapping) else json.dumps(content)[:40]
        faults.append(f"{before or 'certificate'}: expected {wanted}, found {found}")
        return None
    values = {}
    for name in wanted:
        place = f"{before}.{name}" if before else name
        value, hint = content[name], hints[name]
        if hint == Paired | None:
            values[name] = None if value is None else _read(Paired, value, faults, place)
        elif hint in (Interval, Latency):
            values[name] = _read(hint, value, faults, place)
        else:
            values[name] = read_value(value, hint, place, faults)
    return cls(**values)
