"""How a pass is sized by what a device has, and what running out of memory looks like."""

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from labelwright.engines.packed import memory
from labelwright.engines.packed.memory import SHARE, fitting_tokens, is_out_of_memory, meter_of
from labelwright.engines.packed.self_check import refusing
from labelwright.engines.passes import room
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import ModelError


class FakeMeter:
    """A device on which a pass takes so much, and so much more a token."""

    device = torch.device("cpu")

    def __init__(self, free, a_token, a_pass=1000):
        self.free, self.a_token, self.a_pass = free, a_token, a_pass
        self.tried = []

    def free_bytes(self):
        return self.free

    def peak_bytes(self, run):
        before = len(self.tried)
        run()
        (n_tokens,) = self.tried[before:]
        return self.a_pass + self.a_token * n_tokens


@pytest.mark.parametrize(("free", "expected"), [(10**9, 4096), (200_000, 512), (207_000, 1024), (0, 64)])
def test_a_pass_takes_its_share_of_what_is_free(free, expected):
    meter = FakeMeter(free, 100)
    assert fitting_tokens(meter, meter.tried.append, 4096) == expected
    assert expected in (4096, 64) or 1000 + 100 * expected <= SHARE * free


NO_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        *((error, True) for error in NO_MEMORY),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("a text about being out of memory"), False),
    ],
)
def test_what_no_memory_looks_like(error, is_one):
    assert is_out_of_memory(error) == is_one


@pytest.mark.parametrize("most", [0, 64, 255])
@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_trial_that_does_not_fit_leaves_the_small_size(most, error, monkeypatch):
    """Even the smallest that does not: the pass that is asked for may, or says of what row it does not."""
    meter, given_back = FakeMeter(10**9, 100), []

    def trial(n_tokens):
        meter.tried.append(n_tokens)
        if n_tokens > most:
            raise error

    monkeypatch.setattr(memory, "give_back", given_back.append)
    assert fitting_tokens(meter, trial, 4096) == 64
    assert meter.tried == ([64] if not most else [64, 64, 256])
    assert given_back == [meter.device]


def test_another_fault_of_the_trial_is_raised():
    def trial(_):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        fitting_tokens(FakeMeter(10**9, 100), trial, 4096)


def test_a_model_opens_where_the_trial_does_not_fit(monkeypatch):
    monkeypatch.setitem(room.PACK_TOKENS, "cpu", 4096)
    monkeypatch.setattr(room, "meter_of", lambda _: FakeMeter(10**9, 100))

    def none(engine, n_tokens):
        raise NO_MEMORY[0]

    monkeypatch.setattr(room, "try_tokens", none)
    tokenizer = tiny_tokenizer()
    engine = TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer)
    assert engine.pass_tokens == 64


@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_model_that_leaves_no_memory_is_not_called_one_of_the_wrong_kind(error):
    said = "smol leaves no memory on its device: use a smaller model"
    with pytest.raises(ModelError, match=said), refusing(object(), "smol"):
        raise error


def test_a_processor_is_not_measured_and_a_device_with_a_meter_is_once(monkeypatch):
    assert meter_of(torch.device("cpu")) is meter_of(torch.device("mps")) is None
    tokenizer = tiny_tokenizer()
    engine = TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer)
    assert engine.pass_tokens == room.PACK_TOKENS["cpu"]
    monkeypatch.setitem(room.PACK_TOKENS, "cpu", 4096)
    meter = FakeMeter(300_000, 500)
    of_one_model = [engine, TransformersEngine(engine.model, tokenizer, check=False)]
    for one in of_one_model:
        monkeypatch.setattr(one, "decoder", told(meter, one.decoder))
    monkeypatch.setattr(room, "meter_of", lambda _: meter)
    assert (SHARE * 300_000 - 1000) // 500 == 298
    assert [one.pass_tokens for one in of_one_model * 2] == [256] * 4
    assert meter.tried == [64, 64, 256], "measured once, of whichever engine"


def told(meter, decoder):
    return lambda packed, places: meter.tried.append(packed.input_ids.shape[1]) or decoder(packed, places)
