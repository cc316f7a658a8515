"""The in-process engine: a Hugging Face causal model, scored through packed option trees.

``score`` works in two passes. The first feeds the rows and reads the probability of every option's first token, which
bounds the option's from above. The second expands only the options that can still hold noticeable mass, starting from
the rows' cached keys and values. ``prune=None`` expands every option in one pass and is the reference that the tests
hold the fast path to.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelwright.engine import Weights
from labelwright.engines.edges import edge_log_probs, edge_places
from labelwright.engines.packing import ATTENTION, KeyValues, Packed, Row, encode_prefix, pack
from labelwright.engines.tokens import TextTokens
from labelwright.errors import DataError, ModelError
from labelwright.models import load_model, load_tokenizer
from labelwright.prompt import Rendered, Template
from labelwright.tree import OptionTree

# exp(-12) is 6e-6: an option this far below the best one changes no probability in its fifth digit.
PRUNE = 12.0
# Packed tokens in one forward pass: enough for the matrix products to run at full rate, little enough to stay in cache.
PACK_TOKENS = 1024
# Prefixes kept warm; GEPA goes back and forth between candidates.
PREFIXES = 8
GENERATE_ROWS = 16


class TransformersEngine:
    """Scores and generates with a causal language model in this process.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A decoder with full attention in every layer.
    tokenizer : transformers fast tokenizer with a chat template
    name : str
        What to call it in reports.
    prune : float or None
        How many nats below the best option an option's upper bound may fall before it is left unexpanded. An option
        left so gets its upper bound as its score. None expands all.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str = "model", prune: float | None = PRUNE) -> None:
        _refuse_windowed_attention(model.config)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.prune = prune
        self.template = Template.from_tokenizer(tokenizer)
        self._text_tokens = TextTokens(tokenizer)
        self._end_of_turn = self._text_tokens.markup(self.template.end_of_turn)
        self._prefixes: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()
        # The prefix cache and the model's attention setting are shared state; callers may be threads.
        self._lock = threading.RLock()
        if model.config._attn_implementation != ATTENTION:
            model.set_attn_implementation(ATTENTION)

    @classmethod
    def open(
        cls, weights: Weights, device: str = "auto", dtype: str = "auto", prune: float | None = PRUNE
    ) -> TransformersEngine:
        """Load the base model, merge the adapter if there is one, and wrap it."""
        model = load_model(weights, device=device, dtype=dtype)
        return cls(model, load_tokenizer(weights), name=weights.base, prune=prune)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    def forget(self) -> None:
        """Drop cached prefixes; to be called when the weights have changed."""
        with self._lock:
            self._prefixes.clear()

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        return len(self._text_tokens.plain(text))

    def option_tree(self, options: Sequence[str]) -> OptionTree:
        """The token tree of answer strings, each closed by the end of turn."""
        return OptionTree.build([(*self._text_tokens.plain(option), *self._end_of_turn) for option in options])

    def prefix_tokens(self, prompt: Rendered) -> tuple[int, ...]:
        """Tokens of everything before the row."""
        before_system, system, before_user = prompt.prefix
        tokens = self._text_tokens
        return (*tokens.markup(before_system), *tokens.plain(system), *tokens.markup(before_user))

    def row_tokens(self, prompt: Rendered) -> tuple[int, ...]:
        """Tokens of the row and what follows it, up to the answer."""
        return (*self._text_tokens.plain(prompt.user), *self._text_tokens.markup(prompt.after_user))

    @torch.inference_mode()
    def score(self, prompts: Sequence[Rendered], options: Sequence[str]) -> NDArray[np.float64]:
        """Log-probability of each option after each prompt, (n_prompts, n_options); see ``Engine.score``."""
        tree = self.option_tree(options)
        scores = np.empty((len(prompts), len(options)))
        with self._lock:
            for members in _by_prefix(prompts):
                prefix_tokens = self.prefix_tokens(prompts[members[0]])
                rows = {i: self.row_tokens(prompts[i]) for i in members}
                self._refuse_long(len(prefix_tokens), rows, tree, prompts)
                cached = self._prefix(prefix_tokens)
                extra = tree.n_nodes if self.prune is None else 0
                for batch in _batches(rows, extra):
                    tokens = [rows[i] for i in batch]
                    if self.prune is None:
                        scores[batch] = self._score_whole(tokens, tree, cached, len(prefix_tokens))
                    else:
                        scores[batch] = self._score_pruned(tokens, tree, cached, len(prefix_tokens))
        return scores

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8) -> list[str]:
        """Greedy continuation of each prompt up to the end of turn, special tokens left out."""
        sequences = [self.prefix_tokens(prompt) + self.row_tokens(prompt) for prompt in prompts]
        texts: list[str] = []
        with self._lock:
            for start in range(0, len(sequences), GENERATE_ROWS):
                texts += self._generate_batch(sequences[start : start + GENERATE_ROWS], max_new_tokens)
        return texts

    def _generate_batch(self, sequences: Sequence[tuple[int, ...]], max_new_tokens: int) -> list[str]:
        width = max(map(len, sequences))
        pad = self._end_of_turn[-1]
        ids = torch.tensor([[pad] * (width - len(s)) + list(s) for s in sequences], device=self.device)
        mask = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in sequences], device=self.device)
        output = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=self._end_of_turn[-1],
            pad_token_id=pad,
        )
        return [self.tokenizer.decode(row[width:], skip_special_tokens=True) for row in output]

    def _prefix(self, tokens: tuple[int, ...]) -> KeyValues | None:
        """Keys and values of a prefix, computed once while it stays among the last few used."""
        if not tokens:
            return None
        if tokens not in self._prefixes:
            self._prefixes[tokens] = encode_prefix(self.model.get_decoder(), tokens, self.device)
            if len(self._prefixes) > PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(tokens)
        return self._prefixes[tokens]

    def _forward(self, packed: Packed) -> Tensor:
        """Last hidden states of the packed tokens, (n_packed, hidden)."""
        output = self.model.get_decoder()(
            input_ids=packed.input_ids,
            position_ids=packed.position_ids,
            use_cache=False,
            tree_layout=packed.layout,
        )
        return output.last_hidden_state[0]

    def _score_whole(
        self, rows: list[tuple[int, ...]], tree: OptionTree, prefix: KeyValues | None, n_prefix: int
    ) -> NDArray[np.float64]:
        """Every option of every row in one pass."""
        packed = pack([Row(tokens, tree) for tokens in rows], n_prefix=n_prefix, device=self.device)
        packed.layout.prefix = prefix
        hidden = self._forward(packed)
        places = edge_places(packed, [tree] * len(rows))
        edges = edge_log_probs(self.model, hidden, places, np.tile(tree.edge_token, len(rows)))
        return edges.cpu().numpy().reshape(len(rows), -1) @ tree.incidence.T

    def _score_pruned(
        self, rows: list[tuple[int, ...]], tree: OptionTree, prefix: KeyValues | None, n_prefix: int
    ) -> NDArray[np.float64]:
        """First tokens for all, then only the options that matter."""
        packed = pack([Row(tokens) for tokens in rows], n_prefix=n_prefix, device=self.device)
        packed.layout.prefix, packed.layout.kept = prefix, []
        hidden = self._forward(packed)
        first = np.unique(tree.first_edge)
        places = np.repeat(packed.row_end.cpu().numpy(), len(first))
        values = edge_log_probs(self.model, hidden, places, np.tile(tree.edge_token[first], len(rows)))
        by_edge = values.double().cpu().numpy().reshape(len(rows), -1)
        scores = by_edge[:, np.searchsorted(first, tree.first_edge)]
        exact = np.tile(np.array([len(option) == 1 for option in tree.options]), (len(rows), 1))
        state = _PassState(scores, exact, packed.layout.kept, [len(tokens) for tokens in rows], prefix, n_prefix)
        # Two rounds are enough: the first finds each row's best option, the second whatever still reaches up to it.
        for best in (scores.max(axis=1), None):
            reference = best if best is not None else np.where(exact, scores, -np.inf).max(axis=1)
            wanted = (scores >= reference[:, None] - self.prune) & ~exact
            self._expand(state, wanted, tree)
        return scores

    def _expand(self, state: _PassState, wanted: NDArray[np.bool_], tree: OptionTree) -> None:
        """Second pass over the wanted options; writes their exact scores and marks them so."""
        members = np.flatnonzero(wanted.any(axis=1))
        if not len(members):
            return
        chosen = [np.flatnonzero(wanted[i]) for i in members]
        trees = [_subtree(tree, tuple(options.tolist())) for options in chosen]
        rows = [Row((), sub, state.n_tokens[i]) for i, sub in zip(members, trees, strict=True)]
        packed = pack(rows, n_prefix=state.n_prefix, device=self.device)
        index = torch.as_tensor(members, device=self.device)
        packed.layout.prefix = state.prefix
        n_past = max(row.n_past for row in rows)
        packed.layout.past = [(k[index, :, :n_past], v[index, :, :n_past]) for k, v in state.kept]
        hidden = self._forward(packed)
        # First tokens are known from the first pass; what is left are the edges that start at a node.
        inner = [sub.edge_node >= 0 for sub in trees]
        starts = packed.node_start.cpu().numpy()
        places = np.concatenate([s + sub.edge_node[keep] for s, sub, keep in zip(starts, trees, inner, strict=True)])
        tokens = np.concatenate([sub.edge_token[keep] for sub, keep in zip(trees, inner, strict=True)])
        values = edge_log_probs(self.model, hidden, places, tokens).double().cpu().numpy()
        offset = 0
        for i, options, sub, keep in zip(members, chosen, trees, inner, strict=True):
            n = int(keep.sum())
            state.scores[i, options] += sub.incidence[:, keep] @ values[offset : offset + n]
            offset += n
        state.exact |= wanted

    def _refuse_long(
        self, n_prefix: int, rows: dict[int, tuple[int, ...]], tree: OptionTree, prompts: Sequence[Rendered]
    ) -> None:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        depth = max(map(len, tree.options))
        for i, tokens in rows.items():
            n_tokens = n_prefix + len(tokens) + depth
            if limit and n_tokens > limit:
                raise DataError(
                    f"row {i + 1} ({prompts[i].user[:40]!r}…): {n_tokens} tokens with its prompt, "
                    f"but {self.name} reads at most {limit}; shorten the text or the instructions"
                )


