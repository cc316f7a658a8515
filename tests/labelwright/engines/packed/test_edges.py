"""Logits that are kept for the backward pass and logits that are computed again teach the same."""

import torch
from tiny import tiny_model

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed import edges
from labelwright.engines.packed.interface import ATTENTION
from labelwright.engines.packed.packing import Row

TREE = OptionTree.build([[5, 6, 2], [5, 7, 2], [8, 2], [9, 10, 11, 2]])
ROWS = [Row(tuple(range(20, 43)), TREE), Row((7,), TREE), Row((3, 4, 5, 6), TREE)]
N_PLACES = len(ROWS) * (1 + TREE.n_nodes)


def test_few_logits_are_kept_and_many_computed_again_with_the_same_gradients(monkeypatch):
    model = tiny_model()
    model.set_attn_implementation(ATTENTION)
    again, found = [], []
    checkpoint = edges.checkpoint
    monkeypatch.setattr(edges, "checkpoint", lambda *given, **named: again.append(1) or checkpoint(*given, **named))
    monkeypatch.setitem(edges.LOGIT_ROWS, "cpu", 4)
    for most in (N_PLACES, N_PLACES - 1):
        monkeypatch.setitem(edges.KEPT_ROWS, "cpu", most)
        model.zero_grad()
        values, _ = edges.tree_log_probs(model, (60, 61, 62), ROWS)
        (values * torch.linspace(1, 2, len(values))).sum().backward()
        found.append([values.detach(), *(weight.grad.clone() for weight in model.parameters())])
        assert len(again) == (0 if most == N_PLACES else -(-N_PLACES // 4))
    for kept, computed in zip(*found, strict=True):
        torch.testing.assert_close(kept, computed)
