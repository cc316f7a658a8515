"""Which program is taken: the best on the validation rows that also gains on rows which took no part in the search.

The best of several looks better than it is on the rows that chose it. So it is asked about rows held back, beside the
program that the search began with, and is taken where a paired test finds that it gains there. Programs are tried one
after another, and the level is shared among them (Bonferroni); where none gains, the search began with the best. Near
copies count as one row (``family_names``). The gain that is told of a program is that of the rows which confirmed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from labelwright.data.families import family_names
from labelwright.data.task import Example
from labelwright.prompt import Prompt
from labelwright.statistics.intervals import gain_test, mean_interval
from labelwright.statistics.metrics import Floats
from labelwright.statistics.proportions import Interval
from optimizers.gepa.choice.objective import CalibratedAnswers, Objective
from optimizers.scores import gold_of

# So many programs are held against the rows held back; each more makes it harder for the others.
MOST_TRIED = 3
# What ``gain_test`` takes for granted, beside its p.
_SUPPOSES = "as if losses were as likely as gains of their size; where mistakes are rare and dear, p is too low"


@dataclass(frozen=True)
class Program:
    """One of the search's programs, as far as choosing goes.

    Attributes
    ----------
    number : int
        Its place in the search; 0 is what it began with.
    n_tokens : int
        Of its instructions.
    values : ndarray of shape (n_validation_rows,)
        ``Objective.values``.
    """

    number: int
    prompt: Prompt
    n_tokens: int
    values: Floats


@dataclass(frozen=True)
class Tried:
    """One program on the rows held back.

    Attributes
    ----------
    gain : Interval
        Of the objective against the program that the search began with, at the level at which it is tested: one-sided,
        as the p-value is, and shared by those that may be tried. Of the rows that choose, so a little high.
    p_value : float
        One-sided, of no gain; not corrected for the number tried.
    regressed : tuple of str
        Ids of rows that must not regress and did; such a program was not asked about the rows held back.
    """

    program: Program
    gain: Interval | None = None
    p_value: float = 1.0
    regressed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confirmation:
    """What became of the programs that were better on validation.

    Attributes
    ----------
    taken : Program
        The one that the search began with where no other was confirmed.
    tried : tuple of Tried
        In the order in which they were.
    note : str
        All of it in plain words.
    """

    taken: Program
    tried: tuple[Tried, ...]
    note: str


def confirm(
    programs: Sequence[Program],
    validation: Sequence[Example],
    held_back: Sequence[Example],
    must_not_regress: Sequence[Example],
    answers: CalibratedAnswers,
    objective: Objective,
    confidence: float,
) -> Confirmation:
    """Take the best program that is confirmed, or the first.

    Parameters
    ----------
    programs : sequence of Program
        The first is what the search began with.
    held_back : sequence of Example
        Rows that took no part, none of a family of ``must_not_regress`` (``stage.hold_back``); without any,
        validation alone decides.
    must_not_regress : sequence of Example
        Rows of which none may be wrong that the first program has right.
    confidence : float in [0, 1)
        With which a program must gain on the rows held back; 0 takes what validation says.
    """
    first, groups = programs[0], family_names(validation)
    better = in_order(programs, groups)
    if not better:
        return Confirmation(first, (), "not taken: none of the programs found is better on validation")
    tests = confidence > 0 and len(held_back) > 0
    level = (1 - confidence) / min(len(better), MOST_TRIED)
    right = _right(first, validation, must_not_regress, answers, objective)
    tried: list[Tried] = []
    for program in better:
        now = _right(program, validation, must_not_regress, answers, objective)
        regressed = tuple(row.id for row, was, still in zip(must_not_regress, right, now, strict=True) if was > still)
        if regressed:
            tried.append(Tried(program, regressed=regressed))
            continue
        if tests:
            tried.append(_tried(first, program, held_back, answers, objective, level))
        else:
            tried.append(Tried(program))
        if not tests or tried[-1].p_value <= level:
            return Confirmation(program, tuple(tried), _note(tried, held_back, level, objective, True))
        if sum(one.gain is not None for one in tried) == MOST_TRIED:
            break
    return Confirmation(first, tuple(tried), _note(tried, held_back, level, objective, False))


def least_families(confidence: float) -> int:
    """So many families of rows held back can confirm a program, where as many are tried as may be.

    Of n families no p-value is below 2^-n.

    >>> least_families(0.95), least_families(0.0)
    (6, 2)
    """
    return ceil(log2(MOST_TRIED / (1 - confidence)))


def in_order(programs: Sequence[Program], groups: Sequence[str]) -> list[Program]:
    """Those that are better than the first on validation, in the order in which they are to be tried.

    The best comes first, unless shorter ones are not told apart from it (the 95 % interval of the paired difference
    holds 0): tokens are paid with every row that is ever answered, so then the shortest of these does. All others
    follow by their value.
    """
    first, *others = programs
    # A proposer may write the same twice.
    others = list({one.prompt: one for one in reversed(others)}.values())
    better = sorted(
        (one for one in others if one.values.mean() > first.values.mean()),
        key=lambda one: (-one.values.mean(), one.number),
    )
    if not better:
        return []
    best = better[0]
    level = [one for one in better if one is best or mean_interval(best.values - one.values, groups).low <= 0]
    shortest = min(level, key=lambda one: (one.n_tokens, -one.values.mean()))
    return [shortest, *(one for one in better if one is not shortest)]


def _tried(
    first: Program,
    program: Program,
    rows: Sequence[Example],
    answers: CalibratedAnswers,
    objective: Objective,
    level: float,
) -> Tried:
    gold, groups = gold_of(answers.bundle, rows), family_names(rows)
    before, after = (objective.values(answers.elsewhere(one.prompt, rows), gold) for one in (first, program))
    gain = mean_interval(after - before, groups, level=_shown_level(level))
    return Tried(program, gain, gain_test(after - before, groups))


def _shown_level(level: float) -> float:
    """Of the interval whose lower end is the one-sided test's; what hardly tests is shown by the middle half."""
    return max(1 - 2 * level, 0.5)


