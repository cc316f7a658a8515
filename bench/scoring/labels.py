"""How the scorer's time grows with the number of labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.scoring.packing import count_fed, expansion
from bench.setting import Setting, open_setting, tuned_setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.data.asked.questions import Question, put
from labelwright.data.task import Label, Task
from labelwright.errors import DataError
from labelwright.prompt import Prompt, Style

BANKING77 = Path("../shared/data/banking77/train.jsonl")
# Its newest exported bundle is the one with 77 labels.
MANY_LABELS = Path("runs/banking77-sft.toml")
MANY_NAMES_GOAL, TUNED_NAMES_GOAL, MANY_CODES_GOAL, POINTS_GOAL = 2.0, 2.5, 1.2, 2.5
N_CODES = 151


def banking77_names(path: Path = BANKING77) -> list[str]:
    """The 77 label names. Raises DataError where the dataset is not there."""
    if not path.is_file():
        raise DataError(f"{path}: not there, and this part needs Banking77's label names; leave it out with --only")
    with path.open(encoding="utf-8") as lines:
        return sorted({json.loads(line)["label"] for line in lines})


def with_labels(setting: Setting, names: Sequence[str], style: Style) -> Setting:
    """The same rows, model and instructions under other labels."""
    task = Task("labels", setting.prompt.instructions, tuple(map(Label, names)))
    return replace(setting, task=task, prompt=Prompt.for_task(task, setting.engine.template, style))


def labels_77_vs_18(setting: Setting, n_rows: int = 16, rounds: int = 3) -> Measurement:
    """Time a row with Banking77's 77 names over that with the recipe's labels; the model untuned, so all are open."""
    return _time_ratio(
        "labels_77_vs_18",
        with_labels(setting, banking77_names(), "name"),
        with_labels(setting, setting.task.names, "name"),
        (n_rows, rounds, MANY_NAMES_GOAL),
    )


def labels_77_vs_18_tuned(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """Time a row of a tuned bundle of 77 labels over that of one of 18, each on dev rows of its own task.

    Rows, labels' names, weights and calibration are the bundles' own, for how many options are followed to their end
    depends on how sure a model is. ``facts`` says how sure, and how long rows and prompts are.

    Raises
    ------
    DataError
        No run of ``MANY_LABELS`` has an exported bundle.
    """
    many = tuned_setting(open_setting(MANY_LABELS))
    if many is None:
        raise DataError(
            f"{MANY_LABELS}: none of its runs has an exported bundle, and this part needs one: "
            f"make demo RECIPE={MANY_LABELS}"
        )
    return _time_ratio("labels_77_vs_18_tuned", many.on_dev(), setting.on_dev(), (n_rows, rounds, TUNED_NAMES_GOAL))


def codes_151_vs_18(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """Time a row with 151 two-letter codes over that with 18; the names behind the codes are in the prompt."""
    names = [*setting.task.names, *(f"{name} {number}" for number in range(2, 20) for name in setting.task.names)]
    return _time_ratio(
        "codes_151_vs_18",
        with_labels(setting, names[:N_CODES], "code"),
        with_labels(setting, names[:18], "code"),
        (n_rows, rounds, MANY_CODES_GOAL),
    )


def points_vs_choice(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """Time a row that is asked of every label whether it applies, over one that is asked which label does."""
    question = Question("topics", "labels", setting.task.labels)
    task = Task.asking("labels", setting.prompt.instructions, [question])
    examples = [replace(row, text=put(row.text, task.points[0])) for row in setting.examples]
    prompt = Prompt.for_task(task, setting.engine.template)
    asked = replace(setting, task=task, prompt=prompt, examples=tuple(examples))
    return _time_ratio(
        "points_vs_choice", asked, with_labels(setting, setting.task.names, "name"), (n_rows, rounds, POINTS_GOAL)
    )


def expansion_77(setting: Setting, n_rows: int = 16, rounds: int = 3) -> Measurement:
    """What leaving options unexpanded saves with Banking77's 77 names."""
    return expansion(with_labels(setting, banking77_names(), "name"), n_rows, rounds, "expansion_77")


def expansion_151(setting: Setting, n_rows: int = 8, rounds: int = 3) -> Measurement:
    """What leaving options unexpanded saves with 151 names: Banking77's, and numbered ones of the recipe."""
    numbered = [f"{name} {number}" for number in range(2, 20) for name in setting.task.names]
    names = [*banking77_names(), *setting.task.names, *numbered][:N_CODES]
    return expansion(with_labels(setting, names, "name"), n_rows, rounds, "expansion_151")


def _time_ratio(name: str, many: Setting, few: Setting, how: tuple[int, int, float]) -> Measurement:
    n_rows, rounds, goal = how
    sides = {"many": many, "few": few}

    # All points of a row count, so none may be left unexpanded.
    calibrations = {side: None if one.prompt.points else one.calibration for side, one in sides.items()}
    scores: dict[str, NDArray[np.float64]] = {}

    def ms_per_row(side: str) -> float:
        setting = sides[side]
        prompts = setting.rendered(n_rows)

        def score() -> None:
            scores[side] = setting.engine.score(prompts, setting.prompt.options, calibrations[side])

        return 1000 * seconds_of(score) / len(prompts)

    for side in sides:  # prefixes are warm, as they are from the second call on
        ms_per_row(side)
    taken = take_turns({side: partial(ms_per_row, side) for side in sides}, rounds)
    facts: dict[str, dict[str, float]] = {}
    for side, setting in sides.items():
        tokens, prompts, calibration = setting.engine.tokens, setting.rendered(n_rows), calibrations[side]
        facts[side] = {
            "rows": len(prompts),
            "labels": len(setting.task.points) or len(setting.task.names),
            "prefix_tokens": len(tokens.prefix(prompts[0])),
            "row_tokens_mean": float(np.mean([len(tokens.row(prompt)) for prompt in prompts])),
            "nodes": tokens.tree(setting.prompt.options).n_nodes,
            "nodes_fed_mean": count_fed(setting, n_rows, calibration),
        }
        if calibration is not None:
            facts[side]["confidence_mean"] = float(calibration.apply(scores[side]).max(axis=1).mean())
    return ratio(
        name,
        pairwise(taken["many"], taken["few"]),
        goal=goal,
        at_most=True,
        sides={side: Side("ms/row", tuple(values)) for side, values in taken.items()},
        facts=facts,
    )
