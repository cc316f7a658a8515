"""A workbench without a model: fake stages, baselines and engine, in process or as a command that kills itself.

``python -m workbench_fakes VERB RECIPE …`` is the real command line over the fakes. ``KILL="grpo:3"`` in the
environment ends the process without any cleaning up at the third step of that stage; ``"bundle"`` in place of a stage
does so after the exported bundle is written and before that is recorded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from fakes import WORDS, FakeEngine, toy_examples

from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.engines.together.engine import TogetherEngine
from labelwright.errors import MissingExtraError, RecipeError
from labelwright.models.weights import Adapter, Predictor, Together, Weights
from optimizers.calibrate import CalibrateStage
from optimizers.gepa.programs import show_programs
from optimizers.scores import kept_scores
from optimizers.stage import StageContext

RECIPE = """
name = "toy"
seed = 3
stages = ["gepa", "grpo", "calibrate"]
[data]
path = "rows.jsonl"
group = "group"
id = "id"
[task]
instructions = "Name the topic of the message."
labels = ["pool", "fence", "hvac"]
[model]
name = "fake"
[baselines]
names = ["majority", "words", "absent"]
[compare]
generate_rows = 6
latency_rows = 2
bootstrap = 200
[ensemble]
most_members = 0
[cascade]
most_levels = 0
[export]
golden_rows = 4
[tracking]
system_metrics = false
"""


ROOT = Path(__file__).parents[1]


def track_at(patch: pytest.MonkeyPatch, server: str) -> None:
    """Record at a server's address; where that is empty, where the recipe says."""
    if server:
        patch.setenv("MLFLOW_TRACKING_URI", server)
    else:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)


def environment(**more: str) -> dict[str, str]:
    """Of a process that runs the workbench elsewhere: the repository on its path, no store set by another test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "_MLFLOW"))}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), **more}


def write_workspace(folder: Path) -> Path:
    """Rows and a recipe; returns the recipe's path."""
    rows = [{"id": r.id, "text": r.text, "label": r.label, "group": r.group} for r in toy_examples()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "toy.toml").write_text(RECIPE, encoding="utf-8")
    return folder / "toy.toml"


@dataclass(frozen=True)
class FakeGepa:
    """Writes the labels' words into the instructions, which helps the fake engine; tells a search of three programs."""

    name: ClassVar[str] = "gepa"
    n_words: int = 3
    reflection: str = ""
    budget_share: float = 0.5

    def __post_init__(self) -> None:
        if self.n_words < 1:
            raise RecipeError(f"n_words = {self.n_words}: expected 1 or more")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        assert splits.test == (), "a stage was given the test rows"
        context.tracker.prompt("before", bundle.prompt.shown)
        _count_to(3, self.name, context)
        lines = [f"{label}: {', '.join(words[: self.n_words])}" for label, words in WORDS.items()]
        instructions = "\n".join([bundle.task.instructions, *lines])
        prompt = bundle.prompt.with_instructions(instructions)
        context.tracker.prompt("after", prompt.shown)
        _show_programs(bundle.prompt.instructions, instructions, context)
        entry = {"stage": self.name, "proposals": 3, "kept": 1, "dev_before": 0.3}
        return bundle.with_stage(entry, prompt=prompt)


def _show_programs(first: str, last: str, context: StageContext) -> None:
    texts, scores = (first, first + " Be brief.", last), (0.3, 0.4, 0.9)
    table = [
        {
            "program": n, "parents": [n - 1] if n else [], "n_tokens": 9, "dev_score": scores[n],
            "found_after_metric_calls": 9 * n, "n_best_on": n, "best_on": [], "instructions": text,
        }
        for n, text in enumerate(texts)
    ]  # fmt: skip
    path = context.folder / "programs.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    show_programs(path, context.tracker)


@dataclass(frozen=True)
class FakeGrpo:
    """Writes an adapter, one step at a time, and goes on with the step after the last one written."""

    name: ClassVar[str] = "grpo"
    steps: int = 5

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        from safetensors.numpy import save_file

        _count_to(self.steps, self.name, context)
        adapter = context.folder / "best"
        adapter.mkdir(exist_ok=True)
        save_file({"delta": np.full(4, self.steps, dtype=np.float32)}, adapter / "adapter_model.safetensors")
        (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), encoding="utf-8")
        return bundle.with_stage({"stage": self.name}, weights=Adapter(bundle.weights.base, adapter))


@dataclass(frozen=True)
class FakeSft:
    """Learns a label's words from its training rows: the more rows, the more words."""

    name: ClassVar[str] = "sft"
    learns_soft: ClassVar[bool] = True
    steps: int = 2

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        assert splits.test == (), "a stage was given the test rows"
        _count_to(self.steps, self.name, context)
        lines = [bundle.task.instructions]
        for label in bundle.task.names:
            lines.append(f"{label}: " + " ".join(row.text for row in splits.train if row.label == label))
        if context.soft is not None:
            likeliest = context.soft.probs.argmax(axis=1)
            lines += [f"{bundle.task.names[k]}: {text}" for k, text in zip(likeliest, context.soft.texts, strict=True)]
        return bundle.with_stage({"stage": self.name}, prompt=bundle.prompt.with_instructions("\n".join(lines)))


