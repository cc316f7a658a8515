"""Damages files of a bundle as disks, people and strangers do: at random, from a seed."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Random = random.Random

# ------------------------------------------------------------------------------------------------------ any file


def flip(path: Path, rng: Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def empty(path: Path, rng: Random) -> None:
    path.write_bytes(b"")


def drop(path: Path, rng: Random) -> None:
    path.unlink()


def rename(path: Path, rng: Random) -> None:
    path.rename(path.with_name("x" + path.name))


def append(path: Path, rng: Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 40)))


def not_utf8(path: Path, rng: Random) -> None:
    data = path.read_bytes()
    at = rng.randrange(len(data))
    path.write_bytes(data[:at] + b"\xff\xfe" + data[at:])


def pipe(path: Path, rng: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path, rng: Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def dangling(path: Path, rng: Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def folder(path: Path, rng: Random) -> None:
    path.unlink()
    path.mkdir()


ANY = (flip, flip, cut, cut, empty, drop, rename, append, not_utf8, pipe, endless, dangling, folder)

# ---------------------------------------------------------------------------------------------------------- JSON

WILD = (
    "null", "true", "0", "-1", "1.5", "1e308", "-1e308", "1e-320", "1" + "0" * 400, "7" * 4400, "NaN", "Infinity",
    "-Infinity", "1e999", '""', '"\\ud800"', '"' + "x" * 500 + '"', '"../x"', '"/etc"', "[]", "{}", "[[]]", "[null]",
    "[" * 100_000 + "]" * 100_000, '{"a": ' * 5000 + "1" + "}" * 5000, "[1, 2",
)  # fmt: skip
_MARK = "@@@"


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place in a JSON value, as keys from the top; of long lists the ends."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for number in sorted({*range(min(len(value), 3)), *range(max(0, len(value) - 2), len(value))}):
            found += places(value[number], (*path, number))
    return found


def swap_value(path: Path, rng: Random) -> None:
    """Something else where a value was, nothing at all, or less of it."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    at = rng.randrange(len(lines))
    value = json.loads(lines[at])
    where = places(value)
    if not where:
        return path.write_text(rng.choice(WILD)) and None
    *parents, last = rng.choice(where)
    inner = value
    for key in parents:
        inner = inner[key]
    kind = rng.random()
    if kind < 0.15:
        del inner[last]
    elif kind < 0.25 and isinstance(inner[last], list | str):
        inner[last] = inner[last][: len(inner[last]) // 2]
    elif kind < 0.35 and isinstance(inner[last], list):
        inner[last] = inner[last] + inner[last]
    else:
        inner[last] = _MARK
    lines[at] = json.dumps(value, ensure_ascii=False).replace(f'"{_MARK}"', rng.choice(WILD))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return None


# ------------------------------------------------------------------------------------------------------- tensors


def lie(path: Path, rng: Random) -> None:
    """A header that tells of other sizes, types or places than there are."""
    data = path.read_bytes()
    n_header = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n_header])
    name = rng.choice([key for key in header if key != "__metadata__"])
    about = header[name]
    what = rng.randrange(7)
    if what == 0:
        data = struct.pack("<Q", rng.choice([0, n_header + 1, 2**40, 2**63])) + data[8:]
        return path.write_bytes(data) and None
    if what == 1:
        about["shape"] = [one * 1000 for one in about["shape"]] or [1000]
    elif what == 2:
        about["dtype"] = rng.choice(["I64", "U8", "BF16", "F4", "none", "BOOL"])
    elif what == 3:
        about["data_offsets"] = [0, 2**50]
    elif what == 4:
        header["y" + name] = header.pop(name)
    elif what == 5:
        about["shape"] = [*about["shape"][::-1], 1]
    else:
        header[name] = rng.choice([None, 3, [], "x", {}])
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + n_header :])
    return None


def spoil_numbers(path: Path, rng: Random) -> None:
    """NaN, infinity or huge numbers, other shapes and types: a whole file that means nothing."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    name = rng.choice(sorted(tensors))
    values = tensors[name].copy()
    what = rng.randrange(6)
    if what < 3:
        values.reshape(-1)[: 1 + values.size // 2] = [np.nan, np.inf, np.finfo(values.dtype).max][what]
    elif what == 3:
        values = values.astype(np.int32)
    elif what == 4:
        values = values[: max(0, len(values) - 1)]
    else:
        values = values[None]
    save_file({**tensors, name: np.ascontiguousarray(values)}, path)


def other_compression(path: Path, rng: Random) -> None:
    """A zip member that says it was packed in a way that nobody knows."""
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 10 : at + 12] = struct.pack("<H", 77)
    path.write_bytes(data)


def ways(path: Path) -> tuple[Callable[[Path, Random], None], ...]:
    """How a file of its kind can be damaged."""
    more = {".json": (swap_value,) * 8, ".jsonl": (swap_value,) * 6, ".safetensors": (lie,) * 5 + (spoil_numbers,) * 4}
    return ANY + more.get(path.suffix, (other_compression,) * 2 if path.suffix == ".skops" else ())


def damage(bundle: Path, copy: Path, seed: int) -> str:
    """Copy a bundle, damage one file of it, and make the hashes fit half of the time; says what was done."""
    rng = Random(seed)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bundle, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    path = rng.choice(files)
    way = rng.choice(ways(path))
    way(path, rng)
    told = rng.random() < 0.5 and path.name != "hashes.json"
    if told:
        rehash(copy)
    return f"{way.__name__} of {path.relative_to(copy)}{', hashes made to fit' if told else ''} (seed {seed})"


def rehash(bundle: Path) -> None:
    """Hashes as a stranger would write them: of whatever regular files there are."""
    import hashlib

    table = {}
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if name == "hashes.json" or (path.is_dir() and not path.is_symlink()):
            continue
        is_file = path.is_file() and not path.is_symlink()
        table[name] = hashlib.sha256(path.read_bytes() if is_file else b"").hexdigest()
    (bundle / "hashes.json").write_text(json.dumps({"algorithm": "sha256", "files": table}))
