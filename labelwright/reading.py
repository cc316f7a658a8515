"""Reading files that a stranger may have written or a disk damaged: with limits, one BundleError for every fault.

Owns what may be opened at all (regular files, no links, no devices), JSON and safetensors with their limits, and the
one place where whatever a library raises while it opens such files becomes a BundleError that names them.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError, LabelwrightError, one_line

AGAIN = "copy the whole folder again, or export again"
# The largest tokenizers have 35 MB.
MAX_JSON_BYTES = 256 * 2**20
# So that every number fits a double; transformers writes 10**30 for "no limit".
_MAX_DIGITS = 308
_MAX_HEADER_BYTES = 100_000_000
# Bytes of a number of each type in the safetensors format that this house writes or reads.
_TENSOR_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


class _Stdin:
    """What stands in sys.stdin's place, counted: threads may open models at the same time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_inside = 0
        self.given: Any = None


_STDIN = _Stdin()


@contextmanager
def no_prompts() -> Iterator[None]:
    """Nothing inside can read stdin: it may hold rows, and a row "y" is nobody's consent to anything."""
    with _STDIN.lock:
        if _STDIN.n_inside == 0:
            _STDIN.given, sys.stdin = sys.stdin, open(os.devnull, encoding="utf-8")  # noqa: SIM115
        _STDIN.n_inside += 1
    try:
        yield
    finally:
        with _STDIN.lock:
            _STDIN.n_inside -= 1
            if _STDIN.n_inside == 0:
                nothing, sys.stdin = sys.stdin, _STDIN.given
                nothing.close()


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Loading takes a second; transformers' bar and remarks would break up the display of whoever is running."""
    from transformers.utils import logging as bars

    shown, verbosity = bars.is_progress_bar_enabled(), bars.get_verbosity()
    bars.disable_progress_bar()
    bars.set_verbosity_error()
    try:
        yield
    finally:
        bars.set_verbosity(verbosity)
        if shown:
            bars.enable_progress_bar()


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Whatever is raised inside becomes a BundleError about ``path``; errors of the house pass as they are.

    A file can be damaged, or made to do harm, in more ways than libraries name: they raise anything from KeyError to
    Rust's panics.
    """
    try:
        yield
    except (LabelwrightError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        raise BundleError(f"{path}: not readable ({one_line(error)}); {AGAIN}") from error


def require_file(path: Path) -> int:
    """The size in bytes of a regular file.

    Raises
    ------
    BundleError
        No such file; a link, a folder, a pipe or a device: opening these can lead elsewhere, or never end.
    """
    try:
        about = path.lstat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise BundleError(f"{path}: {'is missing' if missing else one_line(error)}; {AGAIN}") from error
    if not stat.S_ISREG(about.st_mode):
        raise BundleError(f"{path}: is {_what(about.st_mode)}; expected a file (copy links with `cp -rL`)")
    return about.st_size


def read_json(path: Path) -> Any:
    """A JSON file, UTF-8, with numbers that are numbers.

    Raises
    ------
    BundleError
        As ``require_file``; more than ``MAX_JSON_BYTES``; not JSON; NaN, Infinity, or numbers that no double holds;
        half characters (lone surrogates); nested too deeply.
    """
    size = require_file(path)
    if size > MAX_JSON_BYTES:
        raise BundleError(f"{path}: has {size} bytes, more than the {MAX_JSON_BYTES} that are read; {AGAIN}")
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({one_line(error)}); check its permissions") from error
    except ValueError as error:
        raise BundleError(f"{path}: not UTF-8 JSON ({str(error).splitlines()[0]}); {AGAIN}") from error


def parse_json(data: bytes) -> Any:
    """JSON out of bytes, with the limits of ``read_json``. Raises ValueError."""
    try:
        value = json.loads(data.decode(), parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float)
        if _HALF_CHARACTER.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("holds half a character") from None
    return value


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises BundleError as ``read_json``, or for another kind of value."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise BundleError(f"{path}: expected a JSON object, found {type(value).__name__}; {AGAIN}")
    return value


def read_tensors(path: Path, dimensions: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file.

    Parameters
    ----------
    dimensions : mapping of str to int
        The names that are expected, no more and no less, and how many axes each has.

    Raises
    ------
    BundleError
        As ``check_tensors``; other names, axes, or numbers that are not finite floats.
    """
    from safetensors.numpy import load_file

    check_tensors(path)
    with opening(path):
        found = load_file(path)
    if set(found) != set(dimensions):
        raise BundleError(f"{path}: expected the arrays {sorted(dimensions)}, found {sorted(found)}; {AGAIN}")
    for name, axes in dimensions.items():
        values = found[name]
        if values.ndim != axes or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise BundleError(f"{path}: {name} is no array of finite numbers with {axes} axes; {AGAIN}")
    return found


def check_tensors(path: Path) -> None:
    """Compare the header of a safetensors file with its size.

    Raises
    ------
    BundleError
        As ``require_file``; a header that is not safetensors', or tells of more, or fewer, bytes than there are.
    """
    size = require_file(path)
    with opening(path), path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        if size < 8 or n_header > min(size - 8, _MAX_HEADER_BYTES):
            raise BundleError(f"{path}: is cut short, or no safetensors file; {AGAIN}")
        try:
            header = parse_json(file.read(n_header))
        except ValueError as error:
            raise BundleError(f"{path}: its header is not JSON ({error}); {AGAIN}") from error
        header.pop("__metadata__", None)
        end = 0
        for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            start, stop = about["data_offsets"]
            n_bytes = _TENSOR_BYTES.get(about["dtype"], 0) * math.prod(about["shape"])
            if start != end or (about["dtype"] in _TENSOR_BYTES and stop - start != n_bytes):
                raise BundleError(f"{path}: the header lies about the size of {name}; {AGAIN}")
            end = stop
        if end != size - 8 - n_header:
            raise BundleError(f"{path}: the header tells of {end} bytes, {size - 8 - n_header} follow; {AGAIN}")


def _what(mode: int) -> str:
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "a device")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is beyond every number")
    return value
