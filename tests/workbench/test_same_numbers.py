"""A whole small run, real stages on a tiny model, against the numbers that the same run gave before.

Who changes how the house is built, and not what it does, is held to this: sides, answers and probabilities of every
candidate, and the report's numbers. Who changes what it does writes the numbers anew, and looks at what changed:

    LABELWRIGHT_WRITE_EXPECTED=1 .venv/bin/python -m pytest tests/workbench/test_same_numbers.py
    git diff tests/workbench/same_numbers.json

On the machine that wrote them not a digit changes, so there the second command says more than the test, which allows
for other machines' rounding. Times, sizes and what hangs on them (the frontier, the verdict's words) are left out; what
ships is the faster of two that are far apart. One thread, so that sums are taken in one order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import workbench_fakes
from fakes import WORDS
from static_model import static_model_folder
from tiny import tiny_model_folder
from tiny_models import encoder_folder

from workbench.cli import main
from workbench.run.folder import runs_of

EXPECTED = Path(__file__).with_name("same_numbers.json")
# By how much numbers may differ. What is counted, or computed from answers alone, does not; probabilities do, those of
# n-grams least, those of an encoder trained for many steps most: Adam makes steps of gradients that are rounding alone.
# A share of resamples and an error over bins jump where a probability moves a little.
TOLERANCES = {
    "sides": 0.0,
    "answers": 0.0,
    "probabilities": 2e-3,
    "counted": 1e-6,
    "probable": 2e-3,
    "jumping": 2e-2,
    "verdict": 1e-6,
    "steps": 2e-3,
}
OF_KINDS = {"majority": 1e-4, "sgd-": 1e-4, "encoder-": 2e-2}
OF_JUMPING_ENCODERS = 0.1

RECIPE = """
name = "same"
seed = 5
stages = ["gepa", "grpo", "calibrate"]
[data]
path = "rows.jsonl"
group = "group"
id = "id"
[splits]
dev = 0.15
calib = 0.2
test = 0.25
[task]
instructions = "Name the topic of the message."
labels = ["pool", "fence", "hvac"]
style = "code"
[model]
name = "model"
device = "cpu"
dtype = "float32"
[gepa]
max_metric_calls = 200
minibatch_size = 8
proposals_per_step = 2
num_threads = 1
confidence = 0.0
[grpo]
steps = 3
rows_per_step = 8
learning_rate = 1e-2
eval_every = 1
lora_rank = 4
[sft]
steps = 3
rows_per_step = 8
learning_rate = 1e-3
eval_every = 1
lora_rank = 4
[demos]
per_label = [1]
draws = 1
encoder = "model2vec:static"
[neighbours]
k = [2, 4]
encoder = "model2vec:static"
[baselines]
names = ["majority", "sgd-ngrams", "sgd-chars", "minilm-nearest-name", "minilm-logreg", "encoder-lora"]
[baselines.settings.minilm-nearest-name]
encoder = "model2vec:static"
[baselines.settings.minilm-logreg]
encoder = "model2vec:static"
strengths = [1.0, 10.0]
[baselines.settings.encoder-lora]
model = "encoder"
epochs = 2
[models]
candidates = ["free", "untuned", "prior", "demos", "neighbours", "sft", "untuned@name", "sft+grpo"]
[ensemble]
most_members = 0
[cascade]
most_levels = 0
[compare]
seeds = 2
curves = ["sgd-ngrams"]
curve_rows = [4]
noise = ["sgd-ngrams", "minilm-logreg"]
generate_rows = 6
latency_rows = 15
bootstrap = 400
margin = 0.35
[export]
golden_rows = 4
[tracking]
system_metrics = false
"""

FRAMES = (
    "my thing has a {} near the {} and {} no {}",
    "the {} broke so who mends a {} today, or the {}, {}",
    "water in the {}, then the {} and {} number {}",
)


def write_rows(path: Path, n_groups: int = 30) -> None:
    """Two rows a group; words of other topics among a topic's own, so that no candidate is always right."""
    chance = random.Random(11)
    every = [word for words in WORDS.values() for word in words]
    lines = []
    for label, words in WORDS.items():
        for group in range(n_groups):
            said = [chance.choice(words if chance.random() < 0.6 else every) for _ in range(3)]
            for side in "ab":
                text = chance.choice(FRAMES).format(*said, group)
                row = {"id": f"{label}-{group}{side}", "text": text, "label": label, "group": f"{label}-{group}"}
                lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What ``make demo`` gave just now."""
    folder = tmp_path_factory.mktemp("same")
    write_rows(folder / "rows.jsonl")
    (folder / "same.toml").write_text(RECIPE, encoding="utf-8")
    # Of the seeds tried, one of which prompt and weights get better on dev: else every stage leaves the same model.
    tiny_model_folder(folder / "model", seed=5, spread=0.2)
    static_model_folder(folder / "static")
    encoder_folder(folder / "encoder")
    n_threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # Every candidate in this process, and no looking on before what is timed: seconds for each of them.
        patch.setattr("workbench.compare.processes.pool.Processes.run", workbench_fakes.run_candidate_here)
        patch.setattr("workbench.run.usage.LOOK_ON_S", 0.0)
        workbench_fakes.without_tracking(patch.setattr)
        workbench_fakes.without_plots(patch.setattr)
        torch.set_num_threads(1)
        try:
            assert main(["demo", "same.toml"]) == 0
            assert main(["compare", "same.toml"]) == 0
        finally:
            torch.set_num_threads(n_threads)
        (run,) = runs_of(folder / "runs" / "same")
        read = json.loads(json.dumps(read_results(run)))
    if os.environ.get("LABELWRIGHT_WRITE_EXPECTED"):
        write_expected(read)
    return read


def read_results(run: Path) -> dict[str, dict[str, Any]]:
    """What a user gets of a run, in this test's own words: the one place that knows the files and their keys."""
    splits = json.loads((run / "splits.json").read_text(encoding="utf-8"))
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    bundle = json.loads((run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    golden = [json.loads(line) for line in (run / "bundle" / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    labels, verdict = report["labels"], report["verdict"]
    found: dict[str, dict[str, Any]] = {part: {} for part in TOLERANCES}

    for side, ids in splits["ids"].items():
        found["sides"][side] = f"{len(ids)} rows, {digest(ids)}"
    told = [[row["id"], row["text"], row["label"], row["group"]] for row in rows]
    found["sides"]["rows of the report"] = digest(told)
    found["sides"]["digest"] = report["splits"]["digest"]

    for one in report["candidates"]:
        name = one["name"]
        assert not one["failed"], f"{name}: {one['failed']}"
        given = [row["candidates"][name] for row in rows]
        # One sign a row: the label's place, or - where what was written is no label.
        places = [labels.index(row["label"]) if row["label"] is not None else "-" for row in given]
        found["answers"][name] = "".join(map(str, places))
        if one["kind"] != "free":
            for label in labels:
                found["probabilities"][f"{name} {label}"] = [row["probabilities"][label] for row in given]

        counted, probable, jumping = found["counted"], found["probable"], found["jumping"]
        parts = {"accuracy": counted, "macro_f1": counted, "log_loss": probable, "brier": probable, "ece": jumping}
        for when in ("test", "raw"):
            for metric, interval in one[when].items():
                parts[metric][f"{name} {metric}, {when}"] = numbers(interval)
        for metric, difference in (one["against_best"] or {}).items():
            parts[metric][f"{name} {metric} against the best"] = numbers(difference["value"])
            p_values = counted if parts[metric] is counted else jumping
            p_values[f"{name} p of {metric}"] = [difference["p_value"], difference["p_holm"]]
        for key in ("n_only_this", "n_only_best", "standing"):
            counted[f"{name} {key}"] = one[key]
        for n, repeat in enumerate(one["repeats"]):
            for metric, value in repeat["scores"].items():
                parts[metric][f"{name} {metric}, repeat {n}"] = value
        for side, spread in one["spread"].items():
            for metric in spread["mean"]:
                parts[metric][f"{name} {metric}, {side}"] = [spread["n"], spread["mean"][metric], spread["sd"][metric]]
        counted[f"{name} curve"] = [[point["per_label"], point["n_rows"], point["accuracy"]] for point in one["curve"]]
        if one["generation"]:
            written = one["generation"]
            counted[f"{name} written"] = [written["n_rows"], *numbers(written["valid"]), *numbers(written["right"])]
        made = one["calibration"]
        if made:
            counted[f"{name} calibration"] = made["variant"]
            probable[f"{name} calibration"] = [made["log_loss_before"], made["log_loss_after"]]

    for key in ("best", "tuned", "best_baseline", "as_good", "not_told_apart", "margin", "p_value"):
        found["verdict"][key] = verdict[key]
    # Which of those that are as good is shipped hangs on measured times.
    found["verdict"]["ships one that is as good"] = verdict["ship"] in (verdict["best"], *verdict["as_good"])
    found["verdict"]["difference"] = numbers(verdict["difference"])
    found["verdict"]["suspects"] = [[one["side"], one["id"], one["suggested"]] for one in report["suspects"]]

    for step in report["stages"]:
        for key, value in (*step["dev"].items(), *step["decided"].items()):
            # Settings are the recipe's; what is calibrated is told above, by what it does.
            if key not in ("settings", "calibration", "decision") and "seconds" not in key:
                found["steps"][f"{step['folder']}: {key}"] = value
    found["steps"]["bundle: instructions"] = bundle["prompt"]["instructions"]
    found["steps"]["bundle: golden rows"] = [[row["id"], row["probabilities"]] for row in golden]
    return found


def numbers(interval: Mapping[str, float]) -> list[float]:
    return [interval["value"], interval["low"], interval["high"]]


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def write_expected(found: Mapping[str, Mapping[str, Any]]) -> None:
    """One line a value, so that a change can be read."""
    parts = []
    for part, values in found.items():
        n_digits = 5 if part == "probabilities" else 6
        lines = [f" {json.dumps(key)}: {json.dumps(rounded(value, n_digits))}" for key, value in values.items()]
        parts.append(f"{json.dumps(part)}: {{\n" + ",\n".join(lines) + "\n}")
    EXPECTED.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def rounded(value: Any, n_digits: int) -> Any:
    if isinstance(value, dict):
        return {key: rounded(inner, n_digits) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner, n_digits) for inner in value]
    return round(value, n_digits) if isinstance(value, float) else value


def differences(part: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """One line for every value that is not as expected."""
    lines = [f"{key}: is not in {EXPECTED.name}" for key in found if key not in expected]
    for key, value in expected.items():
        tolerance = tolerance_of(part, key)
        if key not in found:
            lines.append(f"{key}: is gone")
        elif not near(value, found[key], tolerance):
            lines.append(f"{key}: expected {value}, found {found[key]}")
    return lines


def tolerance_of(part: str, key: str) -> float:
    if part in ("probabilities", "probable"):
        return next((known for kind, known in OF_KINDS.items() if key.startswith(kind)), TOLERANCES[part])
    if part == "jumping" and key.startswith("encoder-"):
        # Errors over bins of a few dozen rows: one probability that moves past an edge takes its row along.
        return OF_JUMPING_ENCODERS
    return TOLERANCES["jumping" if part == "steps" and key.endswith(("ece", "aurc")) else part]


def near(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(near(expected[key], found[key], tolerance) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(near, expected, found, [tolerance] * len(found)))
    if isinstance(expected, float) and isinstance(found, float):
        return abs(expected - found) <= tolerance
    return bool(expected == found) and type(expected) is type(found)


@pytest.mark.parametrize("part", TOLERANCES)
def test_the_same_recipe_and_seed_give_the_same_numbers(found: dict[str, dict[str, Any]], part: str) -> None:
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    assert set(expected) == set(found)
    changed = differences(part, expected[part], found[part])
    assert not changed, "\n".join([f"{len(changed)} of {len(expected[part])} values changed", *changed[:20]])


def test_every_stage_changes_what_is_answered() -> None:
    """Of a stage that changes nothing, the same numbers would be no news."""
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    answers, steps = expected["answers"], expected["steps"]
    chains = [("untuned", "gepa", "gepa+grpo"), ("untuned", "sft", "sft+grpo")]
    for before, after in [pair for chain in chains for pair in itertools.pairwise(chain)]:
        assert answers[before] != answers[after], f"{after} answers as {before} does"
    assert {steps[f"{folder}: improved"] for folder in ("1-gepa", "2-grpo", "sft", "sft+grpo")} == {True}


def altered(value: Any, by: float) -> Any:
    """The last number or word in it is another."""
    if isinstance(value, dict):
        last = list(value)[-1]
        return {**value, last: altered(value[last], by)}
    if isinstance(value, list):
        return [*value[:-1], altered(value[-1], by)] if value else [0]
    if isinstance(value, float):
        return value + by
    return f"{value}." if isinstance(value, str) else int(value or 0) + 1


@pytest.mark.parametrize("part", TOLERANCES)
def test_every_value_that_changes_is_told(part: str) -> None:
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))[part]
    for key, value in expected.items():
        changed = {**expected, key: altered(value, 1.01 * tolerance_of(part, key))}
        assert [line.partition(": ")[0] for line in differences(part, expected, changed)] == [key.partition(": ")[0]]
    assert len(differences(part, expected, {})) == len(differences(part, {}, expected)) == len(expected)
