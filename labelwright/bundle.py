"""A classifier as files: task, prompt, weights, calibration, golden rows, hashes.

Owns the format on disk. ``save`` and ``load`` are exact inverses; ``verify`` re-reads the hashes and re-scores the
golden rows. Safetensors, JSON and skops only: loading a bundle runs no code from it.

A bundle folder holds ``bundle.json``, ``README.md`` (the card), ``hashes.json``, and where they apply ``adapter/``,
``model/`` or ``predictor/`` and ``golden.jsonl``. Nothing in it depends on the time or the machine, so equal bundles
are equal bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelwright import bundle_files, predictors
from labelwright.bundle_json import FORMAT, KINDS, VERSION, from_json, to_json, weights_kind
from labelwright.calibration import Calibration
from labelwright.card import card
from labelwright.engine import Engine, Weights
from labelwright.errors import BundleError
from labelwright.prompt import Prompt, Template
from labelwright.task import Example, Task

# bfloat16 keeps 8 significant bits, and matrix kernels add in an order that depends on machine, batch and library
# version. Log-probabilities can then differ by some hundredths, probabilities near a half by about as much. Another
# prompt, adapter or calibration should move some golden row by more.
GOLDEN_TOLERANCE = 0.05


@dataclass(frozen=True)
class Bundle:
    """Everything a row's way needs, and how it came to be. Stages map one bundle to the next.

    Attributes
    ----------
    report : mapping
        Dev metrics of this bundle by name, each in the units of ``labelwright.metrics``.
    history : tuple of mapping
        One entry a stage that ran: its name, what it decided and on which numbers.
    """

    task: Task
    prompt: Prompt
    weights: Weights
    calibration: Calibration
    report: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def with_stage(self, entry: Mapping[str, Any], **changes: Any) -> Bundle:
        """The bundle after a stage: changed fields, and one more history entry."""
        return replace(self, **changes, history=(*self.history, entry))


def predictor_bundle(
    task: Task,
    name: str,
    predictor_folder: Path,
    calibration: Calibration,
    report: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> Bundle:
    """The bundle of a small classifier that answers without a language model.

    Its prompt carries the labels and is read by nobody.

    Parameters
    ----------
    name : str
        What to call the classifier: a baseline's name, such as "sgd-ngrams".
    predictor_folder : Path
        Written by ``labelwright.predictors.save_predictor``, or an estimator of ``baselines``; ``save`` copies it.
        Labels of the task that it does not know get the probability 0.
    calibration : Calibration
        Fitted on the scores of ``labelwright.engines.predictor``: logarithms of the predictor's probabilities.

    Raises
    ------
    BundleError
        If the folder holds no predictor, or one with a label that is not the task's.
    """
    folder = Path(predictor_folder).absolute()
    _, labels = predictors.kind_and_labels(folder)
    for label in map(str, labels):
        if label not in task.names:
            raise BundleError(
                f"{folder}: its label {label!r} is not one of the {len(task.names)} labels of task {task.name!r}; "
                f"train it on the task's rows"
            )
    prompt, weights = Prompt.for_task(task, Template()), Weights(name, predictor=folder)
    return Bundle(task, prompt, weights, calibration, dict(report or {}), tuple(history))


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes
    ----------
    problems : tuple of str
        One line each; empty where everything is as it was exported.
    n_files, n_golden : int
        Files whose hashes were compared, golden rows that were scored.
    max_difference : float
        Largest absolute difference of a probability over the golden rows; 0 where none were scored.
    """

    problems: tuple[str, ...]
    n_files: int
    n_golden: int = 0
    max_difference: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def save(
    bundle: Bundle,
    folder: Path | str,
    *,
    engine: Engine | None = None,
    golden: Sequence[Example] = (),
    test: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write a bundle folder, completely or not at all.

    The folder is written under a temporary name beside its place and renamed, so a killed save leaves the older bundle
    (or none), never half a one.

    Parameters
    ----------
    bundle : Bundle
        Its adapter or full weights may lie anywhere; they are copied.
    folder : Path
        Replaced if it holds a bundle.
    engine : Engine, optional
        Opened on the bundle's weights; needed for golden rows.
    golden : sequence of Example
        Rows to record with the probabilities that the engine gives them, for ``verify``.
    test : mapping, optional
        Test metrics by name (numbers, or value, low and high), for the card. Not part of the bundle itself: whatever
        tunes the bundle further makes them untrue.

    Returns
    -------
    Bundle
        As ``load(folder)`` gives it: weights point into the folder. Numpy scalars in report and history have become
        numbers, tuples lists, and numbers that are not finite None, for JSON has none of them.

    Raises
    ------
    BundleError
        If the weights are missing or hold files that are not safetensors, JSON, skops or tokenizer text; if the folder
        exists and is not a bundle; if report or history hold what JSON cannot.
    """
    folder = Path(folder).absolute()
    if golden and engine is None:
        raise ValueError("golden rows need an engine to score them")
    bundle_files.recover(folder)
    if folder.exists() and not (folder / "bundle.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder}: exists and is not a bundle; choose another folder, or remove it first")
    rows = _golden_rows(bundle, engine, golden) if engine is not None else []
    building = bundle_files.unfinished(folder)
    try:
        bundle_files.write_json(building / "bundle.json", to_json(bundle, test))
        _copy_weights(bundle.weights, building)
        (building / "README.md").write_bytes(card(bundle, len(rows), test).encode())
        if rows:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (building / "golden.jsonl").write_bytes("".join(lines).encode())
        bundle_files.write_hashes(building)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    bundle_files.put_in_place(building, folder)
    return load(folder)


def load(folder: Path | str) -> Bundle:
    """Read a bundle folder. Weights are not opened and hashes not computed: ``verify`` does that.

    Raises
    ------
    BundleError
        If the folder is no bundle, incomplete, of another format version, holds files that a bundle may not hold, or
        says something that does not fit together; also if this version of labelwright would render its prompt
        otherwise than the version that wrote it.
    """
    folder = Path(folder).absolute()
    bundle_files.recover(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; expected one written by `make export`")
    content = bundle_files.read_json(folder / "bundle.json")
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise BundleError(
            f"{folder / 'bundle.json'}: format {content.get('format')!r} version {content.get('version')!r}; this "
            f"labelwright reads {FORMAT!r} version {VERSION}: install the version that wrote it, or export again"
        )
    for name in bundle_files.hashed_files(folder):
        if not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing; copy the whole folder, or export again")
    return Bundle(**from_json(content, folder))


def verify(folder: Path | str, engine: Engine | None = None, *, tolerance: float = GOLDEN_TOLERANCE) -> Verification:
    """Compare a bundle with what was exported: the hash of every file, then the golden rows.

    Where a file differs the golden rows are not scored: the bundle is not the one that was exported.

    Parameters
    ----------
    folder : Path
    engine : Engine, optional
        Opened on the loaded bundle's weights. Without it only the files are compared.
    tolerance : float
        Largest allowed absolute difference of a probability, in [0, 1]. Labels must be equal, except in rows whose two
        best recorded probabilities lie within twice the tolerance: these may swap places and still be within it.

    Raises
    ------
    BundleError
        As ``load``.
    """
    folder = Path(folder).absolute()
    bundle_files.recover(folder)
    n_files = len(bundle_files.hashed_files(folder))
    problems = bundle_files.compare_hashes(folder)
    rows = [] if problems else _read_golden(folder)
    if engine is None or not rows:
        return Verification(problems, n_files)
    bundle = load(folder)
    recorded = np.array([row["probabilities"] for row in rows], dtype=np.float64)
    now = _probabilities(bundle, engine, [row["text"] for row in rows])
    names = bundle.task.names
    found = []
    for number, (row, was, is_) in enumerate(zip(rows, recorded, now, strict=True), start=1):
        difference = float(np.abs(was - is_).max())
        label, runner_up = names[int(is_.argmax())], float(np.sort(was)[-2])
        where = f"golden.jsonl, row {number} ({row['text'][:40]!r})"
        if label != row["label"] and was.max() - runner_up > 2 * tolerance:
            found.append(f"{where}: label {label!r}, recorded {row['label']!r}")
        elif difference > tolerance:
            found.append(f"{where}: a probability differs by {difference:.3f}, allowed is {tolerance}")
    return Verification(tuple(found), n_files, len(rows), float(np.abs(recorded - now).max()))


def _probabilities(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> np.ndarray:
    # Imported here: labelwright.decide takes bundles, so it imports this module.
    from labelwright.decide import probabilities

    return probabilities(bundle, engine, texts)


def _golden_rows(bundle: Bundle, engine: Engine, golden: Sequence[Example]) -> list[dict[str, Any]]:
    if not golden:
        return []
    probs = _probabilities(bundle, engine, [example.text for example in golden])
    return [
        {
            "id": example.id,
            "text": example.text,
            "gold": example.label,
            "label": bundle.task.names[int(row.argmax())],
            "probabilities": row.tolist(),
        }
        for example, row in zip(golden, probs, strict=True)
    ]


def _read_golden(folder: Path) -> list[dict[str, Any]]:
    path = folder / "golden.jsonl"
    return [json.loads(line) for line in path.read_bytes().decode().split("\n") if line] if path.is_file() else []


def _copy_weights(weights: Weights, building: Path) -> None:
    source, kind = weights.folder, weights_kind(weights)
    if source is None:
        return
    place = building / KINDS[kind].folder
    of_kind = KINDS[kind]
    bundle_files.copy_weights(source, place, of_kind.suffixes, of_kind.required, of_kind.needs_tensors)
    if kind == "adapter":
        # PEFT records where the base model lay on the machine that trained; others need its name.
        config = place / of_kind.required
        bundle_files.write_json(config, bundle_files.read_json(config) | {"base_model_name_or_path": weights.base})
