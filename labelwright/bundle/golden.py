"""Golden rows: what a bundle answered when it was exported; recorded, read back, compared with what it answers now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example
from labelwright.decide import probabilities
from labelwright.engines.protocol import Engine
from labelwright.errors import BundleError, DataError
from labelwright.pictures.content import keep_image, kept_bytes
from labelwright.pictures.imaged import image_of
from labelwright.reading import AGAIN, parse_json, require_file

FILE = "golden.jsonl"
# Where the images of golden rows lie, each under its hash.
IMAGES = "golden_images"
# Recorded probabilities are float64 and written in full.
_SUM_TOLERANCE = 1e-6


def record_golden(bundle: Bundle, engine: Engine, golden: Sequence[Example]) -> list[dict[str, Any]]:
    """The rows with the probabilities that the engine gives them; none without rows."""
    if not golden:
        return []
    return [
        {
            "id": example.id,
            "text": example.text,
            "gold": example.label,
            "label": label_of(bundle, row),
            "probabilities": row.tolist(),
        }
        for example, row in zip(golden, probabilities(bundle, engine, [one.text for one in golden]), strict=True)
    ]


def label_of(bundle: Bundle, probs: NDArray[np.float64]) -> str | None:
    """The answer, or what it would be where the bundle abstains; None where there is none."""
    position = int(bundle.decision.decide(probs[None]).choice[0])
    return bundle.task.names[position] if position >= 0 else None


def to_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as the content of ``golden.jsonl``. Raises ValueError for a probability that is no number."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def write_images(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Put the images of golden rows into a bundle's folder, so that the rows can be asked wherever it goes."""
    for digest in {image_of(row["text"]) for row in rows} - {""}:
        (folder / IMAGES).mkdir(exist_ok=True)
        (folder / IMAGES / digest).write_bytes(kept_bytes(digest))


def is_image(name: str) -> bool:
    """Whether a file of a bundle, by its path within it, is the image of a golden row."""
    place = Path(name)
    return place.parent.as_posix() == IMAGES and len(place.name) == 64 and not set(place.name) - set("0123456789abcdef")


def read_golden(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a bundle's folder, checked; none where it has no such file.

    Raises
    ------
    BundleError
        A row that is no JSON object, or does not hold a text, one of the labels ``names``, and a probability for each;
        an image that is missing, damaged, or another one.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return []
    require_file(path)
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            row = parse_json(line)
            probs = np.array(row["probabilities"], dtype=np.float64)
            total = 0 if row["label"] is None else 1
            fits = probs.shape == (len(names),) and (probs >= 0).all() and abs(probs.sum() - total) < _SUM_TOLERANCE
            if not fits or row["label"] not in (*names, None) or not isinstance(row["text"], str):
                raise ValueError(f"no text, label, or {len(names)} probabilities")
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path}, row {number}: not as it was exported ({error}); {AGAIN}") from error
        rows.append(row)
    for digest in {image_of(row["text"]) for row in rows} - {""}:
        _restore(folder / IMAGES / digest)
    return rows


def _restore(path: Path) -> None:
    """Keep the image of a golden row where engines look for it."""
    require_file(path)
    try:
        kept = keep_image(path.read_bytes(), path.name[:12])
    except DataError as error:
        raise BundleError(f"{path}: {error}") from error
    if kept != path.name:
        raise BundleError(f"{path}: is another image than its name says; {AGAIN}")


def compare_golden(
    bundle: Bundle, engine: Engine, rows: Sequence[dict[str, Any]], tolerance: float
) -> tuple[list[str], float]:
    """One line for each row that is answered otherwise, and the largest difference of a probability.

    Labels must be equal, except in rows whose two best recorded probabilities lie within twice the tolerance: these may
    swap places and still be within it.
    """
    recorded = np.array([row["probabilities"] for row in rows], dtype=np.float64)
    now = probabilities(bundle, engine, [row["text"] for row in rows])
    return list(_differences(rows, recorded, now, bundle, tolerance)), float(np.abs(recorded - now).max())


def _differences(
    rows: Sequence[dict[str, Any]],
    recorded: NDArray[np.float64],
    now: NDArray[np.float64],
    bundle: Bundle,
    tolerance: float,
) -> Iterator[str]:
    for number, (row, was, is_) in enumerate(zip(rows, recorded, now, strict=True), start=1):
        difference = float(np.abs(was - is_).max())
        label, lead = label_of(bundle, is_), bundle.decision.lead(was)
        where = f"{FILE}, row {number} ({row['text'][:40]!r})"
        # "not <=", so that what is no number is a difference too.
        if label != row["label"] and not lead <= 2 * tolerance:
            yield f"{where}: label {label!r}, recorded {row['label']!r}"
        elif not difference <= tolerance:
            yield f"{where}: a probability differs by {difference:.3f}, allowed is {tolerance}"
