"""Scoring on a real CUDA device, held to the processor; skipped where there is none."""

import warnings

import numpy as np
import pytest
import torch
from tiny import CORPUS, tiny_model, tiny_tokenizer

from labelwright.engines.packed.memory import meter_of
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import UNCALIBRATED

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

OPTIONS = tuple(" " + name for name in ("pool", "water heater", "water", "fence", "hvac", "hot water tank"))
WORDS = tuple(dict.fromkeys(word for line in CORPUS for word in line.split()))


def rows(n, seed=0):
    chance = np.random.default_rng(seed)
    texts = (" ".join(chance.choice(WORDS, size=size)) for size in chance.integers(1, 40, size=n))
    return [Rendered("<|im_start|>user\n", "name the topic\n", "Message: ", text, "\nLabel:") for text in texts]


def engine(device, dtype=torch.float32, arch="llama", **settings):
    tokenizer = tiny_tokenizer()
    model = tiny_model(arch, vocab_size=len(tokenizer)).to(dtype).to(device)
    return TransformersEngine(model, tokenizer, settings=EngineSettings(**settings))


@pytest.mark.parametrize("arch", ["llama", "qwen3"])
@pytest.mark.parametrize("unexpanded_mass", [0.0, 1e-3])
def test_scores_are_the_processors(arch, unexpanded_mass):
    here, there = (engine(device, arch=arch, unexpanded_mass=unexpanded_mass) for device in ("cpu", "cuda"))
    asked = rows(200)
    np.testing.assert_allclose(
        np.exp(there.score(asked, OPTIONS, UNCALIBRATED)), np.exp(here.score(asked, OPTIONS, UNCALIBRATED)), atol=1e-4
    )


def test_in_bfloat16_they_are_those_of_float32_to_rounding():
    exact, rounded = engine("cuda", unexpanded_mass=0.0), engine("cuda", torch.bfloat16, unexpanded_mass=0.0)
    asked = rows(200)
    apart = np.exp(rounded.score(asked, OPTIONS, UNCALIBRATED)) - np.exp(exact.score(asked, OPTIONS, UNCALIBRATED))
    assert 0 < np.abs(apart).max() < 0.1
    assert np.abs(apart).mean() < 0.01


@pytest.fixture
def little_memory():
    """So many more bytes than are taken may be taken."""
    whole = torch.cuda.get_device_properties(0).total_memory

    def leave(n_bytes):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min((torch.cuda.memory_reserved() + n_bytes) / whole, 1.0))

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_where_memory_runs_out_passes_are_halved_and_scores_stay(little_memory):
    one = engine("cuda", unexpanded_mass=0.0)
    asked = rows(4000)
    expected = one.score(asked, OPTIONS, UNCALIBRATED)
    one.forget()
    little_memory(2**22)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        got = one.score(asked, OPTIONS, UNCALIBRATED)
    assert [str(one.message) for one in said if "has no memory for a pass" in str(one.message)]
    np.testing.assert_allclose(np.exp(got), np.exp(expected), atol=1e-4)


def test_a_pass_is_sized_by_what_the_device_has():
    """A pass of the size that is found takes what it may of the device's free memory, and not much more."""
    one, meter = engine("cuda"), meter_of(torch.device("cuda"))
    n_tokens, free = one.pass_tokens, meter.free_bytes()
    assert n_tokens & (n_tokens - 1) == 0
    assert meter.peak_bytes(lambda: one.score(rows(4000), OPTIONS, UNCALIBRATED)) < free
