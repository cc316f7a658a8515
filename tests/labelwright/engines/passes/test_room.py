"""What an engine does where its device has not the memory for a pass; how it is measured: ``packed/test_memory.py``."""

import warnings

import numpy as np
import pytest
import torch
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.passes.room import Room
from labelwright.engines.settings import EngineSettings
from labelwright.errors import ModelError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

LABELS = ("pool", "water heater", "water", "fence", "hvac")
TEXTS = ["the pool is green", "no hot water", "my fence post broke near the gate today", "vent"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tiny_model_folder(tmp_path_factory.mktemp("model"))
    return open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32"))


@pytest.fixture
def prompt(engine):
    return Prompt("Name the topic.", tuple(map(Label, LABELS)), template=engine.template)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB, other allocations: 1 GB, max allowed: 9 GB)."),
]


@pytest.mark.parametrize("mass", [0.0, 1e-4])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "mps"])
def test_out_of_memory_makes_passes_smaller_and_scores_stay(engine, prompt, monkeypatch, mass, error):
    """A device that cannot take more than so many tokens; what was too much is remembered, and told once."""
    monkeypatch.setattr(engine, "unexpanded_mass", mass)
    monkeypatch.setattr(engine, "_room", Room())
    texts = [f"{text} {number}" for number in range(4) for text in TEXTS]
    whole = engine.score(prompt.render_all(texts), prompt.options)
    decoder, sizes, failed = engine.decoder, [], []

    def small(packed, places=None):
        sizes.append(packed.input_ids.shape[1])
        if sizes[-1] > most:
            failed.append(sizes[-1])
            raise error
        return decoder(packed, places)

    monkeypatch.setattr(engine, "decoder", small)
    most = 10_000
    engine.score(prompt.render_all(texts), prompt.options)
    most = max(sizes) // 3
    with pytest.warns(RuntimeWarning, match="no memory for a pass of .* the same scores") as told:
        np.testing.assert_allclose(engine.score(prompt.render_all(texts), prompt.options), whole, atol=1e-4)
    assert len(told) == 1
    assert failed
    failed.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(engine.score(prompt.render_all(texts), prompt.options), whole, atol=1e-4)
    assert not failed, "what was too much once is not tried again"
    most = 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match=r"cpu has no memory left for a row of \d+ tokens: use a smaller"):
            engine.score(prompt.render_all(texts), prompt.options)
        engine.forget()
        with pytest.raises(ModelError, match="no memory left for a prompt's beginning"):
            engine.score(prompt.render_all(texts), prompt.options)


def test_another_fault_is_no_lack_of_memory(engine, prompt, monkeypatch):
    monkeypatch.setattr(engine, "_score_rows", lambda *_: (_ for _ in ()).throw(RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine.score(prompt.render_all(TEXTS), prompt.options)
    assert engine._room.most_tokens is None
