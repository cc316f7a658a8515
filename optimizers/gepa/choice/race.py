"""Racing: a proposal that is shown to be worse than the best program so far is not scored on all validation rows.

The validation rows are dealt into parts, families whole, before anything is known of them. A proposal is scored part by
part beside the best of the programs that were scored whole, on the same rows, and is given up as soon as a paired test
says that it is worse. What is not given up is scored on all rows, so that programs are only ever ranked by the same
rows, and a partly scored one is in no rank at all. (Maron and Moore 1994, "Hoeffding races"; paired, as Birattari et
al. 2002 do it.)

There are few looks, so the level is shared by them (Bonferroni): that a proposal is given up which is as good has a
chance of 1 - confidence at most, over all its looks together. A search may give up many; the best of them is raced
once. Rows seen are answered as a minibatch is, and all of them by a calibration, so this holds as far as the two agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labelwright.engines.protocol import Engine
from labelwright.prompt import Prompt
from labelwright.statistics.intervals import gain_test
from labelwright.statistics.metrics import Floats
from optimizers.gepa.choice.objective import CalibratedAnswers, Objective

# A look after each but the last, which is all rows. More looks save little: each makes every other harder to fail.
N_PARTS = 4


@dataclass(frozen=True)
class Race:
    """Looks at a proposal part by part.

    Attributes
    ----------
    answers : CalibratedAnswers
        Whose validation rows are dealt into ``N_PARTS``.
    confidence : float in (0, 1)
        With which a proposal must be worse to be given up.
    engine : Engine
        What scores.
    """

    answers: CalibratedAnswers
    objective: Objective
    confidence: float
    engine: Engine

    def rows_until_given_up(self, prompt: Prompt, best: Prompt) -> int:
        """Validation rows that were scored when the proposal was given up; 0 where it was not.

        Parameters
        ----------
        best : Prompt
            Of the best program so far; its scores are kept, and cost nothing.
        """
        n_looks = self.answers.n_parts - 1
        for n_parts in range(1, n_looks + 1):
            mine, gold, families = self.answers.on_parts(prompt, n_parts, self.engine)
            theirs, _, _ = self.answers.on_parts(best, n_parts, self.engine)
            gains = self.objective.values(mine, gold) - self.objective.values(theirs, gold)
            if is_worse(gains, families, self.confidence, n_looks):
                return self.answers.n_rows_of(n_parts)
        return 0


def is_worse(gains: Floats, families: Sequence[str], confidence: float, n_looks: int, *, n_draws: int = 9999) -> bool:
    """Whether gains over another program, of shape (n_rows,), are shown to be losses, at a look of ``n_looks``.

    One-sided sign-flip test over families (``gain_test``), as the confirmation has it the other way round. Its level
    holds for any number of draws.

    >>> import numpy as np
    >>> losses = -np.ones(8)
    >>> is_worse(losses, list("abcdefgh"), 0.95, 3), is_worse(-losses, list("abcdefgh"), 0.95, 3)
    (True, False)
    """
    return gain_test(-gains, families, n_draws=n_draws) <= (1 - confidence) / n_looks
