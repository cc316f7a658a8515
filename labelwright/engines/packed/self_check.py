"""Whether the tree scorer is right for a model: held to the model's own plain logits when an engine is opened.

Two short rows are scored as ``TransformersEngine.score`` does it (prefix cached, rows packed, the tree in rounds) and
once by ordinary forward passes with transformers' own attention, one whole sequence for each path. An architecture that
positions, masks, scales or remembers in a way that the scorer does not follow shows here, and is refused. Windows are
looked past by narrowing them for the time of the check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwright.engines.options.tree import ROOT, OptionTree
from labelwright.engines.packed.memory import is_out_of_memory
from labelwright.errors import LabelwrightError, ModelError

# Prefix, rows, tree -> log p of every edge, (n_rows, n_edges).
Edges = Callable[[Sequence[int], Sequence[tuple[int, ...]], OptionTree], NDArray[np.float64]]

# How far log-probabilities may lie from the plain ones, in nats, root mean square. Two ways through a sound model in
# bfloat16 were seen to differ by 0.06 (SmolLM2), in float32 by 1e-5; a wrong way differs by more, if the weights have
# any opinion at all.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.3}
TEXT = "Name the topic of this message: the pump is loud, the water is green, and nobody has called back since Monday."
# Few, because every token is a pass through all the weights.
N_PREFIX, ROW_LENGTHS = 6, (4, 1)
# Narrower than the prefix, so that the check's rows stand past it.
NARROW = 4
WINDOWS = ("sliding_window", "attention_chunk_size")


# Layers whose state is nothing but keys and values, and whose mask depends on positions ("sparse" are experts).
ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention", "attention", "dense", "sparse"}


def refuse_by_name(config: Any) -> None:
    """Refuse what a configuration says outright, and what short rows could not show.

    Raises
    ------
    ModelError
        Layers that are no attention; attention to a selection of keys, which is all of them in a short row.
    """
    config = config.get_text_config()
    others = set(getattr(config, "layer_types", None) or ()) - ATTENTION_LAYERS
    if others:
        raise ModelError(f"it has layers of kind {', '.join(sorted(others))}, the tree scorer needs attention in each")
    if any(name.startswith("index_top") for name in config.to_dict()):
        raise ModelError("its attention selects keys by an index, the tree scorer needs all of a row's")


def check_scores(model: Any, tokens: Sequence[int], edges: Edges) -> None:
    """Hold ``edges`` to the model's plain logits.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tokens : sequence of int
        Ordinary tokens of the model's vocabulary to make rows of; ``TEXT``'s, say.
    edges : callable
        The scorer.

    Raises
    ------
    ModelError
        Where a number is not finite, or further from the plain one than ``TOLERANCE``.
    """
    prefix, rows, tree = _example(tokens)
    plain = _hold(model, edges, prefix, rows, tree)
    with _narrowed(model) as windows:
        # A window in the configuration that the model does not look at changes nothing, and need not be checked.
        if windows and not np.array_equal(_plain_edges(model, prefix, rows, tree), plain):
            _hold(model, edges, prefix, rows, tree)


@contextmanager
def refusing(model: Any, name: str) -> Iterator[None]:
    """What a model's code raises within this becomes one line that names the architecture."""
    try:
        yield
    except LabelwrightError as error:
        raise ModelError(_refusal(model, name, str(error))) from error
    except Exception as error:  # whatever an architecture's own code does when it is run in an unforeseen way
        if is_out_of_memory(error):
            raise ModelError(f"{name} leaves no memory on its device: use a smaller model") from error
        lines = str(error).strip().splitlines() or [""]
        raise ModelError(_refusal(model, name, f"{type(error).__name__}: {lines[0][:120]}")) from error


def _refusal(model: Any, name: str, reason: str) -> str:
    return (
        f"{name} ({type(model).__name__}) cannot be scored in this process: {reason}; "
        f'choose another model (Llama, SmolLM2, Mistral, Qwen2, Qwen3, Gemma …), or serve it: backend = "vllm"'
    )


