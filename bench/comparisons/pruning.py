"""`python -m bench.comparisons.pruning`: what a search of settings saves by giving trials up, and what that costs.

The same search twice, trials running to their end and given up at the median (`[search] pruning`), of each candidate
and seed. The seed deals the splits as well. Said is what their processes took, and how well what each found does on
dev, which is what a search chooses by. Test rows are not read.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from rich.console import Console

from bench.comparisons.compared import NOTHING_BESIDE
from labelwright.errors import LabelwrightError
from workbench.compare.jobs import open_comparison
from workbench.compare.processes.pool import CandidateFailedError, Processes
from workbench.compare.processes.work import Listener, OneByOne
from workbench.compare.searched.found import Searched
from workbench.compare.searched.search import search
from workbench.progress import Display, duration, silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.recipe.tables.search import SEARCHED
from workbench.run.choose import new_run

SPACES = {
    "sgd-ngrams": """analyzer = ["word", "char"]
alpha = {low = 1e-7, high = 1e-3, log = true}
longest = {low = 1, high = 5}
""",
    "minilm-logreg": """head = ["logreg", "svm", "kernel"]
strengths = {low = 1e-3, high = 1e3, log = true}
""",
}
RECIPE = """seed = {seed}
stages = []
[data]
path = {path}
{group}
[task]
instructions = "What is it about?"
[baselines]
names = ["{name}"]
[search]
trials = {trials}
pruning = "{pruning}"
[search.space.{name}]
{space}
"""


class Arm(NamedTuple):
    """One search, and what its processes took: of all processors together, and by the clock."""

    found: Searched
    cpu_s: float
    wall_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where the data is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.comparisons.pruning", description=(__doc__ or "")[:100])
    rows = Path("data/homeowner/homeowner.jsonl")
    parser.add_argument("--data", type=Path, default=rows, help="rows as lines of JSON (default: %(default)s)")
    parser.add_argument("--candidates", nargs="+", default=[*SPACES], choices=[*SPACES])
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--trials", type=int, default=20, help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    print("| candidate | seed | processor s | pruned | given up | dev log loss | pruned | dev % | pruned | wall |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    try:
        for name in given.candidates:
            both = []
            for seed in range(given.seeds):
                kinds = ("", "median") if seed % 2 == 0 else ("median", "")
                arms = {kind: searched(given.data, name, seed, given.trials, kind) for kind in kinds}
                both.append((arms[""], arms["median"]))
                print(_line(name, seed, *both[-1]), flush=True)
            print(_means(name, both), flush=True)
    except (LabelwrightError, CandidateFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def searched(data: Path, name: str, seed: int, trials: int, pruning: str) -> Arm:
    """Search a candidate's settings in a folder of its own, where nothing is kept."""
    data = data.absolute()
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        path = Path("pruning.toml")
        path.write_text(recipe_of(data, name, seed, trials, pruning), encoding="utf-8")
        recipe = read_recipe(path)
        run = new_run(recipe, read_rows(recipe), Display(Console(quiet=True))).path
        nobody = Listener(lambda *_: None, lambda *_: None, lambda *_: None, lambda *_: None)
        begun, used = time.monotonic(), _children_s()
        with OneByOne(Processes(path, run)) as runner:
            found = search(open_comparison(path, run), f"{SEARCHED}{name}", runner, nobody)
        return Arm(found, _children_s() - used, time.monotonic() - begun)


def recipe_of(data: Path, name: str, seed: int, trials: int, pruning: str) -> str:
    """The recipe of a search; rows that say which group they are of stay together."""
    with data.open(encoding="utf-8") as lines:
        group = 'group = "group"' if "group" in json.loads(lines.readline()) else ""
    path = json.dumps(str(data))
    table = RECIPE.format(
        seed=seed, path=path, group=group, name=name, trials=trials, pruning=pruning, space=SPACES[name]
    )
    return table + NOTHING_BESIDE


def _children_s() -> float:
    """Seconds of processors that processes begun here took, of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _line(name: str, seed: int, whole: Arm, pruned: Arm) -> str:
    cells = [name, str(seed), f"{whole.cpu_s:.0f}", f"{pruned.cpu_s:.0f}"]
    cells.append(f"{pruned.found.n_given_up} of {len(pruned.found.trials)}")
    best = [arm.found.trials[arm.found.best] for arm in (whole, pruned)]
    cells += [f"{one.log_loss:.3f}" for one in best]
    cells += [f"{100 * one.accuracy.value:.1f}" for one in best if one.accuracy]
    cells.append(f"{duration(whole.wall_s)}, {duration(pruned.wall_s)}")
    return f"| {' | '.join(cells)} |"


def _means(name: str, both: Sequence[tuple[Arm, Arm]]) -> str:
    ratio = sum(pruned.cpu_s for _, pruned in both) / sum(whole.cpu_s for whole, _ in both)
    worse = [_loss(pruned) - _loss(whole) for whole, pruned in both]
    same = sum(
        whole.found.trials[whole.found.best].settings == pruned.found.trials[pruned.found.best].settings
        for whole, pruned in both
    )
    return (
        f"\n{name}: {ratio:.2f} of the processor seconds; what was found has {mean(worse):+z.3f} log loss on dev "
        f"({min(worse):+z.3f} to {max(worse):+z.3f}), the same settings in {same} of {len(both)}\n"
    )


def _loss(arm: Arm) -> float:
    loss = arm.found.trials[arm.found.best].log_loss
    assert loss is not None
    return loss


if __name__ == "__main__":
    sys.exit(main())
