"""How a pass is sized by what a device has, and what running out of memory looks like."""

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from labelwright.engines import transformers
from labelwright.engines.packed.memory import SHARE, fitting_tokens, is_out_of_memory, meter_of
from labelwright.engines.transformers import TransformersEngine


class FakeMeter:
    """A device on which a pass takes so much, and so much more a token."""

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


@pytest.mark.parametrize(("free", "expected"), [(10**9, 4096), (200_000, 990), (0, 64)])
def test_a_pass_takes_its_share_of_what_is_free(free, expected):
    meter = FakeMeter(free, 100)
    assert fitting_tokens(meter, meter.tried.append, 4096) == expected
    assert expected in (4096, 64) or 1000 + 100 * expected <= SHARE * free


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("a text about being out of memory"), False),
    ],
)
def test_what_no_memory_looks_like(error, is_one):
    assert is_out_of_memory(error) == is_one


def test_a_processor_is_not_measured_and_a_device_with_a_meter_is_once(monkeypatch):
    assert meter_of(torch.device("cpu")) is meter_of(torch.device("mps")) is None
    tokenizer = tiny_tokenizer()
    engine = TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer)
    assert engine.pass_tokens == transformers.PACK_TOKENS["cpu"]
    monkeypatch.setitem(transformers.PACK_TOKENS, "cpu", 4096)
    meter = FakeMeter(300_000, 500)
    decoder = engine.decoder
    monkeypatch.setattr(
        engine,
        "decoder",
        lambda packed, places: meter.tried.append(packed.input_ids.shape[1]) or decoder(packed, places),
    )
    monkeypatch.setattr(transformers, "meter_of", lambda _: meter)
    assert engine.pass_tokens == (SHARE * 300_000 - 1000) // 500 == 298
    assert engine.pass_tokens == 298
    assert len(meter.tried) == 3
