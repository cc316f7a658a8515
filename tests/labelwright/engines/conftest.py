"""Two tiny models behind the in-process engine, and a prompt whose labels begin alike."""

import pytest
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

LABELS = ("pool", "water heater", "water", "fence", "hvac")


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def engine(request, tmp_path_factory):
    folder = tiny_model_folder(tmp_path_factory.mktemp(request.param), request.param)
    return open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32"))


@pytest.fixture
def prompt(engine):
    return Prompt("Name the topic.", tuple(map(Label, LABELS)), template=engine.template)