@dataclass
class _PassState:
    """What the first pass leaves for the second: scores so far, which of them are exact, and the rows' keys."""

    scores: NDArray[np.float64]
    exact: NDArray[np.bool_]
    kept: KeyValues
    n_tokens: list[int]
    prefix: KeyValues | None
    n_prefix: int


@lru_cache(maxsize=4096)
def _subtree_cached(options: tuple[tuple[int, ...], ...]) -> OptionTree:
    return OptionTree.build(options)


def _subtree(tree: OptionTree, chosen: tuple[int, ...]) -> OptionTree:
    """The tree of some of the options; few different choices occur, so they are kept."""
    return _subtree_cached(tuple(tree.options[k] for k in chosen))


def _by_prefix(prompts: Sequence[Rendered]) -> list[list[int]]:
    """Row numbers of each group of prompts that share what stands before the row."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(prompt.prefix, []).append(i)
    return list(groups.values())


def _batches(rows: dict[int, tuple[int, ...]], extra: int) -> Iterator[list[int]]:
    """Row numbers by length, cut where the packed tokens would exceed PACK_TOKENS. Equal lengths waste no padding."""
    batch: list[int] = []
    n_tokens = 0
    for i in sorted(rows, key=lambda i: len(rows[i])):
        size = len(rows[i]) + extra
        if batch and n_tokens + size > PACK_TOKENS:
            yield batch
            batch, n_tokens = [], 0
        batch.append(i)
        n_tokens += size
    if batch:
        yield batch


def _refuse_windowed_attention(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "final_logit_softcapping", None):
        raise ModelError(
            f"{config.model_type} has {', '.join(sorted(kinds))}: the tree scorer needs full attention in every layer "
            f"and plain logits; choose another model (Llama, SmolLM2, Qwen2, Qwen3 …)"
        )
