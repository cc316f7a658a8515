"""A classifier as files: task, prompt, weights, calibration, golden rows, hashes.

Owns the format on disk; the value itself is ``labelwright.bundle.types.Bundle``. ``save`` and ``load`` are exact
inverses; ``load`` compares the hashes, ``verify`` does and re-scores the golden rows, because equal files may still
answer otherwise under another library or machine. Safetensors, JSON and skops only: loading a bundle runs no code.

A bundle folder holds ``bundle.json``, ``README.md`` (the card), ``hashes.json``, and where they apply ``adapter/``,
``model/`` or ``predictor/``, ``golden.jsonl`` (and ``golden_images/``) and ``reference.json``; or ``together/``, in
which whole bundles lie, which answer as one and hold none themselves. Nothing in it depends on the time or the machine,
so equal bundles are equal bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.bundle import files as bundle_files
from labelwright.bundle.card import card
from labelwright.bundle.document import FORMAT, KINDS, SCOPE, VERSION, from_json, to_json, weights_kind
from labelwright.bundle.golden import FILE as GOLDEN
from labelwright.bundle.golden import compare_golden, is_image, read_golden, record_golden, to_lines, write_images
from labelwright.bundle.reference import CENTRES, Reference, write_reference
from labelwright.bundle.reference import FILE as REFERENCE
from labelwright.bundle.reference import read_reference as read_reference_file
from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, Task
from labelwright.decisions.scope import Scope
from labelwright.engines.protocol import Engine
from labelwright.engines.together import document as together
from labelwright.errors import BundleError
from labelwright.models import names as model_names
from labelwright.models.weights import Adapter, Base, Predictor, Together, Weights
from labelwright.predictors import store as predictors

# bfloat16 keeps 8 significant bits, and matrix kernels add in an order that depends on machine, batch and library
# version. Log-probabilities can then differ by some hundredths, probabilities near a half by about as much. Another
# prompt, adapter or calibration should move some golden row by more.
GOLDEN_TOLERANCE = 0.05
# What lies beside the folder of weights.
_FILES = frozenset({"bundle.json", "README.md", GOLDEN, REFERENCE, CENTRES, SCOPE})


def require_labels(predictor_folder: Path, task: Task) -> None:
    """Raise BundleError where a predictor knows a label that is not the task's."""
    for label in map(str, predictors.kind_and_labels(predictor_folder)[1]):
        if label not in task.names:
            raise BundleError(
                f"{predictor_folder}: its label {label!r} is not one of the {len(task.names)} labels of task "
                f"{task.name!r}; train it on the task's rows"
            )


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
    reference: Reference | None = None,
    money: Mapping[str, float] | None = None,
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
    reference : Reference, optional
        What its answers look like on dev, for ``labelwright watch``; as the test metrics no part of the bundle itself.
    money : mapping, optional
        What answering costs, for the card, and no part of the bundle either: of ``rows`` texts ``answered``, and as far
        as it is known ``hosted``, with a larger model for those that are passed on, and ``person``, by a person alone.

    Returns
    -------
    Bundle
        As ``load(folder)`` gives it: weights point into the folder. Numpy scalars in report and history have become
        numbers, tuples lists, and numbers that are not finite None, for JSON has none of them.

    Raises
    ------
    BundleError
        If the weights are missing or hold files that are not safetensors, JSON, skops or tokenizer text; if the folder
        exists and is not a bundle, or cannot be written; if report or history hold what JSON cannot.
    """
    folder = Path(folder).absolute()
    if golden and engine is None:
        raise ValueError("golden rows need an engine to score them")
    bundle_files.recover(folder)
    if folder.exists() and not (folder / "bundle.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder}: exists and is not a bundle; choose another folder, or remove it first")
    rows = record_golden(bundle, engine, golden) if engine is not None else []
    with bundle_files.writing(folder):
        building = bundle_files.unfinished(folder)
        try:
            bundle_files.write_part(building / "bundle.json", to_json(bundle, test, money) | {"n_golden": len(rows)})
            _copy_weights(bundle.weights, building)
            if bundle.scope is not None and bundle.scope.encoder:
                _write_vectors(bundle.scope, building / SCOPE)
            (building / "README.md").write_bytes(card(bundle, len(rows), test, money).encode())
            if rows:
                (building / GOLDEN).write_bytes(to_lines(rows))
                write_images(rows, building)
            if reference is not None:
                write_reference(building, reference)
            bundle_files.write_hashes(building)
            # Whoever makes a bundle may name models by folder, and go on with what was made.
            for _, name in _model_names(bundle):
                model_names.allow(name)
            # Read before it takes another's place: what cannot be read again replaces nothing.
            _read(building, _content(building))
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        bundle_files.put_in_place(building, folder)
    return load(folder)


def load(folder: Path | str) -> Bundle:
    """Read a bundle folder and compare the hash of every file. Weights are not opened.

    Raises
    ------
    BundleError
        If the folder is no bundle, incomplete, altered, of another format version, holds files that it does not list or
        that a bundle may not hold, or says something that does not fit together; if it names a model by a path that the
        reader did not name (``labelwright.models.names``); also if this version of labelwright would render its prompt
        otherwise than the version that wrote it.
    """
    folder = Path(folder).absolute()
    content = _content(folder)
    bundle_files.require_as_written(folder)
    return _read(folder, content)


def _content(folder: Path) -> dict[str, Any]:
    """What ``bundle.json`` says, if it is of this version."""
    bundle_files.recover(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; expected one written by `make export`")
    for kind in KINDS.values():
        if (folder / kind.folder).is_symlink():
            raise BundleError(
                f"{folder}: no folder {kind.folder!r} with the weights, but a link; copy the whole bundle (`cp -rL`)"
            )
    content = bundle_files.read_part(folder / "bundle.json")
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise BundleError(
            f"{folder / 'bundle.json'}: format {content.get('format')!r} version {content.get('version')!r}; this "
            f"labelwright reads {FORMAT!r} version {VERSION}: install the version that wrote it, or export again"
        )
    return content


def _read(folder: Path, content: Mapping[str, Any]) -> Bundle:
    """A bundle out of a folder whose files are as they were written; whoever wrote them may be anyone."""
    bundle = Bundle(**from_json(content, folder))
    place = KINDS[kind].folder if (kind := weights_kind(bundle.weights)) != "base" else None
    places = {place}
    if isinstance(bundle.weights, Predictor):
        places |= {f"{place}/{one.name}" for one in predictors.point_folders(bundle.weights.folder)}
    # A member's files are held to the member's own list.
    members = _checked_members(bundle, folder) if isinstance(bundle.weights, Together) else []
    for name in bundle_files.hashed_files(folder):
        of_member = any(name.startswith(f"{member}/") for member in members)
        of_golden = bundle.task.shows_images and is_image(name)
        if name not in _FILES and Path(name).parent.as_posix() not in places and not (of_member or of_golden):
            raise BundleError(f"{folder}: {name} is not part of a bundle, though listed in it; remove both")
    if isinstance(bundle.weights, Predictor):
        require_labels(bundle.weights.folder, bundle.task)
    read_reference(folder, bundle)
    for where, name in _model_names(bundle):
        model_names.refuse_paths(name, f"{folder / where}")
    return bundle


def read_reference(folder: Path | str, bundle: Bundle) -> Reference | None:
    """What a loaded bundle's answers looked like on dev; None in bundles of before that was kept.

    Raises
    ------
    BundleError
        As ``labelwright.bundle.reference.read_reference``.
    """
    return read_reference_file(Path(folder), len(asking(bundle.task).watched))


def members_of(weights: Weights) -> tuple[Bundle, ...]:
    """The bundles that answer together, in their plan's order; none of other weights.

    Raises
    ------
    BundleError
        As ``load``; also for a member that holds members itself.
    """
    if not isinstance(weights, Together):
        return ()
    return tuple(map(_load_member, together.read_plan(weights.folder).folders))


def _load_member(folder: Path) -> Bundle:
    about = _content(folder).get("weights")
    # Before it is read: bundles in bundles in bundles would have no end.
    if isinstance(about, dict) and about.get("kind") == weights_kind(Together("", folder)):
        raise BundleError(f"{folder}: holds bundles itself, which a member may not: put those in its place")
    return load(folder)


def _checked_members(bundle: Bundle, folder: Path) -> list[str]:
    """Where a bundle's members lie in its folder; each is held to all that a bundle is, and to the bundle's labels."""
    assert isinstance(bundle.weights, Together)
    _, names, folders = together.read_plan(bundle.weights.folder)
    for name, member in zip(names, members_of(bundle.weights), strict=True):
        if (member.task.names, member.task.max_choices) != (bundle.task.names, bundle.task.max_choices):
            raise BundleError(
                f"{folder}: its member {name!r} has other labels than the whole, or in another order: compare and "
                f"export again"
            )
    return [one.relative_to(folder).as_posix() for one in folders]


def _model_names(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Where a bundle names a model that is to be opened, and that name."""
    weights, prompt = bundle.weights, bundle.prompt
    if isinstance(weights, Predictor) and (name := predictors.external_model(weights.folder)):
        yield KINDS["predictor"].folder, name
    if isinstance(weights, Base | Adapter):
        yield "bundle.json", weights.base
    if prompt.neighbours is not None:
        yield "bundle.json", prompt.neighbours.encoder
    if bundle.scope is not None and bundle.scope.encoder:
        yield "bundle.json", bundle.scope.encoder


