"""What is kept of the lower layers against running them at every step, and the models that are not to be kept."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.edges import tree_log_probs
from labelwright.engines.packed.interface import ATTENTION
from labelwright.engines.packed.lower import LowerLayers, blocks_of, open_lower
from labelwright.engines.packed.packing import Row

from architectures import tiny_of  # isort: skip

TREE = OptionTree.build([[5, 6, 2], [5, 7, 2], [8, 2], [9, 10, 11, 2]])
# As many nodes.
OTHER_TREE = OptionTree.build([[5, 6, 7, 2], [12, 13, 2], [14, 15, 2]])
# Lengths of all kinds, the longest past a window of eight tokens.
ROWS = [Row(tuple(range(20, 43)), TREE), Row((7,), TREE), Row((3, 4, 5, 6), TREE)]
PREFIX = tuple(range(60, 75))


def model_of(architecture="llama", frozen=2, **changes):
    """Three tiny layers, the upper ones trained."""
    model = tiny_of(architecture, num_hidden_layers=3, **changes)
    model.set_attn_implementation(ATTENTION)
    model.requires_grad_(False)
    blocks_of(model)[1][frozen:].requires_grad_(True)
    return model.train()


def learnt(model, rows, prefix=PREFIX, lower=None):
    """Edges and gradients of one step."""
    model.zero_grad()
    edges, entropies = tree_log_probs(model, prefix, rows, entropy=True, lower=lower)
    (edges * torch.linspace(1, 2, len(edges))).sum().backward()
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return edges.detach(), entropies, torch.cat(gradients)


def same(one, other):
    for ours, plain in zip(one, other, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("gpt_neox", {}),  # layer norms with biases, positions on a part of each head, two branches side by side
        ("gemma3_text", {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}),  # scaled words
        ("gpt_oss", {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}),  # sinks, experts
    ],
)
def test_steps_learn_the_same_from_what_is_kept(architecture, settings):
    """Rows met for the first time, again in another order, and beside new ones; all against running every layer."""
    model = model_of(architecture, **settings)
    lower = open_lower(model, PREFIX, ROWS[:2])
    assert lower is not None
    for rows in (ROWS[:2], ROWS[1::-1], ROWS[1:]):
        same(learnt(model, rows, lower=lower), learnt(model, rows))


def test_a_row_met_with_other_answers_is_another():
    model, other = model_of(), replace(ROWS[0], tree=OTHER_TREE, nodes=None)
    lower = open_lower(model, PREFIX, ROWS[:2])
    assert other.n_new == ROWS[0].n_new
    for rows in ([ROWS[0], other], [other]):
        same(learnt(model, rows, lower=lower), learnt(model, rows))


def test_rows_with_answers_drawn_for_a_step_fill_no_memory():
    model, drawn = model_of(), [replace(row, tree=OTHER_TREE, nodes=None) for row in ROWS]
    lower = open_lower(model, PREFIX, ROWS[:2])
    learnt(model, ROWS, lower=lower)
    before = lower.n_bytes
    assert before == 4 * 32 * sum(row.n_new for row in ROWS)
    same(learnt(model, drawn, lower=lower), learnt(model, drawn))
    assert lower.n_bytes == before


def test_rows_without_a_prefix():
    model = model_of()
    lower = open_lower(model, (), ROWS[:2])
    assert lower is not None
    same(learnt(model, ROWS, (), lower), learnt(model, ROWS, ()))


def test_a_row_goes_through_the_lower_layers_once(monkeypatch):
    """Steps of learning between: what is kept is what the frozen layers say, and the trained ones have moved."""
    model = model_of()
    lower = open_lower(model, PREFIX, ROWS[:2])
    run = []
    below = lower._run_lower
    monkeypatch.setattr(lower, "_run_lower", lambda packed: run.append(packed.input_ids.shape[1]) or below(packed))
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    for _ in range(3):
        learnt(model, ROWS, lower=lower)
        optimizer.step()
    assert len(run) == 1, "all rows together, and the first one was met when the layers were opened"
    same(learnt(model, ROWS, lower=lower), learnt(model, ROWS))


def test_what_does_not_fit_is_run_again_and_comes_out_alike():
    model = model_of()
    of_first = 4 * 32 * ROWS[0].n_new
    lower = open_lower(model, PREFIX, ROWS[:2], most_bytes=of_first)
    for _ in range(2):
        same(learnt(model, ROWS, lower=lower), learnt(model, ROWS))
        assert lower.n_bytes == of_first


def test_nothing_is_kept_where_nothing_below_is_frozen():
    assert open_lower(model_of(frozen=0), PREFIX, ROWS[:2]) is None, "the lowest layer is trained"
    words = model_of()
    words.get_input_embeddings().requires_grad_(True)
    assert open_lower(words, PREFIX, ROWS[:2]) is None, "what the layers read is trained"
    untrained = model_of(frozen=3)
    assert open_lower(untrained, PREFIX, ROWS[:2]) is None


def test_a_model_without_a_list_of_layers_is_run_whole():
    model = model_of()
    model.model.layers = nn.Sequential(*model.model.layers)
    assert blocks_of(model) is None
    assert open_lower(model, PREFIX, ROWS[:2]) is None
    assert learnt(model, ROWS)[0].isfinite().all(), "it answers"


class Noisy(nn.Module):
    """A layer with dropout behind it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *given, **named):
        return nn.functional.dropout(self.inner(*given, **named), 0.5, self.training)


