"""What answers looked like when a bundle was exported, as counts: what ``labelwright watch`` compares later ones with.

Of dev rows, one of each group: how many got each label, how many had a confidence, a share of known words, a likeness
to the train rows between two edges, and how many were right. No text, and nothing that was a text's alone: a word is
known where its hash falls into one of ``N_BUCKETS`` buckets that ``LEAST_GROUPS`` groups of train rows share, and a
centre is the mean embedding of as many groups at least. The size depends on the number of labels, not of rows: 5 kB
for 18 labels, 14 kB for 1,000, and where there is an encoder up to ``MOST_CENTRES`` vectors of it beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.files import read_part, write_part
from labelwright.errors import BundleError
from labelwright.reading import AGAIN, read_tensors

FILE, CENTRES = "reference.json", "reference.safetensors"
FORMAT, VERSION = "labelwright-reference", 1
N_BUCKETS = 1 << 14
LEAST_GROUPS = 5
MOST_CENTRES = 256

# Rows of each kind, int64 (n_kinds,), by what is looked at.
Counts = Mapping[str, NDArray[np.int64]]
# Labels in the task's order, then rows without an answer.
LABELS = "labels"
# Of what is a number, the edges between its bins. Fixed here, not chosen by rows: a test stays exact.
EDGES: Mapping[str, tuple[float, ...]] = {
    "confidence": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
    "words": (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    "likeness": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
}


@dataclass(frozen=True)
class Reference:
    """Aggregates of dev.

    Attributes
    ----------
    counts : mapping of str to int64 ndarray
        ``LABELS`` (n_labels + 1,), and what of ``EDGES`` was looked at, (n_edges + 1,).
    n_right : int
        Rows whose answer was the gold label.
    known : bytes
        ``N_BUCKETS`` bits, the known buckets.
    centres : float32 ndarray of shape (n_centres, n_dimensions), optional
        Unit vectors; the likeness of a row is the largest cosine with one.
    """

    counts: Counts
    n_right: int
    known: bytes
    centres: NDArray[np.float32] | None = None

    @property
    def n_rows(self) -> int:
        """Dev rows that were counted."""
        return int(self.counts[LABELS].sum())


def write_reference(folder: Path, reference: Reference) -> None:
    """Write it into a bundle's folder."""
    from safetensors.numpy import save_file

    write_part(
        folder / FILE,
        {
            "format": FORMAT,
            "version": VERSION,
            "counts": {name: counts.tolist() for name, counts in reference.counts.items()},
            "n_right": reference.n_right,
            "known": reference.known.hex(),
        },
    )
    if reference.centres is not None:
        save_file({"centres": np.ascontiguousarray(reference.centres, np.float32)}, folder / CENTRES)


def read_reference(folder: Path, n_names: int) -> Reference | None:
    """The reference in a bundle's folder; None where it has none, as bundles of before there were any.

    Parameters
    ----------
    n_names : int
        Labels that are counted (``labelwright.data.asked.asking.Asking.watched``).

    Raises
    ------
    BundleError
        Not as ``write_reference`` writes it, or of other labels than the bundle's.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return None
    content = read_part(path)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise BundleError(
            f"{path}: format {content.get('format')!r} version {content.get('version')!r}; this labelwright reads "
            f"{FORMAT!r} version {VERSION}: install the version that wrote it, or export again"
        )
    centres = read_tensors(folder / CENTRES, {"centres": 2})["centres"] if (folder / CENTRES).exists() else None
    try:
        counts = {name: _counts(name, values, n_names) for name, values in content["counts"].items()}
        n_rows, n_right = int(counts[LABELS].sum()), content["n_right"]
        known = bytes.fromhex(content["known"])
        if any(int(one.sum()) != n_rows for one in counts.values()) or ("likeness" in counts) != (centres is not None):
            raise ValueError("its counts do not fit together")
        if type(n_right) is not int or not 0 <= n_right <= n_rows or len(known) != N_BUCKETS // 8:
            raise ValueError("its numbers do not fit together")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{path}: not as it was exported ({error}); {AGAIN}") from error
    return Reference(counts, n_right, known, centres)


def _counts(name: str, values: Any, n_names: int) -> NDArray[np.int64]:
    n_kinds = n_names + 1 if name == LABELS else len(EDGES[name]) + 1
    if (
        not isinstance(values, list)
        or len(values) != n_kinds
        or not all(type(one) is int and 0 <= one < 2**53 for one in values)
    ):
        raise ValueError(f"expected {n_kinds} counts of {name}")
    return np.array(values, dtype=np.int64)