def _right(
    program: Program,
    validation: Sequence[Example],
    rows: Sequence[Example],
    answers: CalibratedAnswers,
    objective: Objective,
) -> list[bool]:
    """Whether each row is right, by a calibration that did not see its label."""
    if not rows:
        return []
    inside = {row.id: probs for row, probs in zip(validation, answers.on_validation(program.prompt), strict=True)}
    outside = [row for row in rows if row.id not in inside]
    if outside:
        inside |= dict(zip((row.id for row in outside), answers.elsewhere(program.prompt, outside), strict=True))
    choice = objective.decision.decide(np.array([inside[row.id] for row in rows])).choice
    return [bool(one) for one in choice == gold_of(answers.bundle, rows)]


def _note(
    tried: Sequence[Tried], held_back: Sequence[Example], level: float, objective: Objective, is_taken: bool
) -> str:
    """Said of the last that was tried where it is taken, else of the one that came nearest."""
    refused = [one for one in tried if one.regressed]
    tested = [one for one in tried if one.gain is not None]
    parts = []
    if is_taken and not tested:
        parts.append("taken on validation alone: no rows were held back, or confidence is 0")
    if tested:
        one = tested[-1] if is_taken else min(tested, key=lambda one: one.p_value)
        assert one.gain is not None
        value, low, high = one.gain
        n_families = len(set(family_names(held_back)))
        parts.append(
            f"{'taken' if is_taken else 'not taken'}: program {one.program.number}, on {len(held_back)} held-back rows "
            f"({n_families} families) {objective.name} gained {value:+.3f} [{low:+.3f}, {high:+.3f}] "
            f"({_shown_level(level):.1%}), one-sided p = {one.p_value:.3g}, which had to be at most {level:.3g} "
            f"({_SUPPOSES})"
        )
        if is_taken and len(tested) > 1:
            parts.append(
                f"the same rows had refused {len(tested) - 1} before it, and their gain is not corrected for it"
            )
    elif not is_taken:
        parts.append("not taken")
    if refused:
        parts.append(
            "; ".join(f"program {one.program.number} has {', '.join(one.regressed)} wrong" for one in refused)
            + " (must_not_regress)"
        )
    return "; ".join(parts)
