"""Chunks of rows and options teach what one pass does, and hold no more than one chunk."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed import chunks
from labelwright.engines.packed.chunks import chunk_tokens, log_probs_in_chunks
from labelwright.engines.packed.edges import tree_log_probs
from labelwright.engines.packed.interface import ATTENTION
from labelwright.engines.packed.packing import Row

PREFIX = (60, 61, 62)
# Out of order, so that options that begin alike do not stand side by side.
TREE = OptionTree.build([[5, 6, 2], [8, 2], [9, 10, 11, 2], [5, 7, 2], [9, 10, 12, 2], [9, 13, 2], [5, 6, 4, 2]])
OTHER = OptionTree.build([[5, 2], [6, 2]])
ROWS = [Row(tuple(range(20, 43)), TREE), Row((7,), TREE), Row((3, 4, 5, 6), OTHER), Row((3, 4), TREE)]


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    model.set_attn_implementation(ATTENTION)
    return model


def check_as_whole(model, in_chunks):
    """Values, entropies and gradients are those of one pass."""
    found = []
    for ask in (in_chunks, lambda: whole(model)):
        model.zero_grad()
        values, entropies = ask()
        (values * torch.linspace(1, 2, len(values))).sum().backward()
        found.append([values.detach(), entropies, *(weight.grad.clone() for weight in model.parameters())])
    for cut, one in zip(*found, strict=True):
        torch.testing.assert_close(cut, one, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("most", [1, 12, 30, 1000])
def test_any_cut_teaches_what_one_pass_does(model, monkeypatch, most):
    fed = []
    monkeypatch.setattr(chunks, "tree_log_probs", lambda *asked: fed.append(asked[2]) or tree_log_probs(*asked))
    check_as_whole(model, lambda: log_probs_in_chunks(model, PREFIX, ROWS, True, None, most))
    sizes = [sum(row.n_new for row in batch) for batch in fed]
    for size, batch in zip(sizes, fed, strict=True):
        assert size <= most or (len(batch) == 1 and len(batch[0].tree.options) == 1)
    with torch.no_grad():
        n_before = len(fed)
        log_probs_in_chunks(model, PREFIX, ROWS, most_tokens=most)
        n_forwards = len(fed) - n_before
    assert n_before == (1 if most == 1000 else 2 * n_forwards), "forwards, and again for the backward pass"


@pytest.mark.parametrize("most", [12, 1000])
def test_before_each_chunk_what_the_last_one_freed_goes_back(model, monkeypatch, most):
    """That costs some milliseconds; where there is one pass nothing is given back."""
    happened = []
    monkeypatch.setattr(chunks, "give_back", lambda device: happened.append(device.type))
    monkeypatch.setattr(chunks, "tree_log_probs", lambda *asked: happened.append("pass") or tree_log_probs(*asked))
    log_probs_in_chunks(model, PREFIX, ROWS, most_tokens=most)[0].sum().backward()
    n_passes = happened.count("pass")
    assert happened == (["pass"] if most == 1000 else ["cpu", "pass"] * n_passes)
    assert (n_passes > 1) == (most == 12)


@pytest.mark.parametrize("most", [12, 1000])
def test_as_many_chunks_are_computed_as_others_have_and_each_counts_once(model, monkeypatch, most):
    """Also where one pass would do; and all of them again for the backward pass."""
    fed, told = [], []
    monkeypatch.setattr(chunks, "tree_log_probs", lambda *asked: fed.append(asked[2]) or tree_log_probs(*asked))

    def agreed(n):
        told.append(n)
        return n + 2

    check_as_whole(model, lambda: log_probs_in_chunks(model, PREFIX, ROWS, True, None, most, agreed))
    assert (told == [1]) == (most == 1000)
    assert len(fed) == 2 * (told[0] + 2)


def test_what_is_dropped_out_is_the_same_the_second_time(model, monkeypatch):
    """Torch keeps the random states of the devices of tensors that it is given, and of the CPU."""
    given = []

    def once(ask, *asked, **_):
        given.append(asked)
        return ask(*asked)

    hook = model.model.layers[0].mlp.register_forward_hook(lambda *about: torch.nn.functional.dropout(about[-1], 0.5))
    grads = []
    for recomputed in (True, False):
        if not recomputed:
            monkeypatch.setattr(chunks, "checkpoint", once)
        model.zero_grad()
        torch.manual_seed(0)
        log_probs_in_chunks(model, PREFIX, ROWS, most_tokens=12)[0].sum().backward()
        grads.append([weight.grad.clone() for weight in model.parameters()])
    hook.remove()
    for again, kept in zip(*grads, strict=True):
        torch.testing.assert_close(again, kept)
    devices = {weight.device for weight in model.parameters()}
    assert all({one.device for one in asked if isinstance(one, torch.Tensor)} == devices for asked in given)


def whole(model):
    return tree_log_probs(model, PREFIX, ROWS, True)


@given(
    st.sets(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12),
    st.integers(1, 40),
    st.integers(0, 6),
)
def test_every_edge_of_a_row_is_in_a_chunk_and_no_chunk_is_too_large(options, most, n_tokens):
    tree = OptionTree.build([(*option, 0) for option in options])
    row = Row(tuple(range(n_tokens)), tree)
    seen = set()
    for chunk in chunks._chunks([row, row], most):
        size = sum(n_tokens + part.tree.n_nodes for part in chunk)
        assert size <= most or (len(chunk) == 1 and len(chunk[0].tree.options) == 1)
        for part in chunk:
            seen |= {(part.row, edge) for edge in part.edges.tolist()}
            paths = [edge_path(tree, edge) for edge in part.edges.tolist()]
            assert paths == [edge_path(part.tree, edge) for edge in range(part.tree.n_edges)]
    assert seen == {(number, edge) for number in (0, 1) for edge in range(tree.n_edges)}


@pytest.mark.parametrize(("most", "largest"), [(4096, 1024), (800, 256)])
def test_a_part_is_bounded_far_below_a_chunk(most, largest):
    """What attention holds is of nodes squared; where these are few it is nothing, and nothing is cut for it."""
    tree = OptionTree.build([(3 + k // 40, 3 + k % 40, 2) for k in range(1000)])
    row = Row((7, 8), tree)
    parts = [part for chunk in chunks._chunks([row], most) for part in chunk]
    assert max(part.tree.n_nodes for part in parts) <= largest
    assert sum(len(part.tree.options) for part in parts) == 1000
    assert len(parts) == -(-tree.n_nodes // largest)


def edge_path(tree, edge):
    k = int(tree.incidence[:, edge].argmax())
    return tree.options[k][: 1 + [*tree.incidence[k].nonzero()[0]].index(edge)]


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_options(model):
    """Bytes of tensors that autograd saves, with a bound of 64 tokens: those of the chunks are not among them."""

    def kept(n_options, most):
        tree = OptionTree.build([(4 + k // 20, 4 + k % 20, 30, 2) for k in range(n_options)])
        total = [0]

        def pack(tensor):
            total[0] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            log_probs_in_chunks(model, PREFIX, [Row((7, 8), tree)] * 2, most_tokens=most)
        return total[0]

    assert kept(200, 64) < 1.5 * kept(20, 64) + 64 * 200
    assert kept(200, 10_000) > 5 * kept(20, 10_000)


def test_an_accelerator_holds_more():
    assert (
        chunk_tokens(torch.device("cuda", 1)) == chunk_tokens(torch.device("mps")) > chunk_tokens(torch.device("cpu"))
    )
