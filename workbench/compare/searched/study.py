"""Which settings are tried next: Optuna's tree-structured Parzen estimator, seeded; and which trials are given up.

The only import of Optuna.

A study is replayed, not loaded: it is asked the same again, in the same order, and told what is known already. So one
that was killed goes on as it would have, and one that ran on many machines at once is that which ran on one. What
Optuna writes meanwhile, a journal of JSON lines, is for people to look at with its own tools.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.errors import MissingExtraError
from workbench.compare.searched.found import By, Trial
from workbench.recipe.tables.search import Space, Span, Values, as_setting


class Study:
    """Trials of a space, asked for in rounds.

    Parameters
    ----------
    seed : int
        Of the sampler.
    journal : Path
        Where Optuna's own storage goes; written anew.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int, journal: Path) -> None:
        self._optuna = optuna = _import_optuna()
        self._space = space
        self._seed = seed
        self._n_rounds = 0
        self._open: list[Any] = []
        journal.parent.mkdir(parents=True, exist_ok=True)
        # Of a command that was killed: its lock, and a line that may be half a one.
        for path in (journal, journal.with_name(f"{journal.name}.lock")):
            path.unlink(missing_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        storage = optuna.storages.JournalStorage(backend)
        self._study = optuna.create_study(storage=storage, study_name=journal.stem, direction="minimize")

    def ask(self, n: int) -> list[dict[str, Any]]:
        """Settings of the next ``n`` trials; those of one round know of the rounds before, and of each other."""
        seed = int(np.random.SeedSequence([self._seed, self._n_rounds]).generate_state(1)[0])
        self._n_rounds += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._open = [self._study.ask() for _ in range(n)]
        return [{key: _suggested(trial, key, one) for key, one in self._space.items()} for trial in self._open]

    def tell(self, found: Sequence[Trial], by: By) -> None:
        """What came of the round, in its order. Of one that was given up the sampler knows what it had reached."""
        states = self._optuna.trial.TrialState
        for trial, one in zip(self._open, found, strict=True):
            for step, reached in enumerate(one.way):
                if reached is not None:
                    trial.report(reached, step)
            loss = one.loss(by)
            if one.is_given_up:
                self._study.tell(trial, state=states.PRUNED)
            elif loss is None:
                self._study.tell(trial, state=states.FAIL)
            else:
                self._study.tell(trial, loss)
        self._open = []


def is_given_up(way: Sequence[float | None], earlier: Sequence[Sequence[float | None]]) -> bool:
    """Whether Optuna's median pruner gives a trial up: at its last share it is worse than half of those before.

    Parameters
    ----------
    way : sequence of float or None
        What is made small, share by share, up to the one in question; None where that is not known.
    earlier : sequence of sequence of float or None
        The same of trials that ran to their end, which comes last. As long as these are fewer than five, nobody is
        given up.
    """
    optuna = _import_optuna()
    study = optuna.create_study(direction="minimize", pruner=optuna.pruners.MedianPruner())
    states, made = optuna.trial.TrialState, optuna.trial.create_trial
    study.add_trials([made(value=one[-1], intermediate_values=_known(one[:-1])) for one in earlier])
    running = made(state=states.RUNNING, intermediate_values=_known(way))
    return bool(study.pruner.prune(study, running))


def _known(way: Sequence[float | None]) -> dict[int, float]:
    return {step: reached for step, reached in enumerate(way) if reached is not None}


def _import_optuna() -> Any:
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as error:
        raise MissingExtraError('[search] needs optuna: pip install "labelwright[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _suggested(trial: Any, key: str, one: Span | Values) -> Any:
    if isinstance(one, Values):
        # Optuna keeps texts and numbers; a value may be a list.
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in one.values]))
    if one.whole:
        return as_setting(one, trial.suggest_int(key, int(one.low), int(one.high), log=one.log))
    return as_setting(one, trial.suggest_float(key, one.low, one.high, log=one.log))
