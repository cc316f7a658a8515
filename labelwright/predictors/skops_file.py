"""Fitted scikit-learn estimators as files, through skops: no pickle, and only types of scikit-learn and numpy."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelwright.errors import BundleError, MissingExtraError

FILE = "estimator.skops"
_TORCH_SHIM = "sklearn.externals.array_api_compat.torch"


def dump(estimator: Any, folder: Path) -> None:
    """Write an estimator into a folder. Raises MissingExtraError without skops."""
    _skops().dump(estimator, folder / FILE, compression=zipfile.ZIP_DEFLATED)


def load(folder: Path) -> Any:
    """Read what ``dump`` wrote.

    Raises
    ------
    BundleError
        No such file, a damaged one, or one that holds types other than scikit-learn's and numpy's.
    MissingExtraError
        Without skops.
    """
    skops, path = _skops(), folder / FILE
    if not path.is_file():
        raise BundleError(f"{folder}: no {FILE}; copy the whole folder, or export again")
    try:
        foreign = skops.get_untrusted_types(file=path)
        if not foreign:
            return skops.load(path)
    # What a file that was made to do harm, or was cut short, can raise: skops' and numpy's refusals among them.
    except (zipfile.BadZipFile, LookupError, TypeError, ValueError, AttributeError, ImportError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BundleError(f"{path}: not readable ({reason}); copy it again, or export again") from error
    raise BundleError(f"{path}: holds {foreign[0]}, which is not scikit-learn's or numpy's: not loaded")


def _skops() -> Any:
    try:
        with _torch_left_alone():
            import skops.io
    except ImportError as error:
        raise MissingExtraError('this classifier needs scikit-learn: pip install "labelwright[sklearn]"') from error
    return skops.io


@contextmanager
def _torch_left_alone() -> Iterator[None]:
    """skops looks through all of scikit-learn for estimators, and one of its packages would import torch: seconds."""
    hidden = _TORCH_SHIM not in sys.modules
    if hidden:
        sys.modules[_TORCH_SHIM] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_TORCH_SHIM]