def _write_vectors(scope: Scope, path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"vectors": scope.vectors} | ({"none": scope.none} if scope.none.size else {})
    save_file({name: np.ascontiguousarray(one, dtype=np.float32) for name, one in arrays.items()}, path)


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
    if problems:
        return Verification(problems, n_files)
    content = _content(folder)
    bundle = _read(folder, content)
    rows = read_golden(folder, bundle.task.names)
    # Older bundles do not say how many they have.
    if content.get("n_golden", len(rows)) != len(rows):
        missing = f"{GOLDEN}: {len(rows)} rows, but {content['n_golden']!r} were exported"
        return Verification((missing,), n_files)
    if engine is None or not rows:
        return Verification((), n_files)
    found, difference = compare_golden(bundle, engine, rows, tolerance)
    return Verification(tuple(found), n_files, len(rows), difference)


def _copy_weights(weights: Weights, building: Path) -> None:
    source, kind = weights.folder, weights_kind(weights)
    if source is None:
        return
    place = building / KINDS[kind].folder
    of_kind = KINDS[kind]
    if isinstance(weights, Together):
        _copy_members(weights, place)
        return
    own = predictors.point_folders(source) if isinstance(weights, Predictor) and source.is_dir() else []
    bundle_files.copy_weights(source, place, of_kind.suffixes, of_kind.required, of_kind.needs_tensors, own)
    bundle_files.drop_code(place)
    if kind == "adapter":
        # PEFT records where the base model lay on the machine that trained; others need its name.
        config = place / of_kind.required
        bundle_files.write_part(config, bundle_files.read_part(config) | {"base_model_name_or_path": weights.base})


def _copy_members(weights: Together, place: Path) -> None:
    """Each member saved anew, as it would be alone: without golden rows and test numbers, which are the whole's."""
    plan, names, folders = together.read_plan(weights.folder)
    place.mkdir()
    targets = together.write_plan(plan, names, place).folders
    for source, target in zip(folders, targets, strict=True):
        save(_load_member(source), target)
