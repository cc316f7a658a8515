"""`python -m bench.persuasion`: what plain text in a row can do to a classifier.

The measurement of the report's `[compare] steering_rows`, on rows of dev and for any bundle: each row gets an ending
that names a label other than the classifier's own answer, and what is counted is how often the answer becomes that
label (``workbench.compare.steering``).

Rows are those of dev, never of test. Bundles are given as folders, or are those that the recipe's comparison kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from labelwright.bundle.store import load
from labelwright.data.task import group_keys
from labelwright.engines.opening import open_engine
from labelwright.errors import DataError, LabelwrightError
from labelwright.statistics.proportions import share_interval
from workbench.compare.steering.endings import ENDINGS, rows_moved
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.run.folder import RUNS
from workbench.wording import percent


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a bundle; 0, or 2 where the recipe or a bundle is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.persuasion", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=Path, help="folders (default: those of the recipe's comparison)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        measure(given.recipe, given.bundles)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(recipe_path: Path, folders: Sequence[Path]) -> None:
    """Print a Markdown table: share of dev rows, in percent, whose answer becomes the label that they ask for."""
    recipe = read_recipe(recipe_path)
    if recipe.data.choices:
        raise DataError(
            f"{recipe_path}: rows bring their own choices, and what their letters stand for is the row's own"
        )
    dev = make_splits(read_rows(recipe), recipe.splits, recipe.seed).for_tuning().dev
    found = [(folder.name, folder) for folder in folders] or list(kept_bundles(RUNS / recipe.name / "candidates"))
    if not found:
        raise DataError(
            f"no bundle under {RUNS / recipe.name / 'candidates'}: run `make compare` first, or name folders"
        )
    print("| classifier | " + " | ".join(f"{name}: {text.strip()!r}" for name, text in ENDINGS.items()) + " |")
    print("|---|" + "---|" * len(ENDINGS))
    for name, folder in found:
        bundle = load(folder)
        engine = open_engine(bundle.weights)
        moved, is_read = rows_moved(bundle, engine, [row.text for row in dev])
        if not is_read.any():
            raise DataError(f"{folder}: no row of dev has room for an ending")
        groups = group_keys([row for row, read in zip(dev, is_read, strict=True) if read])
        shown = " | ".join(percent(share_interval(one, groups)) for one in moved.values())
        unread = f" ({is_read.sum()} of {len(dev)} rows)" if not is_read.all() else ""
        print(f"| {name}{unread} | {shown} |", flush=True)


def kept_bundles(root: Path) -> Iterator[tuple[str, Path]]:
    """The newest bundle of every candidate that a comparison kept."""
    for candidate in sorted(root.iterdir()) if root.is_dir() else []:
        kept = sorted(candidate.glob("*/bundle.json"), key=lambda path: path.stat().st_mtime)
        if kept:
            yield candidate.name, kept[-1].parent


if __name__ == "__main__":
    sys.exit(main())
