"""The fused kernel against products and a softmax, by the scores that come out: the device alone decides which."""

import numpy as np
import pytest
import torch
from tiny import CORPUS, tiny_model, tiny_tokenizer

from labelwright.engines.packed import attention
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import UNCALIBRATED

OPTIONS = tuple(" " + name for name in ("pool", "water heater", "water", "fence", "hvac", "hot water tank"))
WORDS = tuple(dict.fromkeys(word for line in CORPUS for word in line.split()))
# Rows that are all of one length are laid out without padding; a row alone reads the prefix by itself.
LENGTHS = {"of all lengths": range(1, 30), "of one length": [7] * 12, "alone": [5]}


def rows(lengths):
    chance = np.random.default_rng(0)
    texts = (" ".join(chance.choice(WORDS, size=size)) for size in lengths)
    return [Rendered("<|im_start|>user\n", "name the topic\n", "Message: ", text, "\nLabel:") for text in texts]


@pytest.fixture
def fused(monkeypatch):
    """Within this the processor has a fused kernel, and says how often it was called."""
    called = []
    inner = attention.F.scaled_dot_product_attention

    def watched(*given, **named):
        called.append(1)
        return inner(*given, **named)

    def switch(on):
        monkeypatch.setattr(attention, "FUSED", {"cpu"} if on else set())
        monkeypatch.setattr(attention.F, "scaled_dot_product_attention", watched)
        called.clear()
        return called

    return switch


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("unexpanded_mass", [0.0, 1e-2])
@pytest.mark.parametrize("arch", ["llama", "granite"])
def test_scores_are_those_of_products_and_a_softmax(fused, lengths, unexpanded_mass, arch):
    tokenizer = tiny_tokenizer()
    settings = EngineSettings(unexpanded_mass=unexpanded_mass)
    engine = TransformersEngine(tiny_model(arch, vocab_size=len(tokenizer)), tokenizer, settings=settings)
    asked, found = rows(lengths), []
    for on in (False, True):
        called = fused(on)
        engine.forget()
        found.append(engine.score(asked, OPTIONS, UNCALIBRATED))
        assert bool(called) == on
    np.testing.assert_allclose(*np.exp(found), atol=1e-5)


def test_where_its_copies_would_be_too_large_the_plain_way_is_taken(fused, monkeypatch):
    tokenizer = tiny_tokenizer()
    engine = TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer)
    called = fused(True)
    monkeypatch.setattr(attention, "FUSED_BYTES", 0)
    engine.score(rows([20] * 8), OPTIONS, UNCALIBRATED)
    assert not called


@pytest.mark.parametrize("trained", ["", "layers.0.self_attn.q_proj", "layers.0.self_attn.v_proj"])
def test_what_is_learnt_from_goes_the_plain_way(fused, trained):
    from labelwright.engines.options.tree import OptionTree
    from labelwright.engines.packed.edges import tree_log_probs
    from labelwright.engines.packed.interface import ATTENTION
    from labelwright.engines.packed.packing import Row

    model = tiny_model()
    model.set_attn_implementation(ATTENTION)
    tree = OptionTree.build([[5, 6, 2], [5, 7, 2], [8, 2]])
    given = (model, (60, 61, 62), [Row((3, 4, 5), tree), Row((7,), tree)])
    called = fused(True)
    if trained:
        for name, weight in model.named_parameters():
            weight.requires_grad_(trained in name)
    learnt, _ = tree_log_probs(*given)
    assert not called
    with torch.no_grad():
        looked, _ = tree_log_probs(*given)
    assert called
    torch.testing.assert_close(learnt.detach(), looked)
