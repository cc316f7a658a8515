"""`python -m bench.training.prompts`: what finds better instructions at one budget of scored rows, on rows held out.

Every seed holds out a fifth of the rows of train and dev, whole families, deals the others to train and dev, and lets
every method search there with the same number of scored rows. What it found is then asked about the rows held out,
calibrated on dev, beside the untuned prompt: differences are paired by row, their intervals are of families.

``evidence`` is the prompt stage as it is; ``random`` makes proposals by the same moves, without a look at answers, and
takes the best on dev; ``bootstrap`` is DSPy's BootstrapFewShot, which fills the prompt with answered rows;
``reflection`` is the prompt stage with a language model behind ``--reflection-url``, and ``mipro`` DSPy's MIPROv2 with
the same one. DSPy's own two count hits of raw probabilities, as they come, and have a time after which nothing is
answered any more. Each run is appended to a file as it ends, and is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.setting import Setting, open_setting
from bench.training.arms.run import with_dev
from bench.training.arms.trainers import Silent
from bench.training.differences import Column, joined, named, pairs, with_interval
from bench.training.kept import keep, read_kept
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, group_keys
from labelwright.engines.protocol import Engine
from labelwright.errors import LabelwrightError
from labelwright.files import read_json
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import UNCALIBRATED
from optimizers.gepa.choice.objective import CalibratedAnswers, Objective
from optimizers.gepa.proposer import EvidenceProposer
from optimizers.gepa.reflection import open_reflection_lm
from optimizers.gepa.search import examples_of, quiet
from optimizers.gepa.stage import GepaStage
from optimizers.kept import KeptScores
from optimizers.scores import gold_of
from optimizers.stage import StageContext
from programs.classify import Classify
from programs.convert import program_of, prompt_of
from programs.decision import DecisionClient
from rewards.label_match import LabelMatch
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version, content_of

DEV_FOLDS = 7
CALLS = 300
MINIBATCH = 18
# Those that need a language model which writes.
WRITTEN = ("reflection", "mipro")
# DSPy's own.
COMPILED = ("bootstrap", "mipro")
METHODS = ("evidence", "random", "bootstrap", *WRITTEN)
# Of each kind, answered and labelled, in DSPy's own: with eight of each a row took ten seconds.
DEMOS = 4
# How long DSPy's own may ask, from its first question to a writer on; it has no bound itself.
MINUTES = 10.0
# Instructions that MIPROv2 has written, its own trials between two looks at all of dev, and the longest reply.
CANDIDATES, TRIALS, REPLY_TOKENS = 3, 5, 400
MOST_ERRORS = 10**6
# What methods are held against each other by: what each found, on the rows held out.
FOUND = (
    Column("held_out_best", "expected reward, points", 100, 1),
    Column("held_out_best_right", "accuracy, points", 100, 1),
)


@dataclass(frozen=True)
class Run:
    """One search, and the rows that say what it is worth."""

    method: str
    seed: int
    splits: Splits
    held_out: tuple[Example, ...]
    url: str = ""
    writer: str = ""  # the model there, by its server's name
    minutes: float = 0.0  # that DSPy's own have

    def key(self, about: Any) -> str:
        """16 hex digits of all that the run depends on."""
        rows = [(row.id, row.text, row.label) for row in (*self.splits.train, *self.splits.dev, *self.held_out)]
        whole = [self.method, self.seed, rows, self.url, self.writer, self.minutes, about]
        return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]


class Found(NamedTuple):
    """What a search found.

    Attributes
    ----------
    best, taken : Prompt
        The best on dev, and the one that is taken.
    n_calls : int
        Rows that were scored.
    in_time : bool
        Whether it ended before its time was up.
    proposals : str
        What became of them, in words; empty where nobody counts.
    """

    best: Prompt
    taken: Prompt
    n_calls: int
    in_time: bool = True
    proposals: str = ""


class Bench:
    """A model, and the scores that it gave: whole ones, kept for a search that is begun again."""

    def __init__(self, setting: Setting, folder: Path, n_calls: int = CALLS) -> None:
        self.bundle = Bundle(setting.task, setting.prompt, setting.weights, UNCALIBRATED)
        self.engine = setting.engine
        self.kept = KeptScores(folder)
        self.n_calls = n_calls
        self.objective = Objective.of("expected_reward", LabelMatch(), self.bundle)

    def answers(self, run: Run) -> CalibratedAnswers:
        """Calibrated on the run's dev rows."""
        return CalibratedAnswers(self.bundle, run.splits.dev, run.splits.train, self.engine, self.kept, run.seed)

    def found(self, run: Run) -> Found:
        """By the run's method."""
        if run.method == "random":
            return self._random(run)
        return self._compiled(run) if run.method in COMPILED else self._searched(run)

    def _searched(self, run: Run) -> Found:
        """By the prompt stage."""
        asked = {"reflection_url": run.url, "reflection_model": run.writer}
        more: dict[str, Any] = asked if run.method == "reflection" else {}
        stage = GepaStage(max_metric_calls=self.n_calls, minibatch_size=MINIBATCH, **more)
        with tempfile.TemporaryDirectory() as folder:
            context = StageContext(Path(folder), Silent(), lambda weights: self.engine, run.seed, scores=self.kept)
            made = stage.run(self.bundle, run.splits, context)
            programs = read_json(Path(folder) / "programs.json")
        (entry,) = made.history
        tried = entry["confirmation"]
        best = programs[tried[0]["program"]]["instructions"] if tried else self.bundle.prompt.instructions
        return Found(
            self.bundle.prompt.with_instructions(best), made.prompt, entry["metric_calls"], True, entry["proposals"]
        )

    def _random(self, run: Run) -> Found:
        """Programs by random moves from the first, without a look at any answer; the best on all of dev."""
        answers, prompt = self.answers(run), self.bundle.prompt
        propose = EvidenceProposer(run.splits.train, prompt, self.engine.count_tokens)
        chance = random.Random(run.seed)
        prompts = [prompt]
        while len(prompts) < self.n_calls // len(run.splits.dev):
            blind = self._blind(run, chance)
            text = propose(prompt.instructions, blind, chance, GepaStage.token_budget)
            prompts.append(prompt.with_instructions(text))
        gold = gold_of(self.bundle, run.splits.dev)
        best = max(prompts, key=lambda one: self.objective.values(answers.on_validation(one), gold).mean())
        return Found(best, best, len(prompts) * len(run.splits.dev))

    def _blind(self, run: Run, chance: random.Random) -> list[dict[str, Any]]:
        """Rows that were answered by chance: what moves look at where nobody was asked."""
        rows = chance.sample(run.splits.train, MINIBATCH)
        names = self.bundle.task.names
        return [
            {"Inputs": {"text": row.text}, "Generated Outputs": {"label": chance.choice(names)}, "Feedback": ""}
            for row in rows
        ]

    def _compiled(self, run: Run) -> Found:
        """By an optimizer of DSPy as it comes; of answers that ran into the end of its time none is counted."""
        import dspy

        client = Bounded(self.engine, self.bundle.prompt, run.minutes)
        train = list(run.splits.train)
        random.Random(run.seed).shuffle(train)
        scored: list[bool] = []

        def hit(gold: Any, pred: Any, trace: Any = None) -> bool:
            scored.append(gold.label == pred.label)
            return scored[-1]

        program, rows = program_of(self.bundle.prompt, self.bundle.task), examples_of(train[: self.n_calls])
        with quiet(), redirect_stdout(StringIO()), redirect_stderr(StringIO()), dspy.context(lm=client):
            if run.method == "mipro":
                found = _by_mipro(hit, run, program, rows, self.n_calls)
            else:
                optimizer = dspy.BootstrapFewShot(
                    metric=hit, max_bootstrapped_demos=DEMOS, max_labeled_demos=DEMOS, max_errors=MOST_ERRORS
                )
                found = optimizer.compile(program, trainset=rows)
        if client.error is not None:
            raise client.error
        prompt = prompt_of(found, self.bundle.prompt)
        return Found(prompt, prompt, len(scored), client.in_time)

    def measured(self, run: Run) -> dict[str, Any]:
        """What a run found, on dev and on the rows held out: values a row of it and of the first prompt."""
        best, taken, n_calls, in_time, proposals = self.found(run)
        answers, told = self.answers(run), {}
        for name, rows in (("dev", run.splits.dev), ("held_out", run.held_out)):
            gold = gold_of(self.bundle, rows)
            for which, prompt in (("first", self.bundle.prompt), ("best", best), ("taken", taken)):
                on_dev = name == "dev"
                probs = answers.on_validation(prompt) if on_dev else answers.elsewhere(prompt, rows)
                told[f"{name}_{which}"] = np.round(self.objective.values(probs, gold), 5).tolist()
                told[f"{name}_{which}_right"] = (probs.argmax(axis=1) == gold).tolist()
        # Demonstrations stand in the system text.
        tokens = self.engine.count_tokens(best.system)
        return {**told, "families": group_keys(run.held_out), "calls": n_calls, "in_time": in_time, "tokens": tokens,
                "proposals": proposals, "was_taken": taken != self.bundle.prompt}  # fmt: skip


