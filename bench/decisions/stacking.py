"""`python -m bench.decisions.stacking`: does a classifier on the members' answers beat their equally weighted mean?

Members are the comparison's small candidates on Banking77, each answering the rows of Banking77's train file out of
fold. Then, on the same rows by folds of their own: the mean of them with equal weights; one more member in it; and two
stacks, logistic regressions on the members' log-probabilities (Wolpert 1992), one of a weight a member, one of a weight
a member and label. The test file is not read.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bench.decisions.next_rows import DATA
from labelwright.data.task import Example, Label, Splits, Task, group_keys, read_examples
from labelwright.engines.together.plan import average
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import fit_calibration, group_folds
from labelwright.statistics.metrics import Floats, Ints
from labelwright.statistics.proportions import difference_interval, share_interval
from workbench.compare.measure import BaselineJob, out_of_fold
from workbench.progress import silence_libraries
from workbench.wording import parts, percent

MEMBERS = ("sgd-ngrams", "sgd-chars", "minilm-logreg", "minilm-svm", "minilm-mlp", "minilm-knn")
MORE = "minilm-kernel"
N_FOLDS = 3
# Inverse strengths of the penalty of the stack of a weight a member and label.
STRENGTHS = (1e-4, 1e-3, 1e-2)
# Penalty on how far a member's weight is from an equal one.
_TOWARDS_EQUAL = 1e-3
_SMALLEST = 1e-6


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0, or 2 where the data is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decisions.stacking", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, default=DATA, help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=0, help="so many rows, drawn; 0: all (default: %(default)s)")
    given, begun = parser.parse_args(arguments), time.monotonic()
    silence_libraries()
    try:
        rows = read_examples(given.data / "banking77" / "train.jsonl")
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.rows:
        rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: given.rows]]
    answers, gold, groups = answered(rows, (*MEMBERS, MORE))
    print(table(answers, gold, groups))
    print(f"\n{len(rows)} rows, {N_FOLDS} folds, {time.monotonic() - begun:.0f} s")
    return 0


def answered(rows: Sequence[Example], names: Sequence[str]) -> tuple[dict[str, Floats], Ints, list[str]]:
    """Every member's out-of-fold probabilities, (n_rows, n_labels), with one temperature each; gold; groups."""
    task = Task("stacking", "What is it about?", tuple(map(Label, sorted({str(row.label) for row in rows}))))
    gold, splits = np.array([task.index(row.label) for row in rows]), Splits(tuple(rows), (), (), ())
    return {name: _calibrated(name, task, splits, gold) for name in names}, gold, group_keys(rows)


def _calibrated(name: str, task: Task, splits: Splits, gold: Ints) -> Floats:
    begun = time.monotonic()
    probs = out_of_fold(BaselineJob(name, task, {}, 0, "head"), splits, N_FOLDS)
    scores = np.log(np.maximum(probs, _SMALLEST))
    found = fit_calibration(scores, gold, bias=False).apply(scores)
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


def table(answers: Mapping[str, Floats], gold: Ints, groups: Sequence[str]) -> str:
    """Markdown: each member alone; their mean; that with one more against it; the stacks of all against that."""
    few = [answers[name] for name in MEMBERS if name in answers]
    every = list(answers.values())
    folds = group_folds(gold, groups, N_FOLDS, seed=1)
    lines = [
        "| | right % [95 % interval] | log loss | points more [95 % interval] | log loss more |",
        "|---|---|---|---|---|",
    ]
    for name, probs in answers.items():
        lines.append(_line(name, np.log(probs), gold, groups))
    plain = average(few, [1] * len(few), "log")
    lines.append(_line(f"equal weights, {len(few)} members", plain, gold, groups))
    more = average(every, [1] * len(every), "log")
    lines.append(_line(f"equal weights, {len(every)} members, with {MORE}", more, gold, groups, plain))
    lines.append(_line("stack of a weight a member", by_folds(every, gold, folds, 0.0), gold, groups, more))
    for strength in STRENGTHS:
        found = by_folds(every, gold, folds, strength)
        lines.append(_line(f"stack of a weight a member and label, C = {strength:g}", found, gold, groups, more))
    return "\n".join(lines)


def by_folds(members: Sequence[Floats], gold: Ints, folds: Ints, strength: float) -> Floats:
    """What a stack says of each row that it was not fitted on: log-probabilities, (n_rows, n_labels).

    Parameters
    ----------
    strength : float
        C of a weight a member and label; 0 for one weight a member.
    """
    logs = np.stack([np.log(np.maximum(one, _SMALLEST)) for one in members])
    found = np.zeros(logs.shape[1:])
    for fold in np.unique(folds):
        inside = folds == fold
        shown, labels, new = logs[:, ~inside], gold[~inside], logs[:, inside]
        found[inside] = _of_labels(shown, labels, new, strength) if strength else _of_members(shown, labels, new)
    return found


def _of_members(logs: Floats, gold: Ints, new: Floats) -> Floats:
    """log softmax(sum_m w_m log p_m), of weights that fit best and are drawn towards equal ones."""
    n_members, rows = len(logs), np.arange(len(gold))
    equal = np.full(n_members, 1 / n_members)

    def loss(weights: Floats) -> tuple[float, Floats]:
        told = log_softmax(np.tensordot(weights, logs, 1), axis=1)
        # The slope: expected log-probability of a member under the mixture, less that of the right label.
        slope = (np.einsum("mnk,nk->mn", logs, np.exp(told)) - logs[:, rows, gold]).mean(axis=1)
        away = weights - equal
        return -float(told[rows, gold].mean()) + _TOWARDS_EQUAL * float(away @ away), slope + 2 * _TOWARDS_EQUAL * away

    weights = minimize(loss, equal, jac=True, method="L-BFGS-B").x
    return np.asarray(log_softmax(np.tensordot(weights, new, 1), axis=1))


def _of_labels(logs: Floats, gold: Ints, new: Floats, strength: float) -> Floats:
    """Logistic regression on all log-probabilities of all members."""
    with warnings.catch_warnings():
        # So many passes, whether more would gain a little or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        head = LogisticRegression(C=strength, max_iter=200).fit(np.hstack([*logs]), gold)
    found = np.full(new.shape[1:], np.log(_SMALLEST))
    found[:, head.classes_] = head.predict_log_proba(np.hstack([*new]))
    return found


def _line(name: str, logs: Floats, gold: Ints, groups: Sequence[str], against: Floats | None = None) -> str:
    rows = np.arange(len(gold))
    right, loss = logs.argmax(axis=1) == gold, -logs[rows, gold]
    cells = [name, percent(share_interval(right, groups)), f"{loss.mean():.3f}"]
    if against is None:
        return "| " + " | ".join([*cells, "", ""]) + " |"
    net = right.astype(int) - (against.argmax(axis=1) == gold)
    value, ends = parts(difference_interval(net, groups), signed=True)
    return "| " + " | ".join([*cells, f"{value} {ends}", f"{(loss + against[rows, gold]).mean():+.3f}"]) + " |"


if __name__ == "__main__":
    sys.exit(main())
