"""The in-process engine: a Hugging Face causal model, scored through packed option trees.

``score`` goes in rounds. The first feeds the rows and reads the probability of every option's first token; the others
feed those parts of the option tree that can still hold noticeable mass (``labelwright.engines.options.expansion``),
starting from the rows' kept keys and values. ``unexpanded_mass = 0`` feeds rows and trees in one pass and is the
reference that the tests hold the fast path to, after it was itself held to one forward pass an option.

Of a vision-language model an image is a part of its row's tokens, or of the prefix where several rows have the same
one; where that is not right for a model, rows are scored one by one (``labelwright.engines.images``).
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelwright.engines.images.check import Slow, check_images, slow_way
from labelwright.engines.images.plain import PlainRow
from labelwright.engines.images.reader import ImageReader
from labelwright.engines.options.expansion import Expansion, Mask, bounded_mass
from labelwright.engines.options.free import FreeTokens
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.decoder import encode_image, encode_prefix, open_decoder, pack_linears
from labelwright.engines.packed.edges import edge_log_probs
from labelwright.engines.packed.heads import open_head
from labelwright.engines.packed.memory import (
    Meter,
    fitting_tokens,
    give_back,
    is_out_of_memory,
    kind_of,
    meter_of,
    to_device,
)
from labelwright.engines.packed.packing import KeyValues, Packed, Row, pack
from labelwright.engines.packed.seen import SeenImage
from labelwright.engines.packed.self_check import TEXT, check_scores, refuse_by_name, refusing
from labelwright.engines.settings import EngineSettings
from labelwright.engines.tokens import PromptTokens
from labelwright.errors import DataError, ModelError
from labelwright.models.loading import context_length, load_model, load_processor, load_tokenizer, reads_images
from labelwright.models.weights import Weights
from labelwright.pictures.content import opened_image
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration

if TYPE_CHECKING:
    from transformers import DynamicCache

# Packed tokens in one forward pass: enough for the matrix products to run at full rate, little enough to stay in cache.
# Of an accelerator's memory a pass is measured to take no more than a share (``labelwright.engines.packed.memory``).
PACK_TOKENS = {"cpu": 1024, "accelerator": 16384}
# What starting a forward pass costs, in tokens that could be fed meanwhile. Below that, looking ahead in the option
# tree is cheaper than coming back.
ROUND_TOKENS = {"cpu": 64, "accelerator": 4096}
# Tokens of a row of the pass that is measured.
TRIAL_ROW = 32
# From this share of the open places on, everything below the wanted ones is fed with them.
NEARLY_ALL = 0.9
# Bytes of keys and values kept between the rounds of one group of rows, and for prefixes between calls.
KEPT_BYTES = 128 * 2**20
PREFIX_BYTES = 256 * 2**20
GENERATE_ROWS = 16
# Rows whose images are held at once, a few megabytes each.
IMAGE_ROWS = 32
# Tokens that were measured to fit, of a model by device: a model in training is given an engine at each look at dev.
_FITTING: WeakKeyDictionary[Any, dict[torch.device, int]] = WeakKeyDictionary()


class _Asked(NamedTuple):
    """The options of one call, and what will be made of their scores."""

    tree: OptionTree
    calibration: Calibration | None


class _Writing(NamedTuple):
    """How much is written, and what: up to a string, or in the form of a pattern."""

    max_new_tokens: int
    stop: Sequence[str]
    pattern: str


class _Lines(NamedTuple):
    """Rows behind one prefix.

    Attributes
    ----------
    rows : sequence of tuple of int
        Tokens, those of a row's own image first.
    seen : sequence of SeenImage or None
        A row's own image.
    shift : int
        ``SeenImage.shift`` of an image that the prefix holds.
    """

    rows: Sequence[tuple[int, ...]]
    seen: Sequence[SeenImage | None]
    prefix: KeyValues | None
    shift: int = 0

    def of(self, places: Sequence[int]) -> _Lines:
        """Some of them."""
        return self._replace(rows=[self.rows[i] for i in places], seen=[self.seen[i] for i in places])


class TransformersEngine:
    """Scores and generates with a causal language model in this process.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal decoder; which ones can be scored is found out (``labelwright.engines.packed.self_check``).
    tokenizer : transformers fast tokenizer with a chat template
    name : str
        What to call it in reports.
    settings : EngineSettings, optional
        ``unexpanded_mass`` and ``long_rows`` count here; device and number format are the model's own.
    check : bool
        Hold the scorer to the model's plain logits first; to be left out for weights that were checked and then tuned.
    images : ImageReader, optional
        What looks at images, of a vision-language model.

    Attributes
    ----------
    unexpanded_mass : float
        May be changed between calls.
    pass_tokens : int
        Tokens of one forward pass.
    slow : callable, optional
        The way in which rows are scored one by one, of a vision-language model that the packed one is not right for.
    """

    images: ImageReader | None = None
    slow: Slow | None = None

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str = "model",
        settings: EngineSettings | None = None,
        check: bool = True,
        images: ImageReader | None = None,
    ) -> None:
        settings = settings or EngineSettings()
        template = Template.from_tokenizer(tokenizer, image_token=images.image_token if images else "")
        self._hold(model, tokenizer, name, settings, template, context_length(model.config))
        self.images = images
        with refusing(model, name):
            try:
                self._open_packed(check)
            except Exception:  # whatever an architecture's own code does when it is run in an unforeseen way
                if images is None:
                    raise
                self.slow = slow_way(model, images, template.image, self.tokens.plain(TEXT))

    def _open_packed(self, check: bool) -> None:
        from labelwright.engines.packed.interface import ATTENTION, use_attention

        refuse_by_name(self.model.config)
        use_attention(self.model, ATTENTION)
        self.decoder, self.head = open_decoder(self.model), open_head(self.model)
        if not check:
            return
        tokens = self.tokens.plain(TEXT)
        check_scores(self.model, tokens, self._whole_edges)
        if self.images is not None:
            check_images(self.model, self.images, self.template.image, tokens, self._whole_scores)

    def _hold(
        self,
        model: Any,
        tokenizer: Any,
        name: str,
        settings: EngineSettings,
        template: Template,
        context: int | None,
    ) -> None:
        """What is kept of a model, whoever loaded it; decoder and head are still to come."""
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.unexpanded_mass = settings.unexpanded_mass
        self.template = template
        self.tokens = PromptTokens(tokenizer, template, name=name, max_tokens=context, long_rows=settings.long_rows)
        # Tokens of a pass and of a group, once more of them did not fit into memory.
        self._most_tokens: int | None = None
        self._prefixes: OrderedDict[tuple[tuple[int, ...], str], KeyValues] = OrderedDict()
        # The prefix cache and the model's attention setting are shared state; callers may be threads.
        self._lock = threading.RLock()

    @classmethod
    def open(cls, weights: Weights, settings: EngineSettings | None = None) -> TransformersEngine:
        """Load the base model, merge the adapter if there is one, and wrap it."""
        settings = settings or EngineSettings()
        model = load_model(weights, device=settings.device, dtype=settings.dtype)
        pack_linears(model)
        if not reads_images(weights):
            return cls(model, load_tokenizer(weights), name=weights.base, settings=settings)
        images = ImageReader(model, load_processor(weights))
        return cls(model, images.processor.tokenizer, name=weights.base, settings=settings, images=images)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def n_shortened(self) -> int:
        """Rows shortened to fit the context so far."""
        return self.tokens.n_shortened

    def forget(self) -> None:
        """Drop cached prefixes, and images; to be called when the weights have changed."""
        with self._lock:
            self._prefixes.clear()
            if self.images is not None:
                self.images.forget()

    @property
    def reads_images(self) -> bool:
        """Whether rows may have an image."""
        return self.images is not None

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        return len(self.tokens.plain(text))

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """Log-probability of each option after each prompt, (n_prompts, n_options); see ``Engine.score``."""
        tree = self.tokens.tree(options)
        asked = _Asked(tree, calibration)
        n_extra = tree.n_nodes if self._at_once(asked, 1) else 0
        scores = np.empty((len(prompts), len(options)))
        with self._lock:
            if self.slow is not None:
                n_answer = max(map(len, tree.options))
                for i, prompt in enumerate(prompts):
                    scores[i] = self.slow(self.model, self._plain_row(prompt, i + 1, n_answer), tree.options)
                return scores
            for members in _by_prefix(prompts):
                lines = self._lines([prompts[i] for i in members], members, tree)
                for group in _cut_by_tokens(lines.rows, lambda: self._group_tokens, n_extra):
                    scores[[members[i] for i in group]] = self._score_group(lines.of(group), asked)
        return scores

    def _lines(self, prompts: Sequence[Rendered], members: Sequence[int], tree: OptionTree) -> _Lines:
        """Rows of one prefix as tokens; an image that all of several have is a part of the prefix."""
        seen = [self._seen(prompt, i + 1) for prompt, i in zip(prompts, members, strict=True)]
        tokens = self.tokens.prefix(prompts[0])
        shared = seen[0] if len(prompts) > 1 and len({prompt.image for prompt in prompts}) == 1 else None
        reserved = len(tokens) + (len(shared.tokens) if shared else 0) + max(map(len, tree.options))
        own: Sequence[SeenImage | None] = [None] * len(prompts) if shared else seen
        heads = [one.tokens if one else () for one in own]
        rows = self.tokens.rows(prompts, reserved, [i + 1 for i in members], [len(head) for head in heads])
        rows = [(*head, *row) for head, row in zip(heads, rows, strict=True)]
        return _Lines(rows, own, self._prefix(tokens, shared), shared.shift if shared else 0)

    def _seen(self, prompt: Rendered, number: int) -> SeenImage | None:
        """What the model makes of a row's image; None where it has none. DataError, which names the row, as ``see``."""
        if not prompt.image:
            return None
        with _of_row(prompt, number):
            return self._reader().see(prompt.image, self.tokens.image_markup(prompt))

    def _reader(self) -> ImageReader:
        if self.images is None:
            raise ModelError(f"{self.name} reads no images: choose a vision-language model, or read them as text")
        return self.images

    def _plain_row(self, prompt: Rendered, number: int, n_answer: int) -> PlainRow:
        """A row as one sequence, with room for an answer in the model's context."""
        prefix = self.tokens.prefix(prompt)
        image: dict[str, Any] = {}
        if prompt.image:
            with _of_row(prompt, number):
                image = self._reader().inputs(opened_image(prompt.image), self.tokens.image_markup(prompt))
        n_image = image["input_ids"].shape[1] if image else 0
        (row,) = self.tokens.rows([prompt], len(prefix) + n_answer, [number], [n_image])
        return PlainRow(prefix, row, image)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = (), pattern: str = ""
    ) -> list[str]:
        """Greedy continuation of each prompt up to the end of turn, special tokens left out; as ``Engine.generate``.

        With a ``pattern``, a regular expression, nothing else is written than the beginning of what has its form: all
        of it, where ``max_new_tokens`` suffice.
        """
        texts = [""] * len(prompts)
        how = _Writing(max_new_tokens, stop, pattern)
        with self._lock:
            if self.images is not None:
                rows = [self._plain_row(prompt, i + 1, max_new_tokens) for i, prompt in enumerate(prompts)]
                return [self._written(row.inputs((), self.device), how)[0] for row in rows]
            for members in _by_prefix(prompts):
                prefix = self.tokens.prefix(prompts[members[0]])
                numbers = [i + 1 for i in members]
                lines = self.tokens.rows([prompts[i] for i in members], len(prefix) + max_new_tokens, numbers)
                cache = self._prefix_cache(prefix)
                for start in range(0, len(members), GENERATE_ROWS):
                    batch = slice(start, start + GENERATE_ROWS)
                    written = self._generate_batch(prefix, lines[batch], cache, how)
                    for i, text in zip(members[batch], written, strict=True):
                        texts[i] = text
        return texts

    def _generate_batch(
        self,
        prefix: tuple[int, ...],
        rows: Sequence[tuple[int, ...]],
        cache: DynamicCache | None,
        how: _Writing,
    ) -> list[str]:
        # What is padded stands between the prefix, whose keys and values the rows share, and the row.
        shared, own = (prefix, rows) if cache else ((), [prefix + row for row in rows])
        width, end = max(map(len, own)), self.tokens.end_of_turn[-1]
        ids = torch.tensor([[*shared, *[end] * (width - len(row)), *row] for row in own], device=self.device)
        mask = torch.ones_like(ids)
        for line, row in zip(mask, own, strict=True):
            line[len(shared) : len(shared) + width - len(row)] = 0
        if cache:
            cache = copy.deepcopy(cache)
            cache.batch_repeat_interleave(len(own))
        given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache}
        return self._written(given, how)

    def _written(self, given: dict[str, Any], how: _Writing) -> list[str]:
        """What the model writes, greedily, behind sequences of one length."""
        ids, end, stop = given["input_ids"], self.tokens.end_of_turn[-1], how.stop
        more: dict[str, Any] = {"stop_strings": list(stop), "tokenizer": self.tokenizer} if stop else {}
        if how.pattern:
            more["logits_processor"] = [self._free_tokens.allowing(how.pattern, len(ids))]
        output = self.model.generate(
            **given,
            max_new_tokens=how.max_new_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=end,
            pad_token_id=end,
            **more,
        )
        if how.pattern:
            return [self._free_tokens.text(line[ids.shape[1] :].tolist()) for line in output]
        texts = [self.tokenizer.decode(line[ids.shape[1] :], skip_special_tokens=True) for line in output]
        return [text[: min((text.index(s) for s in stop if s in text), default=len(text))] for text in texts]

    @cached_property
    def _free_tokens(self) -> FreeTokens:
        """What keeps answers to a pattern."""
        return FreeTokens(self.tokenizer, self.tokens.end_of_turn[-1])

    def _prefix_cache(self, prefix: tuple[int, ...]) -> DynamicCache | None:
        """A prefix as transformers keeps it for generating, of one row; None where rows cannot share it.

        A window counts places, and would count the padding behind the prefix; what is kept of a recurrent layer
        would have read the padding.
        """
        from transformers.cache_utils import DynamicCache, DynamicLayer

        cache = DynamicCache(config=self.model.config)
        if not prefix or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return None
        ids = torch.tensor([prefix], device=self.device)
        self.model.get_decoder()(input_ids=ids, past_key_values=cache, use_cache=True)
        # Layers that keep something of their own leave this one empty.
        return cache if cache.get_seq_length() == len(prefix) else None

    def _prefix(self, tokens: tuple[int, ...], seen: SeenImage | None = None) -> KeyValues | None:
        """Keys and values of a prefix, with the image behind it, computed once while it stays among those used last."""
        if not tokens and seen is None:
            return None
        key = tokens, seen.digest if seen else ""
        if key not in self._prefixes:
            with _of_memory(self.device, f"a prompt's beginning of {len(tokens)} tokens"):
                before = encode_prefix(self.decoder, tokens, self.device) if tokens and seen is None else None
                if seen is not None:
                    before = encode_image(self.decoder, seen, self._prefix(tokens), self.device)
            assert before is not None
            self._prefixes[key] = before
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > 1 and sum(map(_n_bytes, self._prefixes.values())) > PREFIX_BYTES:
            self._prefixes.popitem(last=False)
        return self._prefixes[key]

    def _score_group(self, lines: _Lines, asked: _Asked) -> NDArray[np.float64]:
        """``_score_rows``; where the device's memory is too small for all the rows, half as many tokens at a time.

        What was too much once is not tried again: later groups and passes are at most half of it.
        """
        n_rows = len(lines.rows)
        if n_rows == 1:
            with _of_memory(self.device, f"a row of {len(lines.rows[0])} tokens"):
                return self._score_rows(lines, asked)
        try:
            return self._score_rows(lines, asked)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block: its traceback would keep the failed call's tensors alive.
        give_back(self.device)
        n_extra = asked.tree.n_nodes if self._at_once(asked, 1) else 0
        sizes = [len(row) + n_extra for row in lines.rows]
        self._keep_below(sum(sizes))
        parts = _cut(sizes, lambda: self._group_tokens)
        return np.concatenate([self._score_group(lines.of(part), asked) for part in parts])

    def _keep_below(self, n_tokens: int) -> None:
        if self._most_tokens is None:
            warnings.warn(
                f"{self.name}: {self.device} has no memory for a pass of {n_tokens} tokens; from now on passes are "
                "smaller and slower, with the same scores within rounding",
                RuntimeWarning,
                stacklevel=2,
            )
        self._most_tokens = max(min(self._most_tokens or n_tokens, n_tokens // 2), 1)

    def _score_rows(self, lines: _Lines, asked: _Asked) -> NDArray[np.float64]:
        tree, n_rows = asked.tree, len(lines.rows)
        expansion = Expansion(tree, n_rows, self.unexpanded_mass, asked.calibration)
        rounds = _Rounds(self, lines, tree)
        places = expansion.wanted(deep=self._at_once(asked, n_rows))
        while places.any():
            expansion.feed(places, rounds.feed(places))
            places = expansion.wanted()
            # Where little is left to do, one round more costs more than everything below the wanted places; and where
            # nearly all open places are wanted, so will be what is below them.
            deep = expansion.wanted(deep=True)
            little = deep.sum() <= places.sum() + ROUND_TOKENS[self._kind]
            if little or places.sum() >= NEARLY_ALL * expansion.open().sum():
                places = deep
        return expansion.scores()

    @torch.inference_mode()
    def _whole_edges(
        self, prefix: Sequence[int], rows: Sequence[tuple[int, ...]], tree: OptionTree
    ) -> NDArray[np.float64]:
        """log p of every edge (n_rows, n_edges): the rows in one round, their trees in another."""
        lines = _Lines(rows, [None] * len(rows), encode_prefix(self.decoder, tuple(prefix), self.device))
        return _in_two_rounds(_Rounds(self, lines, tree), len(rows), tree)

    @torch.inference_mode()
    def _whole_scores(
        self,
        prefix: tuple[int, ...],
        rows: Sequence[tuple[tuple[int, ...], SeenImage]],
        tree: OptionTree,
        is_shared: bool,
    ) -> NDArray[np.float64]:
        """Scores of all options (n_rows, n_options) of rows with images, as ``_whole_edges``; see ``check_images``."""
        before, first = encode_prefix(self.decoder, prefix, self.device), rows[0][1]
        if is_shared:
            behind = encode_image(self.decoder, first, before, self.device)
            lines = _Lines([row for row, _ in rows], [None] * len(rows), behind, first.shift)
        else:
            lines = _Lines([(*seen.tokens, *row) for row, seen in rows], [seen for _, seen in rows], before)
        edges = _in_two_rounds(_Rounds(self, lines, tree), len(rows), tree)
        scores: NDArray[np.float64] = edges @ tree.incidence.T
        return scores

    def _at_once(self, asked: _Asked, n_rows: int) -> bool:
        """Whether rows and whole trees are fed in one pass."""
        mass = bounded_mass(self.unexpanded_mass, asked.calibration)
        return not mass or asked.tree.n_nodes * n_rows <= ROUND_TOKENS[self._kind]

    @property
    def _kind(self) -> str:
        return kind_of(self.device)

    @property
    def pass_tokens(self) -> int:
        """Tokens of one forward pass, a row at least: as many as are fast, fit, and were not too many before."""
        meter = meter_of(self.device)
        most = PACK_TOKENS[self._kind] if meter is None else self._fitting_tokens(meter)
        return min(most, self._most_tokens or most)

    @property
    def _group_tokens(self) -> int:
        """Row tokens whose keys and values may be kept at a time."""
        most = max(self.pass_tokens, KEPT_BYTES // self._token_bytes)
        return min(most, self._most_tokens or most)

    def _fitting_tokens(self, meter: Meter) -> int:
        """What is measured once of a model and its device."""
        known = _FITTING.setdefault(self.model, {})
        if self.device not in known:
            known[self.device] = fitting_tokens(meter, self._try_tokens, PACK_TOKENS[self._kind])
        return known[self.device]

    @torch.inference_mode()
    def _try_tokens(self, n_tokens: int) -> None:
        """A pass of so many tokens, in rows of ``TRIAL_ROW``, of which every end is read."""
        row = Row((self.tokens.end_of_turn * TRIAL_ROW)[:TRIAL_ROW])
        packed = pack([row] * max(n_tokens // TRIAL_ROW, 1), device=self.device)
        hidden = self.decoder(packed, torch.as_tensor(packed.row_end, device=self.device))
        edge_log_probs(self.head, hidden, np.arange(len(hidden)), np.zeros(len(hidden), dtype=np.int64))

    @cached_property
    def _token_bytes(self) -> int:
        """What the keys and values of one token take; asked of the model, since layers may differ."""
        return _n_bytes(encode_prefix(self.decoder, self.tokens.end_of_turn[:1], self.device))


class _Rounds:
    """A group of rows between rounds: which of their tokens and nodes were fed, and the keys and values of these."""

    def __init__(self, engine: TransformersEngine, lines: _Lines, tree: OptionTree) -> None:
        self._engine = engine
        self._rows, self._seen, self._prefix, self._shift = lines
        self._tree = tree
        self._past: KeyValues | None = None
        n_places = 1 + tree.n_nodes
        # Where in the past each row's first token and each of its nodes are; -1 where they were not fed.
        self._at = np.full((len(self._rows), n_places), -1, dtype=np.int64)

    def feed(self, places: Mask) -> NDArray[np.float64]:
        """Feed places (n_rows, 1 + n_nodes) and return log p of the edges that start there, (n_rows, n_edges)."""
        edges = np.zeros((len(self._rows), self._tree.n_edges))
        members = np.flatnonzero(places.any(axis=1))
        packable = {i: self._row(i, places[i]) for i in members.tolist()}
        n_past = self._past[0][0].shape[1] if self._past else 0
        kept: list[KeyValues] = []
        read = []
        at = self._at.copy()
        # Rows of one size side by side: attention pads each pass to its longest row.
        members = np.array(sorted(packable, key=lambda i: packable[i].n_new))
        sizes = [packable[i].n_new for i in members.tolist()]
        for batch in _cut(sizes, lambda: self._engine.pass_tokens):
            numbers = members[batch]
            packed = pack(
                [packable[i] for i in numbers.tolist()],
                prefix=self._prefix,
                past=self._past,
                shift=self._shift,
                device=self._engine.device,
            )
            # Only what a later round may look at is worth keeping.
            packed.layout.kept = [] if not places[numbers, 1:].all() else None
            index = self._index(numbers, places[numbers], packed)
            read.append((numbers, *self._read(packed, index)))
            if packed.layout.kept is not None:
                new = index >= 0
                new[:, 0] &= self._at[numbers, 0] < 0
                starts = np.concatenate([packed.row_start[:, None], index[:, 1:]], axis=1)
                at[numbers] = np.where(new, starts + n_past, at[numbers])
                n_past += packed.input_ids.shape[1]
                kept.append(packed.layout.kept)
        self._at = at
        parts = ([self._past] if self._past else []) + kept
        if kept:
            self._past = [
                (torch.cat([k for k, _ in layer], dim=1), torch.cat([v for _, v in layer], dim=1))
                for layer in zip(*parts, strict=True)
            ]
        # Only here, so that an accelerator computes a pass while the next one is laid out.
        for numbers, rows, of_tree, values in read:
            # Not torch's float64, which not every accelerator has.
            edges[numbers[rows], of_tree] = values.cpu().numpy()
        if not np.isfinite(edges).all():
            raise ModelError(
                f"{self._engine.name}: its logits are not finite; its weights or its adapter are damaged, "
                f"or too large for {self._engine.model.dtype}"
            )
        return edges

    def _row(self, i: int, places: NDArray[np.bool_]) -> Row:
        nodes = np.flatnonzero(places[1:])
        if self._at[i, 0] < 0:
            return Row(self._rows[i], self._tree, nodes, seen=self._seen[i])
        past_nodes = np.flatnonzero(self._at[i, 1:] >= 0)
        past_tokens = np.arange(self._at[i, 0], self._at[i, 0] + len(self._rows[i]))
        return Row((), self._tree, nodes, past_tokens, past_nodes, self._at[i, 1 + past_nodes], self._seen[i])

    def _index(self, numbers: NDArray[np.int64], places: Mask, packed: Packed) -> NDArray[np.int64]:
        """Packed index at which each place is predicted, (rows of the pass, 1 + n_nodes); -1 where it is not fed."""
        rank = places[:, 1:].cumsum(axis=1) - 1
        nodes = np.where(places[:, 1:], packed.node_start[:, None] + rank, -1)
        root = np.where(places[:, 0], packed.row_end, -1)
        return np.concatenate([root[:, None], nodes], axis=1)

    def _read(self, packed: Packed, index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor]:
        """Rows of a pass and edges of the tree, (n,) each, and their log p on the device, float32 (n,)."""
        starts = index[:, 1 + self._tree.edge_node]
        rows, edges = np.nonzero(starts >= 0)
        read, place = np.unique(starts[rows, edges], return_inverse=True)
        hidden = self._engine.decoder(packed, to_device(read, self._engine.device))
        return rows, edges, edge_log_probs(self._engine.head, hidden, place, self._tree.edge_token[edges])


def _by_prefix(prompts: Sequence[Rendered]) -> list[list[int]]:
    """Row numbers of prompts that share what stands before the row, an image of several included; few with images."""
    n_rows = Counter((prompt.prefix, prompt.image) for prompt in prompts)
    groups: dict[tuple[tuple[str, str, str], str], list[int]] = {}
    for i, prompt in enumerate(prompts):
        is_shared = n_rows[prompt.prefix, prompt.image] > 1
        groups.setdefault((prompt.prefix, prompt.image if is_shared else ""), []).append(i)
    return [part for group in groups.values() for part in _few(group, bool(prompts[group[0]].image))]


def _few(group: list[int], has_images: bool) -> list[list[int]]:
    if not has_images:
        return [group]
    return [group[start : start + IMAGE_ROWS] for start in range(0, len(group), IMAGE_ROWS)]


@contextmanager
def _of_row(prompt: Rendered, number: int) -> Iterator[None]:
    """What is wrong with an image within this names its row."""
    try:
        yield
    except DataError as error:
        raise DataError(f"row {number} ({prompt.user[:40]!r}…): {error}") from error


@contextmanager
def _of_memory(device: torch.device, what: str) -> Iterator[None]:
    """Where a device has no memory left within this, a line says for what."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"{device} has no memory left for {what}: use a smaller model") from error


def _in_two_rounds(rounds: _Rounds, n_rows: int, tree: OptionTree) -> NDArray[np.float64]:
    """log p of every edge (n_rows, n_edges): the rows in one round, their trees in another."""
    ends = np.zeros((n_rows, 1 + tree.n_nodes), dtype=bool)
    ends[:, 0] = True
    return rounds.feed(ends) + rounds.feed(~ends)


def _cut(sizes: Sequence[int], limit: Callable[[], int]) -> Iterator[list[int]]:
    """Numbers of consecutive items whose sizes add up to at most the limit as it is then, one item at least."""
    batch: list[int] = []
    total, most = 0, None
    for i, size in enumerate(sizes):
        # It may have to be measured first, and is of no interest to a single item.
        most = limit() if batch and most is None else most
        if most is not None and total + size > most:
            yield batch
            # What was done with them may have shown that less fits.
            batch, total, most = [], 0, None
        batch.append(i)
        total += size
    if batch:
        yield batch


def _cut_by_tokens(rows: Sequence[tuple[int, ...]], limit: Callable[[], int], extra: int) -> Iterator[list[int]]:
    """Row numbers by length, cut into groups of at most ``limit`` tokens. Equal lengths waste no padding."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for group in _cut([len(rows[i]) + extra for i in order], limit):
        yield [order[i] for i in group]


def _n_bytes(cached: KeyValues) -> int:
    return sum(keys.nbytes + values.nbytes for keys, values in cached)
