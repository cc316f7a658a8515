"""`python -m bench.training.objectives`: which value of instructions on few rows says how good a classifier they make.

Programs by random moves are scored once on half of the rows of train and dev, whole families; the evidence in them is
of the other half. What a program is really worth is its accuracy and log loss on all those rows, cross-fitted as the
calibrate stage does it. Then, again and again, a program is chosen on as many rows as dev has, and asked about the
others; two of them are compared on a minibatch; and a pool of them is raced, those that gain on a minibatch in random
order, each with the best so far. Scores are kept: killed, the next start goes on.

The splits share rows and programs, so their spread says how much a choice hangs on the rows, and is no interval.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.setting import Setting, open_setting
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, group_keys
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import UNCALIBRATED, cross_validated_paths, group_folds
from labelwright.statistics.metrics import Floats, Ints
from optimizers.calibration_choice import best_calibration
from optimizers.gepa.choice.objective import without_liking
from optimizers.gepa.choice.race import N_PARTS, is_worse
from optimizers.gepa.proposer import EvidenceProposer
from optimizers.gepa.stage import GepaStage
from optimizers.kept import KeptScores
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS

N_PROGRAMS, N_SPLITS, DEV_ROWS = 10, 200, 108
# Of these the first are made from the untuned instructions, the others from those.
N_FIRST = 14
MINIBATCH = 24
N_RACES, CONFIDENCES = 60, (0.5, 0.8, 0.95)
# Of the shipped labels, what moves take the rows for, to have something to move away from.
OVERUSED = ("pool", "car", "hvac")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score what is missing, and print the tables; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.objectives", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--programs", type=int, default=N_PROGRAMS, help="(default: %(default)s)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--scores", type=Path, help="where scores are kept (default: among the recipe's runs)")
    given = parser.parse_args(arguments)
    if given.programs < 2:
        parser.error(f"--programs {given.programs}: expected at least 2")
    silence_libraries()
    try:
        folder = given.scores or RUNS / read_recipe(given.recipe).name / "objectives.scores"
        setting = open_setting(given.recipe)
        scores, rows = scored(setting, given.programs, folder)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    gold = np.array([setting.task.index(row.label) for row in rows])
    groups = group_keys(rows)
    print("\n".join([*choices(scores, gold, groups, DEV_ROWS), "", *comparisons(scores, gold), ""]))
    print("\n".join(races(scores, gold, groups, DEV_ROWS)))
    return 0


def scored(setting: Setting, n_programs: int, folder: Path) -> tuple[Floats, list[Example]]:
    """Whole log-scores (n_programs, n_rows, n_labels), and the rows."""
    gold = np.array([setting.task.index(row.label) for row in setting.examples])
    halves = group_folds(gold, group_keys(setting.examples), 2, 0)
    known, rows = ([row for row, half in zip(setting.examples, halves, strict=True) if half == side] for side in (0, 1))
    bundle = Bundle(setting.task, setting.prompt, setting.weights, UNCALIBRATED)
    kept, found = KeptScores(folder), []
    for number, text in enumerate(programs(setting, known, n_programs)):
        asked = replace(bundle, prompt=setting.prompt.with_instructions(text))
        found.append(kept.of(asked, rows, lambda weights: setting.engine))
        print(f"{number + 1} of {n_programs} programs", file=sys.stderr, flush=True)
    return np.array(found), rows


def programs(setting: Setting, known: Sequence[Example], n_programs: int) -> list[str]:
    """The untuned instructions, and others by moves in view of rows that were answered by chance."""
    count, names = setting.engine.count_tokens, list(setting.task.names)
    propose = EvidenceProposer(known, setting.prompt, count)
    texts = [setting.prompt.instructions]
    for number in range(n_programs - 1):
        chance = random.Random(f"obj {number}")
        start = texts[0] if number < N_FIRST else chance.choice(texts[1:])
        # Draws that nothing uses keep the programs those that docs/results.md tells of.
        chance.shuffle(list(names))
        rows = chance.sample(list(known), min(MINIBATCH, len(known)))
        overused = [name for name in OVERUSED if name in names] or names[:3]
        answered = [{"Inputs": {"text": row.text}, "Generated Outputs": {"label": chance.choice(overused)}}
                    for row in rows]  # fmt: skip
        texts.append(propose(start, answered, chance, GepaStage.token_budget))
    return texts


# Probabilities of a batch from its scores, gold labels and groups.
Make = Callable[[Floats, Ints, Sequence[str]], Floats]


def _fitted(scores: Floats, gold: Ints, groups: Sequence[str]) -> Floats:
    return cross_validated_paths(scores, gold, groups, (1.0,))[0]


MAKES: dict[str, Make] = {
    "raw": lambda scores, gold, groups: UNCALIBRATED.apply(scores),
    "cross-fitted": _fitted,
}


def hits(probs: Floats, gold: Ints) -> Floats:
    """1 where the answer is right, (n_rows,)."""
    return (probs.argmax(axis=1) == gold).astype(float)


def expected(probs: Floats, gold: Ints) -> Floats:
    """P(gold)."""
    return np.asarray(probs[np.arange(len(gold)), gold])


def log_probability(probs: Floats, gold: Ints) -> Floats:
    """ln P(gold), as far down as the objective looks."""
    return np.log(np.maximum(expected(probs, gold), 1e-6))


VALUES = {"reward": hits, "expected_reward": expected, "log_loss": log_probability}


def choices(scores: Floats, gold: Ints, groups: Sequence[str], n_dev: int) -> list[str]:
    """Markdown: a line a way to choose; what its choice gained over the first program on the rows left."""
    truth = [best_calibration(one, gold, groups).probs for one in scores]
    families, chance = np.unique(groups), np.random.default_rng(0)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {(m, v): [] for m in MAKES for v in VALUES}
    for _ in range(N_SPLITS):
        some = chance.permutation(families)[: round(len(families) * n_dev / len(gold))]
        dev = np.isin(groups, some)
        inside = [str(one) for one, is_in in zip(groups, dev, strict=True) if is_in]
        left = [(hits(one[~dev], gold[~dev]).mean(), log_probability(one[~dev], gold[~dev]).mean()) for one in truth]
        for make in MAKES:
            probs = [MAKES[make](one[dev], gold[dev], inside) for one in scores]
            for value in VALUES:
                said = [float(VALUES[value](one, gold[dev]).mean()) for one in probs]
                best = int(np.argmax(said))
                correlation = float(np.corrcoef(said, [one[0] for one in left])[0, 1])
                found[make, value].append((100 * (left[best][0] - left[0][0]), left[best][1] - left[0][1], correlation))
    lines = [
        "| chosen by | of probabilities | accuracy on other rows, points gained | log loss gained | correlation |",
        "|---|---|---|---|---|",
    ]
    for (make, value), each in found.items():
        gained, loss, correlation = np.array(each).T
        spread = "{:+.1f} ({:+.1f} to {:+.1f})".format(gained.mean(), *np.quantile(gained, [0.1, 0.9]))
        lines.append(f"| {value} | {make} | {spread} | {loss.mean():+.3f} | {correlation.mean():.2f} |")
    return lines


def races(scores: Floats, gold: Ints, groups: Sequence[str], n_dev: int) -> list[str]:
    """Markdown: a line a confidence; what races of the programs save on dev, and what becomes of the best of them."""
    families, truth = np.unique(groups), [best_calibration(one, gold, groups).probs for one in scores]
    found: dict[float, list[tuple[float, float, float, float]]] = {confidence: [] for confidence in CONFIDENCES}
    for split in range(N_RACES):
        chance = np.random.default_rng(split)
        some = chance.permutation(families)[: round(len(families) * n_dev / len(gold))]
        dev = np.isin(groups, some)
        inside = [str(one) for one, is_in in zip(groups, dev, strict=True) if is_in]
        worth = [expected(_fitted(one[dev], gold[dev], inside), gold[dev]).mean() for one in scores]
        batch = chance.choice(np.flatnonzero(~dev), MINIBATCH, replace=False)
        gained = [expected(without_liking(one[batch]), gold[batch]).mean() for one in scores]
        pool = [int(one) for one in chance.permutation(len(scores)) if one and gained[one] > gained[0]]
        part = group_folds(gold[dev], inside, N_PARTS, split)
        for confidence in CONFIDENCES:
            leader, n_rows, kept = 0, 0, [0]
            for program in pool:
                n_parts = _parts_raced(scores[program][dev], scores[leader][dev], gold[dev], inside, part, confidence)
                n_rows += int((part < n_parts).sum())
                if n_parts == N_PARTS:
                    kept.append(program)
                    leader = max((leader, program), key=lambda one: worth[one])
            best = max([0, *pool], key=lambda one: worth[one])
            lost = [hits(truth[one][~dev], gold[~dev]).mean() for one in (best, leader)]
            share = n_rows / max(len(pool) * int(dev.sum()), 1)
            found[confidence].append((share, len(kept) / (1 + len(pool)), best in kept, 100 * (lost[1] - lost[0])))
    lines = [
        "| confidence | dev rows scored, of all | scored whole, of the pool | the best of the pool is kept "
        "| accuracy on other rows, points against no race |",
        "|---|---|---|---|---|",
    ]
    for confidence, each in found.items():
        share, whole, is_kept, points = np.array(each).T
        told = f"{int(is_kept.sum())} of {len(is_kept)}"
        cells = [
            confidence, f"{100 * share.mean():.0f} %", f"{100 * whole.mean():.0f} %", told, f"{points.mean():+.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _parts_raced(mine: Floats, best: Floats, gold: Ints, families: Sequence[str], part: Ints, confidence: float) -> int:
    """Parts that a race scores; all where the program is not given up."""
    for n_parts in range(1, N_PARTS):
        seen = part < n_parts
        one, other = (expected(without_liking(scores[seen]), gold[seen]) for scores in (mine, best))
        names = [name for name, is_seen in zip(families, seen, strict=True) if is_seen]
        if is_worse(one - other, names, confidence, N_PARTS - 1):
            return n_parts
    return N_PARTS


def comparisons(scores: Floats, gold: Ints) -> list[str]:
    """Markdown: how the difference of two programs on a minibatch correlates with that on all rows, cross-fitted."""
    worth = np.array([expected(best_calibration(one, gold).probs, gold).mean() for one in scores])
    of_label = [np.flatnonzero(gold == label) for label in np.unique(gold)]
    makes: dict[str, Callable[[Floats], Floats]] = {"raw": UNCALIBRATED.apply, "without liking": without_liking}
    said: dict[tuple[str, str], list[float]] = {(make, value): [] for make in makes for value in VALUES}
    told, chance = [], np.random.default_rng(0)
    for _ in range(N_SPLITS):
        order = chance.permutation(len(of_label))
        batch = np.array([chance.choice(of_label[order[i % len(order)]]) for i in range(MINIBATCH)])
        one, other = chance.choice(len(scores), 2, replace=False)
        told.append(worth[one] - worth[other])
        for make, value in said:
            first, second = (VALUES[value](makes[make](scores[i][batch]), gold[batch]).mean() for i in (one, other))
            said[make, value].append(first - second)
    lines = ["| minibatch by | of probabilities | correlation | right sign |", "|---|---|---|---|"]
    for (make, value), each in said.items():
        sign = np.mean(np.sign(each) == np.sign(told))
        lines.append(f"| {value} | {make} | {np.corrcoef(each, told)[0, 1]:.2f} | {100 * sign:.0f} % |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