@dataclass(frozen=True)
class FakeCalibrate(CalibrateStage):
    """The real calibration, without its plot."""

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        return self.calibrated(
            bundle, splits.calib, lambda asked: kept_scores(asked, splits.calib, context, "calib"), context.seed
        ).bundle


def _count_to(n_steps: int, stage: str, context: StageContext) -> None:
    state = context.folder / "state.txt"
    begun = int(state.read_text()) if state.is_file() else 0
    with (context.folder / "steps-run.txt").open("a", encoding="utf-8") as log:
        for step in range(begun + 1, n_steps + 1):
            if os.environ.get("KILL") == f"{stage}:{step}":
                os._exit(9)
            log.write(f"{step}\n")
            log.flush()
            context.tracker.metrics({"dev_accuracy": 0.3 + 0.1 * step, "reward": 0.1 * step}, step=step)
            context.tracker.progress(step, n_steps, f"dev {0.3 + 0.1 * step:.2f}")
            state.write_text(str(step))


def _open_fake(weights: Weights, settings: EngineSettings) -> Engine:
    """The fake in a language model's place; a small classifier answers for itself, several bundles as one."""
    if isinstance(weights, Together):
        return TogetherEngine.open(weights, settings, _open_fake)
    return FakeEngine() if not isinstance(weights, Predictor) else open_engine(weights, settings)


def _absent(task: Any, seed: int) -> Any:
    raise MissingExtraError('absent needs a package: pip install "labelwright[absent]"')


def _broken(task: Any, seed: int) -> Any:
    raise ZeroDivisionError("no candidate is so broken")


def run_candidate_here(
    self: Any,
    jobs: Any,
    family: str,
    log: Path,
    say: Any,
    record: Callable[[Any], Any],
    asks_teacher: bool = False,
    trial: Any = None,
) -> None:
    """A candidate's jobs in this process, where the fakes are, in place of ``Processes.run``."""
    from workbench.compare.distilled.teacher import ask_teacher
    from workbench.compare.jobs import open_comparison
    from workbench.compare.processes.lasting import is_lasting
    from workbench.compare.processes.pool import CandidateFailedError
    from workbench.compare.processes.worker import run_jobs
    from workbench.compare.searched.trials import run_trial

    try:
        found = open_comparison(self.recipe, self.folder)
        if asks_teacher:
            ask_teacher(found, jobs[0], say)
        elif trial is not None:
            run_trial(found, jobs[0], **trial)
        else:
            run_jobs(found, jobs, say, record)
    except Exception as error:
        raise CandidateFailedError(str(error), is_lasting(error)) from error


def install(set_attribute: Callable[..., None]) -> None:
    """Put the fakes in place; ``set_attribute`` is ``monkeypatch.setattr`` or ``setattr``."""
    import baselines
    from workbench import export
    from workbench.compare.processes.pool import Processes
    from workbench.recipe import stages as recipe_stages
    from workbench.run import engines, steps
    from workbench.run import usage as measuring

    set_attribute(measuring, "LOOK_ON_S", 0.0)
    stages = {name: ("workbench_fakes", f"Fake{name.capitalize()}") for name in ("gepa", "grpo", "calibrate", "sft")}
    set_attribute(recipe_stages, "STAGES", stages)
    set_attribute(engines, "open_engine", _open_fake)
    # A fake holds no memory, and to look through all that a test process has imported takes half a second.
    for user in (engines, steps):
        set_attribute(user, "let_go", lambda: None)
    known = baselines.BASELINES
    candidates = {"majority": known["majority"], "words": known["sgd-ngrams"], "absent": _absent, "broken": _broken}
    set_attribute(baselines, "BASELINES", candidates)
    set_attribute(Processes, "run", run_candidate_here)
    if os.environ.get("KILL") == "bundle":
        verify = export.verify

        def kill(*arguments: Any) -> Any:
            verify(*arguments)
            os._exit(9)

        set_attribute(export, "verify", kill)


def without_plots(set_attribute: Callable[..., None]) -> None:
    """Draw nothing, which takes most of a small comparison's time."""
    from workbench.report.plots import figures as plots

    set_attribute(plots, "figures", lambda *arguments: {})


def without_tracking(set_attribute: Callable[..., None]) -> None:
    """Replace MLflow, which takes seconds to start, where tracking is not what is tested."""
    from workbench.run import session as run

    class Silent:
        run_id = uri = "none"

        def __init__(self, *arguments: Any) -> None: ...

        def __enter__(self) -> Silent:
            return self

        def __exit__(self, *arguments: Any) -> None: ...

        def __getattr__(self, name: str) -> Any:
            return (lambda *a, **k: self) if name in ("opened", "step") else (lambda *a, **k: None)

    set_attribute(run, "open_tracking", Silent)


if __name__ == "__main__":
    install(setattr)
    if os.environ.get("TRACKING") == "off":
        without_tracking(setattr)
    without_plots(setattr)
    from workbench.cli import main

    sys.exit(main())