class Bounded(DecisionClient):
    """Answers nothing any more once its time is up: DSPy counts a row that raises as wrong, and goes on."""

    def __init__(self, engine: Engine, prompt: Prompt, minutes: float) -> None:
        super().__init__(engine, prompt)
        self.minutes, self.end, self.in_time = minutes, time.monotonic() + 60 * minutes, True

    def __call__(self, state: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """As ``DecisionClient``. Raises TimeoutError once the time is up."""
        if time.monotonic() >= self.end:
            self.in_time = False
            raise TimeoutError(f"{self.minutes:g} minutes are over")
        return super().__call__(state, questions)


def _by_mipro(hit: Callable[..., bool], run: Run, program: Classify, rows: Sequence[Any], n_calls: int) -> Classify:
    """MIPROv2 on as many rows as the budget has: all of dev once, and after every ``TRIALS`` minibatches again."""
    import dspy

    writes = open_reflection_lm("", run.url, 1.0).copy(max_tokens=REPLY_TOKENS, cache=False)
    dev = examples_of(run.splits.dev)
    batch = min(MINIBATCH, len(dev))
    n_looks = max((n_calls - len(dev)) // (TRIALS * batch + len(dev)), 1)
    optimizer = dspy.MIPROv2(
        metric=hit, prompt_model=writes, auto=None, num_candidates=CANDIDATES, max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS, max_errors=MOST_ERRORS, seed=run.seed, num_threads=GepaStage.num_threads,
    )  # fmt: skip
    found: Classify = optimizer.compile(
        program, trainset=list(rows), valset=dev, num_trials=n_looks * TRIALS, minibatch_size=batch,
        minibatch_full_eval_steps=TRIALS,
    )  # fmt: skip
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Search what is missing, and print the table; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.prompts", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--calls", type=int, default=CALLS, help="rows that a search scores (default: %(default)s)")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, help="(default: all, without a URL all but the last two)"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="after which DSPy's own ask no more rows (default: %(default)g)"
    )
    parser.add_argument("--reflection-url", default="", help="an OpenAI-compatible server, for reflection and mipro")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: prompts.jsonl among the recipe's runs)")
    given = parser.parse_args(arguments)
    for name in ("seeds", "calls"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} {getattr(given, name)}: expected at least 1")
    if not 0 < given.minutes < math.inf:
        parser.error(f"--minutes {given.minutes:g}: expected a finite number above 0")
    methods = given.methods or (METHODS if given.reflection_url else METHODS[: -len(WRITTEN)])
    if not given.reflection_url and (asked := [one for one in methods if one in WRITTEN]):
        parser.error(f"{' and '.join(asked)}: a language model writes, so --reflection-url is needed")
    if "mipro" in methods and find_spec("optuna") is None:
        parser.error('mipro needs optuna: pip install "labelwright[bench]", or leave it out of --methods')
    if not given.reflection_url:
        print(f"left out without --reflection-url: {', '.join(WRITTEN)}", file=sys.stderr)
    silence_libraries()
    try:
        out = given.out or RUNS / read_recipe(given.recipe).name / "prompts.jsonl"
        setting = open_setting(given.recipe)
        bench = Bench(setting, out.with_suffix(".scores"), given.calls)
        writer = model_at(given.reflection_url) if given.reflection_url else ""
        wanted = runs_of(setting, methods, given.seeds, given.reflection_url, writer, given.minutes)
        found = search_missing(wanted, bench.measured, about(setting, given.calls), out)
        print("\n".join([*table(found), "", *pairs(named(found, "method"), FOUND)]))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def about(setting: Setting, n_calls: int = CALLS) -> list[Any]:
    """What every run depends on besides its own settings and rows."""
    code = code_version(("bench.training.prompts",))
    return [n_calls, MINIBATCH, setting.prompt, content_of(setting.weights.base), code]


