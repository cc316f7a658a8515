"""The tree scorer over transformers' causal architectures: right to 1e-4, or refused in one line.

``LABELWRIGHT_ALL_ARCHITECTURES=1 python -m pytest tests/labelwright/engines/test_architectures.py`` goes through all of
them (some minutes); otherwise a few that differ in kind. What became of each stands in ``architectures.toml``.
"""

import os
import tomllib
from pathlib import Path

import pytest
import torch
from tiny import tiny_tokenizer

from labelwright.engines.packed.heads import OwnHead, open_head
from labelwright.engines.packed.interface import ATTENTION
from labelwright.engines.transformers import TransformersEngine
from labelwright.prompt import Rendered

from architectures import ARCHITECTURES, EXTRA, WINDOW, tiny_of, verdict  # isort: skip

OUTCOMES = {
    name: outcome
    for outcome, names in tomllib.loads((Path(__file__).parent / "architectures.toml").read_text()).items()
    for name in names
}
OFTEN = [
    # Logits or hidden states scaled, logits and attention capped, sinks, latent attention, experts
    *("granite", "granitemoe", "cohere", "minicpm3", "gemma2", "gemma3_text", "gemma4_text", "gpt_oss", "deepseek_v3"),
    # windows everywhere, in every other layer, beside sinks
    *("mistral", "phi3", "starcoder2", "cohere2", "granite_swa"),
    # keyword arguments that go astray, learned positions, other norms
    *("stablelm", "nemotron", "gpt2", "gpt_neox", "opt", "gemma", "olmo2", "llama", "qwen2", "qwen3"),
    # attention of their own, biased by distance, recurrent, by an index, behind an encoder
    *("bloom", "codegen", "falcon", "gptj", "mpt", "xglm", "falcon_mamba", "lfm2", "deepseek_v32", "bart"),
]


@pytest.mark.parametrize("name", OFTEN)
def test_an_architecture_is_right_or_refused(name):
    outcome, details = verdict(name)
    assert outcome == OUTCOMES[name], details
    assert "\n" not in details


@pytest.mark.skipif("LABELWRIGHT_ALL_ARCHITECTURES" not in os.environ, reason="only where asked for")
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OFTEN])
def test_every_other_architecture_is_right_or_refused(name):
    outcome, details = verdict(name)
    # A new version of transformers brings new ones: they must be right or refused, and be written down.
    assert outcome == OUTCOMES.get(name, "unlisted"), details


@pytest.mark.parametrize("name", ["mistral", "phi3", "starcoder2", "gemma2"])
def test_a_window_counts(name):
    """Without its window the model would answer otherwise, so the test above tests something."""
    plain, wide = tiny_of(name), tiny_of(name, sliding_window=512)
    wide.load_state_dict(plain.state_dict())
    ids = torch.arange(5, 5 + 3 * WINDOW)[None]
    with torch.no_grad():
        assert (plain(ids).logits - wide(ids).logits).abs().max() > 0.01


@pytest.mark.parametrize("name", ["granite", "cohere", "gemma2", "minicpm3"])
def test_what_happens_to_the_logits_counts(name):
    model = tiny_of(name)
    assert isinstance(open_head(model), OwnHead)
    hidden = torch.randn(3, model.config.hidden_size)
    with torch.no_grad():
        plain = model.get_output_embeddings()(hidden)
        assert (open_head(model).logits(hidden)[0] - plain).abs().max() > 0.01


@pytest.mark.parametrize("name", [name for name in OFTEN if OUTCOMES[name] == "right"])
def test_rows_share_a_prefix_while_they_are_written_to(name):
    """Padding in between shows in none of them; where a layer would notice it, they are read whole."""
    engine = TransformersEngine(tiny_of(name), tiny_tokenizer())
    prompts = [Rendered("<s>", "Which part?", "\n", text, "") for text in ("the pool is green", "x", "no heat")]
    alone = [engine.generate([prompt], 5)[0] for prompt in prompts]
    assert engine.generate(prompts, 5) == alone
    windows = name in ("mistral", "phi3", "starcoder2", "cohere2", "granite_swa", "gemma2", "gemma3_text", "gpt_oss")
    assert (engine._writer.prefix_cache((5, 6, 7)) is None) == (windows or name == "gemma4_text")


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss"])
def test_outside_the_tree_attention_is_the_models_own(name):
    """Generation goes through the same registered attention, with and without padding."""
    model = tiny_of(name)
    TransformersEngine(model, tiny_tokenizer())
    ids = torch.arange(5, 45).view(2, 20)
    mask = torch.ones_like(ids)
    mask[0, :6] = 0
    for given in ({"attention_mask": mask}, {}):
        logits = []
        for attention in ("eager", ATTENTION):
            model.set_attn_implementation(attention)
            with torch.no_grad():
                logits.append(model(input_ids=ids, **given).logits[mask.bool()])
        torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)


def test_the_settings_that_are_meant_to_bite_are_there():
    for name, settings in EXTRA.items():
        config = tiny_of(name).config
        assert all(getattr(config, key) == value for key, value in settings.items() if key != "attention_types"), name
