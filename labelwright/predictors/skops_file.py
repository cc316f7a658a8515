"""Fitted scikit-learn estimators as files, through skops: no pickle, and only types of scikit-learn and numpy."""

from __future__ import annotations

import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelwright.errors import BundleError, MissingExtraError
from labelwright.reading import opening, require_file

FILE = "estimator.skops"
_MAX_BYTES = 4 * 2**30
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
    require_file(path)
    with opening(path), warnings.catch_warnings():
        # scikit-learn warns of estimators of its other versions; golden rows say whether they answer as they did.
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path) as members:
            n_bytes = sum(member.file_size for member in members.infolist())
        if n_bytes > _MAX_BYTES:
            raise BundleError(f"{path}: unpacks to {n_bytes} bytes, more than the {_MAX_BYTES} that are read")
        foreign = skops.get_untrusted_types(file=path)
        if not foreign:
            return skops.load(path)
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