def model_at(url: str) -> str:
    """The model that a server at this URL writes with. ModelError where there is none."""
    return open_reflection_lm("", url, temperature=1.0).model.removeprefix("openai/")


def runs_of(
    setting: Setting, methods: Sequence[str], n_seeds: int, url: str = "", writer: str = "", minutes: float = MINUTES
) -> list[Run]:
    """All runs, seed by seed, so that whole seeds are there first; ``writer`` is the model at the URL."""
    found = []
    for seed in range(n_seeds):
        splits, held_out = with_dev(setting.examples, setting.task, seed, DEV_FOLDS)
        for method in methods:
            asked = (url, writer) if method in WRITTEN else ("", "")
            has = minutes if method in COMPILED else 0.0
            found.append(Run(method, seed, splits, held_out, *asked, has))
    return found


def search_missing(
    wanted: Sequence[Run], measure: Callable[[Run], dict[str, Any]], about: Any, out: Path
) -> list[dict[str, Any]]:
    """What every run measured, from the file where it is there already."""
    kept, found = read_kept(out), []
    for number, run in enumerate(wanted, 1):
        key = run.key(about)
        if key not in kept:
            kept[key] = {"key": key, **measure(run)}
            keep(out, kept[key])
            print(f"{number} of {len(wanted)}: {run.method}, seed {run.seed}", file=sys.stderr, flush=True)
        found.append({**kept[key], "method": run.method, "seed": run.seed})
    return found


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a line a method; gains against the first prompt over all rows of all seeds, with intervals."""
    lines = [
        "| method | seeds | rows scored | tokens | expected reward, dev | held out | share held | accuracy, held out "
        "| taken | held out, taken |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    methods = named(found, "method")
    for method, mine in methods.items():

        def gain(which: str, suffix: str = "", mine: Sequence[Mapping[str, Any]] = mine) -> np.ndarray:
            side, _, whose = which.partition(" ")
            after, before = (joined(mine, f"{side}_{one}{suffix}").astype(float) for one in (whose, "first"))
            return np.asarray(100 * (after - before))

        families = joined(mine, "families").tolist()
        on_dev, held = gain("dev best"), gain("held_out best")
        share = f"{100 * held.mean() / on_dev.mean():.0f} %" if on_dev.mean() > 0 else "–"
        calls, tokens = (round(float(np.mean([one[key] for one in mine]))) for key in ("calls", "tokens"))
        n_late = sum(not one["in_time"] for one in mine)
        told = f"{calls}, {n_late} cut short" if n_late else calls
        cells = [method, len(mine), told, tokens, f"{on_dev.mean():+.1f}", with_interval(held, families, 1), share,
                 with_interval(gain("held_out best", "_right"), families, 1),
                 f"{sum(one['was_taken'] for one in mine)} of {len(mine)}",
                 with_interval(gain("held_out taken"), families, 1)]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    right = joined(next(iter(methods.values())), "held_out_first_right").astype(float)
    counted = [f"{one['method']}, seed {one['seed']}: {one['proposals']}." for one in found if one["proposals"]]
    return [
        *lines,
        "",
        *counted,
        f"Points; the untuned prompt, calibrated, has {100 * right.mean():.1f} % of {len(right)} rows.",
    ]


if __name__ == "__main__":
    sys.exit(main())