def _example(tokens: Sequence[int]) -> tuple[tuple[int, ...], list[tuple[int, ...]], OptionTree]:
    """A prefix, rows of several lengths, and a tree with branches at two depths."""
    need = N_PREFIX + sum(ROW_LENGTHS)
    line = tuple((list(tokens) * need)[:need])
    starts = np.cumsum([N_PREFIX, *ROW_LENGTHS])
    rows = [line[start : start + length] for start, length in zip(starts, ROW_LENGTHS, strict=False)]
    different = list(dict.fromkeys(tokens))
    a, b, c, d, e = different[:5] if len(different) > 4 else range(5)
    return line[:N_PREFIX], rows, OptionTree.build([(a, b, c), (a, b, d), (a, e), (d, c), (d, a)])


def _hold(
    model: Any, edges: Edges, prefix: tuple[int, ...], rows: list[tuple[int, ...]], tree: OptionTree
) -> NDArray[np.float64]:
    plain, scored = _plain_edges(model, prefix, rows, tree), edges(prefix, rows, tree)
    if not np.isfinite(plain).all():
        raise ModelError("its logits are not finite: weights are damaged, or too large for this dtype")
    off = np.abs(scored - plain)
    if not np.sqrt((off**2).mean()) <= TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16]):
        raise ModelError(f"its tree-scored and its own plain log-probabilities differ by up to {off.max():.2g} nats")
    return plain


@torch.inference_mode()
def _plain_edges(
    model: Any, prefix: tuple[int, ...], rows: list[tuple[int, ...]], tree: OptionTree
) -> NDArray[np.float64]:
    """log p of each edge (n_rows, n_edges), from whole sequences: a row with each node's path behind it."""
    paths = [_path(tree, node) for node in range(tree.n_nodes)]
    deepest = [path for path in paths if not any(path == other[: len(path)] for other in paths if other != path)]
    sequences = [(*prefix, *row, *path) for row in rows for path in deepest]
    width = max(map(len, sequences))
    # What comes after a place cannot reach it, so that one batch does for sequences of several lengths.
    filled = [sequence + sequence[:1] * (width - len(sequence)) for sequence in sequences]
    with _own_attention(model):
        ids = torch.tensor(filled, device=next(model.parameters()).device)
        logits = model(input_ids=ids, use_cache=False).logits
    log_probs = torch.log_softmax(logits.float(), dim=-1).cpu().numpy().astype(np.float64)
    out = np.empty((len(rows), tree.n_edges))
    for edge, (node, token) in enumerate(zip(tree.edge_node.tolist(), tree.edge_token.tolist(), strict=True)):
        path = () if node == ROOT else paths[node]
        which = next(i for i, other in enumerate(deepest) if path == other[: len(path)])
        for i, row in enumerate(rows):
            place = len(prefix) + len(row) + len(path) - 1
            out[i, edge] = log_probs[i * len(deepest) + which, place, token]
    return out


def _path(tree: OptionTree, node: int) -> tuple[int, ...]:
    parent = int(tree.node_parent[node])
    return (*(() if parent == ROOT else _path(tree, parent)), int(tree.node_token[node]))


@contextmanager
def _own_attention(model: Any) -> Iterator[None]:
    """Within this the model attends by the code in its own file."""
    from labelwright.engines.packed.interface import use_attention

    before = use_attention(model, "eager")
    try:
        yield
    finally:
        use_attention(model, before)


@contextmanager
def _narrowed(model: Any) -> Iterator[bool]:
    """Within this the windows in the model's configuration are ``NARROW``; yields whether it has any."""
    configs = {id(one): one for one in (model.config, model.config.get_text_config(), model.get_decoder().config)}
    before = [
        (config, name, value)
        for config in configs.values()
        for name in WINDOWS
        if isinstance(value := getattr(config, name, None), int) and value > 0
    ]
    for config, name, _ in before:
        setattr(config, name, NARROW)
    try:
        yield bool(before)
    finally:
        for config, name, value in before:
            setattr(config, name, value)
