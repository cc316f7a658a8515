"""What the bench's tests measure on: a tiny model, and a recipe over it."""

import json
import math

import pytest
from fakes import toy_examples, toy_splits, toy_task
from tiny import tiny_model_folder

from bench.setting import Setting
from bench.timing import Measurement
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

RECIPE = """
name = "toy"
seed = 3
[data]
path = "{data}"
group = "group"
[task]
instructions = "Name the topic of the message."
labels = ["pool", "fence", "hvac"]
[model]
name = "{model}"
device = "cpu"
dtype = "float32"
[grpo] # the weights
steps = 90
mode = "exact"
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model_folder(folder)
    return folder


@pytest.fixture(scope="session")
def setting(model):
    engine = TransformersEngine.open(Base(str(model)), EngineSettings(device="cpu", dtype="float32"))
    prompt = Prompt.for_task(toy_task(), engine.template, style="code")
    return Setting(toy_task(), prompt, toy_splits().train, Base(str(model)), engine)


@pytest.fixture
def recipe(model, tmp_path):
    data = tmp_path / "rows.jsonl"
    rows = [{"text": row.text, "label": row.label, "group": row.group} for row in toy_examples()]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE.format(data=data, model=model), encoding="utf-8")
    return path


@pytest.fixture
def shows_both_sides():
    """Whether a measurement has the sides named, a finite value a round for each, and survives JSON."""

    def check(measured: Measurement, sides, n_rounds):
        assert set(measured.sides) == sides
        for side in measured.sides.values():
            assert len(side.values) == n_rounds
            assert all(math.isfinite(value) and value > 0 for value in side.values)
        assert 0 < measured.low <= measured.value <= measured.high
        assert json.loads(json.dumps(measured.as_json()))["sides"].keys() == sides

    return check
