"""What is no answer is an error: scorers that are off, numbers that are none, devices without float64."""

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_model_folder, tiny_tokenizer
from torch import nn
from transformers import AutoConfig

from labelwright.data.task import Label
from labelwright.engines import transformers
from labelwright.engines.opening import open_engine
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed import interface
from labelwright.engines.packed.edges import edge_log_probs, tree_log_probs
from labelwright.engines.packed.heads import PlainHead, open_head
from labelwright.engines.packed.interface import ATTENTION
from labelwright.engines.packed.packing import Row
from labelwright.engines.passes import rounds
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import ModelError
from labelwright.models.loading import context_length
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

from architectures import tiny_of  # isort: skip

TREE = OptionTree.build([[5, 6, 2], [5, 7, 2], [8, 2], [9, 10, 11, 2]])
ROWS = [tuple(range(20, 43)), (7,), (3, 4, 5, 6)]
PREFIX = tuple(range(60, 75))


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def engine(tokenizer):
    return TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer)


def prompt_for(engine):
    return Prompt("Name it.", (Label("pool"), Label("water heater"), Label("water")), template=engine.template)


# --- the check itself ------------------------------------------------------------------------------------------------


def test_a_scorer_that_is_off_is_refused_in_one_line(tokenizer, monkeypatch):
    exact = rounds.edge_log_probs
    monkeypatch.setattr(rounds, "edge_log_probs", lambda *given: 1.01 * exact(*given))
    with pytest.raises(ModelError, match=r"LlamaForCausalLM.*differ by up to 0\.\d+ nats.*choose another") as refused:
        TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer, name="mine")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("mine")


def test_whatever_an_architectures_code_raises_is_one_line(tokenizer, monkeypatch):
    model = tiny_model(vocab_size=len(tokenizer))
    monkeypatch.setattr(model.model.layers[0].mlp, "forward", lambda x: x.no_such_thing)
    monkeypatch.setattr(transformers, "open_decoder", lambda model: (_ for _ in ()).throw(KeyError("a\nb")))
    with pytest.raises(ModelError, match="LlamaForCausalLM") as refused:
        TransformersEngine(model, tokenizer)
    assert "\n" not in str(refused.value)


def test_what_short_rows_cannot_show_is_refused_by_name(tokenizer):
    model = tiny_model(vocab_size=len(tokenizer))
    model.config.index_topk = 2048
    with pytest.raises(ModelError, match="selects keys by an index"):
        TransformersEngine(model, tokenizer)
    del model.config.index_topk
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ModelError, match="layers of kind linear_attention"):
        TransformersEngine(model, tokenizer)


def test_the_check_leaves_the_model_as_it_was(tokenizer):
    model = tiny_of("gemma2")
    TransformersEngine(model, tokenizer)
    assert model.config.sliding_window == 8
    assert model.config._attn_implementation == ATTENTION
    assert "forward" not in vars(model.get_decoder())
    assert "forward" not in vars(model.get_output_embeddings())


def test_a_window_is_looked_past_however_wide_it_is(tokenizer, monkeypatch):
    """A scorer that forgets windows passes on short rows only."""
    kept = interface.AttentionMaskInterface._global_mapping
    monkeypatch.setattr(interface.AttentionMaskInterface, "_global_mapping", kept.copy())
    interface.AttentionMaskInterface.register(
        ATTENTION,
        lambda *given, **settings: None if interface.LAYOUT.get() else interface.sdpa_mask(*given, **settings),
    )
    with pytest.raises(ModelError, match="differ by"):
        TransformersEngine(tiny_of("mistral", sliding_window=400), tokenizer)


@pytest.mark.parametrize("name", ["gemma2", "granite", "gpt_oss"])
def test_training_follows_windows_caps_and_scales(name):
    """The prefix leads the packed sequence there, and gradients go through everything."""
    model = tiny_of(name)
    sequences = [(i, [*PREFIX, *row, *option]) for i, row in enumerate(ROWS) for option in TREE.options]
    plain = []
    for i, sequence in sequences:
        log_probs = torch.log_softmax(model(torch.tensor([sequence])).logits[0], -1)
        start = len(PREFIX) + len(ROWS[i])
        plain.append(sum(log_probs[at - 1, sequence[at]] for at in range(start, len(sequence))))
    (sum(plain) / 10).backward()
    wanted = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.set_attn_implementation(ATTENTION)
    edges, _ = tree_log_probs(model, PREFIX, [Row(row, TREE) for row in ROWS], entropy=True)
    scores = edges.reshape(len(ROWS), -1) @ torch.as_tensor(TREE.incidence, dtype=torch.float32).T
    torch.testing.assert_close(scores.flatten(), torch.stack(plain), atol=1e-4, rtol=1e-4)
    (scores.sum() / 10).backward()
    for key, gradient in wanted.items():
        torch.testing.assert_close(dict(model.named_parameters())[key].grad, gradient, atol=1e-4, rtol=1e-3)