class LooksBack(nn.Module):
    """A layer that reads the words besides what the layer before it says."""

    def __init__(self, inner, words):
        super().__init__()
        self.inner, self.words = inner, words

    def forward(self, hidden, *given, **named):
        self.read = hidden
        return self.inner(hidden, *given, **named) + self.words[0].read.sum()


class Mixes(nn.Module):
    """A layer that adds what the tokens have in common, of whatever rows they are."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, hidden, *given, **named):
        return self.inner(hidden, *given, **named) + hidden.sum(dim=1, keepdim=True)


class Fails(nn.Module):
    """A layer that has something go wrong."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, *given, **named):
        raise self.error


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
def test_no_memory_is_no_reason_to_go_on(error):
    model = model_of()
    blocks_of(model)[1][1] = Fails(error)
    with pytest.raises(type(error)):
        open_lower(model, PREFIX, ROWS[:2])
    assert model.training
    blocks_of(model)[1][1] = Fails(RuntimeError("shapes do not fit"))
    assert open_lower(model, PREFIX, ROWS[:2]) is None


class Pair(nn.Module):
    """A layer that answers with more than hidden states."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, hidden, *given, **named):
        return (self.inner(hidden[0] if isinstance(hidden, tuple) else hidden, *given, **named),)


def test_a_model_that_comes_out_otherwise_is_run_whole():
    """By what it does: dropout below, a layer that looks past its neighbour, layers that hand on something else."""
    noisy, reader, pairs = model_of(), model_of(), model_of()
    blocks = blocks_of(noisy)[1]
    blocks[0] = Noisy(blocks[0])
    blocks = blocks_of(reader)[1]
    first = LooksBack(blocks[0], [])
    first.words.append(first)
    blocks[0], blocks[2] = first, LooksBack(blocks[2], [first])
    blocks = blocks_of(pairs)[1]
    for number in range(3):
        blocks[number] = Pair(blocks[number])
    for model in (noisy, reader, pairs):
        assert open_lower(model, PREFIX, ROWS[:2]) is None
        assert model.training


def test_a_layer_that_mixes_rows_shows_where_two_of_them_meet():
    model = model_of()
    blocks = blocks_of(model)[1]
    blocks[0] = Mixes(blocks[0])
    assert open_lower(model, (), ROWS[:1]) is not None, "one alone does not tell"
    assert open_lower(model, (), ROWS[:2]) is None


def test_dropout_above_is_no_reason_to_run_the_lower_layers_again():
    model = model_of()
    blocks = blocks_of(model)[1]
    blocks[2] = Noisy(blocks[2])
    assert isinstance(open_lower(model, PREFIX, ROWS[:2]), LowerLayers)
    assert model.training
