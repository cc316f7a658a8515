"""`make mutants`: deliberate faults, each put into a copy of the project, where the tests named beside it must fail.

A suite is worth what it notices. The files beside this one, ``*.toml``, hold the faults: a text that occurs exactly
once in a file, what is put in its place, and the tests that must notice. A fault is caught where pytest ends with
failed tests (exit status 1); a test that cannot be collected, or a fault that changes nothing, is a mistake in the data
and counts as survived. Mutation tools make thousands of random changes and take hours on a suite that trains models;
these are the few dozen that a reviewer fears, and take minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent
TIMEOUT_S = 300
_FAILED, _PASSED = 1, 0


@dataclass(frozen=True)
class Mutant:
    """One deliberate fault.

    Attributes
    ----------
    name, why : str
        A short name, unique over all files, and what would be wrong with it in place.
    file : str
        The file it changes, from the project's root.
    find, replace : str
        A text that occurs exactly once in that file, and what stands there instead.
    tests : tuple of str
        pytest's node ids; at least one must fail.
    """

    name: str
    why: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


def read_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All faults of a folder's TOML files, in the order of their names."""
    return [
        Mutant(**{**one, "tests": tuple(one["tests"])})
        for path in sorted(folder.glob("*.toml"))
        for one in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    ]


def problem(mutant: Mutant, root: Path = ROOT) -> str:
    """Why a fault cannot be tried, in a line; empty where it can."""
    path = root / mutant.file
    if not path.is_file():
        return f"{mutant.file}: no such file"
    n_found = path.read_text(encoding="utf-8").count(mutant.find)
    if n_found != 1:
        return f"{mutant.file}: the text to find occurs {n_found} times, expected once"
    if mutant.find == mutant.replace:
        return "changes nothing"
    absent = [test for test in mutant.tests if not (root / test.split("::")[0]).is_file()]
    return f"no such test: {', '.join(absent)}" if absent or not mutant.tests else ""


def copy_project(to: Path) -> None:
    """The files that git knows or would know, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    # Tests that read the datasets beside the project find them beside the copy.
    if (ROOT.parent / "shared").is_dir() and not (to.parent / "shared").exists():
        (to.parent / "shared").symlink_to(ROOT.parent / "shared")


def run_tests(root: Path, tests: Sequence[str], timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """pytest's exit status and output; 1 where it did not end in time, which is noticed too."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "--no-header", "--disable-warnings", *tests]
    variables = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=variables,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return _FAILED, f"no end after {timeout_s:.0f} s"
    return done.returncode, done.stdout + done.stderr


@contextmanager
def planted(mutant: Mutant, root: Path) -> Iterator[None]:
    """The fault in place, and taken out again."""
    path = root / mutant.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(mutant.find, mutant.replace), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(sound, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the faults; returns 0 where all are caught, else 1."""
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="of faults, or parts of names (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    options = parser.parse_args(arguments)
    mutants = [one for one in read_mutants() if not options.names or any(part in one.name for part in options.names)]
    broken = {one.name: said for one in mutants if (said := problem(one))}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        roots: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            root = Path(scratch) / str(number) / "project"
            copy_project(root)
            roots.put(root)
        root = roots.get()
        sound = sorted({test for one in mutants if one.name not in broken for test in one.tests})
        print(f"{len(mutants)} deliberate faults; first their {len(sound)} tests without them …", flush=True)
        status, said = run_tests(root, sound, TIMEOUT_S * max(1, len(sound))) if sound else (_PASSED, "")
        roots.put(root)
        if status != _PASSED:
            print(said[-4000:] + "\nthe tests do not pass on the project as it is: mend that first")
            return 1

        def attempt(mutant: Mutant) -> bool:
            if mutant.name in broken:
                print(f"BROKEN    {mutant.name}: {broken[mutant.name]}", flush=True)
                return False
            root = roots.get()
            try:
                with planted(mutant, root):
                    status, said = run_tests(root, mutant.tests)
            finally:
                roots.put(root)
            caught = status == _FAILED
            why = "" if caught else f": {mutant.why} (pytest ended with {status}: {_last_line(said)})"
            print(f"{'caught' if caught else 'SURVIVED':9} {mutant.name}{why}", flush=True)
            return caught

        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(attempt, mutants))
    print(f"{sum(results)} of {len(results)} caught in {time.monotonic() - begun:.0f} s")
    return 0 if all(results) and results else 1


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


if __name__ == "__main__":
    sys.exit(main())