# --- numbers that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_numbers_are_no_answer(engine, tokenizer, value):
    prompt = prompt_for(engine)
    with torch.no_grad():
        engine.model.lm_head.weight[17] = value
    with pytest.raises(ModelError, match="not finite"):
        engine.score([prompt.render("the pool")], prompt.options)
    with pytest.raises(ModelError, match="not finite"):
        TransformersEngine(engine.model, tokenizer)


def test_weights_of_nan_are_refused_on_opening(tmp_path):
    folder = tiny_model_folder(tmp_path)
    model = tiny_model(vocab_size=len(tiny_tokenizer()))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(ModelError, match="not finite"):
        open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32"))


# --- precision -------------------------------------------------------------------------------------------------------


def test_no_float64_before_the_processor(engine, monkeypatch):
    """As on Apple's GPU: a tensor that has not been brought to the processor cannot become float64."""
    prompt = prompt_for(engine)
    cpu, double, to = torch.Tensor.cpu, torch.Tensor.double, torch.Tensor.to

    def fetched(self):
        copy = cpu(self).clone()
        copy.fetched = True
        return copy

    def guarded(self):
        assert getattr(self, "fetched", False), "float64 on the device"
        return double(self)

    def moved(self, *given, **settings):
        assert torch.float64 not in (*given, *settings.values()), "float64 on the device"
        return to(self, *given, **settings)

    monkeypatch.setattr(torch.Tensor, "cpu", fetched)
    monkeypatch.setattr(torch.Tensor, "double", guarded)
    monkeypatch.setattr(torch.Tensor, "to", moved)
    TransformersEngine(engine.model, engine.tokenizer)
    assert np.isfinite(engine.score(prompt.render_all(["a pool", "b"]), prompt.options)).all()


@pytest.mark.parametrize("how", ["bfloat16 weights", "autocast"])
def test_the_logits_that_count_are_float32(how):
    """Autocast rounds the logits of float32 weights (all weights trained) as bfloat16 weights do."""
    torch.manual_seed(0)
    matrix = nn.Linear(64, 300, bias=True)
    with torch.no_grad():
        matrix.weight.normal_(0, 1)
    hidden = 3 * torch.randn(5, 64)
    matrix, hidden = matrix.bfloat16(), hidden.bfloat16()
    places, tokens = np.zeros(5, dtype=np.int64), np.array([3, 50, 7, 299, 0])
    exact = (hidden.double() @ matrix.weight.double().T + matrix.bias.double())[places, tokens]
    if how == "autocast":
        matrix, hidden = matrix.float(), hidden.float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        rounded = matrix(hidden).double()[places, tokens]
        scored = edge_log_probs(PlainHead(matrix), hidden, places, tokens).double()
    # The normaliser is one for all options of a place.
    off = [((one - one[0]) - (exact - exact[0])).abs().max() for one in (rounded, scored)]
    assert off[0] > 0.02, "rounding would show"
    assert off[1] < 1e-4


def test_capped_logits_that_count_are_float32_too():
    model = tiny_of("gemma2").bfloat16()
    head = open_head(model)
    hidden = torch.randn(4, 32).bfloat16()
    place, token = torch.tensor([0, 1, 1, 3]), torch.tensor([5, 6, 7, 8])
    with torch.no_grad():
        assert head.logits(hidden)[1]
        exact = head.exact(hidden, place, token)
        raw = (hidden.float() @ model.lm_head.weight.float().T)[place, token]
    assert exact.dtype == torch.float32
    torch.testing.assert_close(exact, 2 * torch.tanh(raw / 2), atol=1e-5, rtol=1e-5)


# --- context ---------------------------------------------------------------------------------------------------------


def test_positions_that_depend_on_the_longest_row_end_the_context():
    rope = {"rope_theta": 1e4, "factor": 4.0}
    llama = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 512}
    plain = AutoConfig.for_model("llama", **llama)
    linear = AutoConfig.for_model("llama", **llama, rope_parameters={**rope, "rope_type": "linear"})
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 128}
    longrope = AutoConfig.for_model("llama", **llama, rope_parameters={**rope, "rope_type": "longrope", **factors})
    assert (context_length(plain), context_length(linear), context_length(longrope)) == (512, 512, 128)
    assert context_length(AutoConfig.for_model("gpt2")) == 1024
