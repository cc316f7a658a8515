"""The in-process engine: a Hugging Face causal model, scored through packed option trees.

``score`` goes in rounds. The first feeds the rows and reads the probability of every option's first token; the others
feed those parts of the option tree that can still hold noticeable mass (``labelwright.engines.options.expansion``),
starting from the rows' kept keys and values. ``unexpanded_mass = 0`` feeds rows and trees in one pass and is the
reference that the tests hold the fast path to, after it was itself held to one forward pass an option.

Of a vision-language model an image is a part of its row's tokens, or of the prefix where several rows have the same
one; where that is not right for a model, rows are scored one by one (``labelwright.engines.images``).

Which rows go together, and how much fits into a pass, is ``labelwright.engines.passes``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelwright.engines.images.check import Slow, check_images, slow_way
from labelwright.engines.images.plain import PlainRow
from labelwright.engines.images.reader import ImageReader
from labelwright.engines.options.expansion import Expansion, bounded_mass
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.decoder import encode_image, encode_prefix, open_decoder, pack_linears
from labelwright.engines.packed.heads import open_head
from labelwright.engines.packed.memory import give_back, is_out_of_memory, kind_of
from labelwright.engines.packed.packing import KeyValues
from labelwright.engines.packed.seen import SeenImage
from labelwright.engines.packed.self_check import TEXT, check_scores, refuse_by_name, refusing
from labelwright.engines.passes.groups import by_prefix, cut, cut_by_tokens
from labelwright.engines.passes.room import Room, n_bytes, of_memory
from labelwright.engines.passes.rounds import Lines, Rounds, in_two_rounds
from labelwright.engines.passes.writing import Writer, Writing
from labelwright.engines.settings import EngineSettings
from labelwright.engines.tokens import PromptTokens
from labelwright.errors import DataError, ModelError
from labelwright.models.loading import context_length, load_model, load_processor, load_tokenizer, reads_images
from labelwright.models.weights import Weights
from labelwright.pictures.content import opened_image
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration

# What starting a forward pass costs, in tokens that could be fed meanwhile. Below that, looking ahead in the option
# tree is cheaper than coming back.
ROUND_TOKENS = {"cpu": 64, "accelerator": 4096}
# From this share of the open places on, everything below the wanted ones is fed with them.
NEARLY_ALL = 0.9
# Bytes of keys and values of prefixes kept between calls.
PREFIX_BYTES = 256 * 2**20


class _Asked(NamedTuple):
    """The options of one call, and what will be made of their scores."""

    tree: OptionTree
    calibration: Calibration | None


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
        self._room = Room()
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
            for members in by_prefix(prompts):
                lines = self._lines([prompts[i] for i in members], members, tree)
                for group in cut_by_tokens(lines.rows, self._group_tokens, n_extra):
                    scores[[members[i] for i in group]] = self._score_group(lines.of(group), asked)
        return scores

    def _lines(self, prompts: Sequence[Rendered], members: Sequence[int], tree: OptionTree) -> Lines:
        """Rows of one prefix as tokens; an image that all of several have is a part of the prefix."""
        seen = [self._seen(prompt, i + 1) for prompt, i in zip(prompts, members, strict=True)]
        tokens = self.tokens.prefix(prompts[0])
        shared = seen[0] if len(prompts) > 1 and len({prompt.image for prompt in prompts}) == 1 else None
        reserved = len(tokens) + (len(shared.tokens) if shared else 0) + max(map(len, tree.options))
        own: Sequence[SeenImage | None] = [None] * len(prompts) if shared else seen
        heads = [one.tokens if one else () for one in own]
        rows = self.tokens.rows(prompts, reserved, [i + 1 for i in members], [len(head) for head in heads])
        rows = [(*head, *row) for head, row in zip(heads, rows, strict=True)]
        return Lines(rows, own, self._prefix(tokens, shared), shared.shift if shared else 0)

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
        how = Writing(max_new_tokens, stop, pattern)
        with self._lock:
            if self.images is not None:
                rows = [self._plain_row(prompt, i + 1, max_new_tokens) for i, prompt in enumerate(prompts)]
                return [self._writer.after(row.inputs((), self.device), how)[0] for row in rows]
            for members in by_prefix(prompts):
                prefix = self.tokens.prefix(prompts[members[0]])
                numbers = [i + 1 for i in members]
                lines = self.tokens.rows([prompts[i] for i in members], len(prefix) + max_new_tokens, numbers)
                for i, text in zip(members, self._writer.after_rows(prefix, lines, how), strict=True):
                    texts[i] = text
        return texts

    @cached_property
    def _writer(self) -> Writer:
        return Writer(self.model, self.tokenizer, self.tokens)

    def _prefix(self, tokens: tuple[int, ...], seen: SeenImage | None = None) -> KeyValues | None:
        """Keys and values of a prefix, with the image behind it, computed once while it stays among those used last."""
        if not tokens and seen is None:
            return None
        key = tokens, seen.digest if seen else ""
        if key not in self._prefixes:
            with of_memory(self.device, f"a prompt's beginning of {len(tokens)} tokens"):
                before = encode_prefix(self.decoder, tokens, self.device) if tokens and seen is None else None
                if seen is not None:
                    before = encode_image(self.decoder, seen, self._prefix(tokens), self.device)
            assert before is not None
            self._prefixes[key] = before
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > 1 and sum(map(n_bytes, self._prefixes.values())) > PREFIX_BYTES:
            self._prefixes.popitem(last=False)
        return self._prefixes[key]

    def _score_group(self, lines: Lines, asked: _Asked) -> NDArray[np.float64]:
        """``_score_rows``; where the device's memory is too small for all the rows, half as many tokens at a time.

        What was too much once is not tried again: later groups and passes are at most half of it.
        """
        n_rows = len(lines.rows)
        if n_rows == 1:
            with of_memory(self.device, f"a row of {len(lines.rows[0])} tokens"):
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
        self._room.keep_below(self, sum(sizes))
        parts = cut(sizes, self._group_tokens)
        return np.concatenate([self._score_group(lines.of(part), asked) for part in parts])

    def _score_rows(self, lines: Lines, asked: _Asked) -> NDArray[np.float64]:
        tree, n_rows = asked.tree, len(lines.rows)
        expansion = Expansion(tree, n_rows, self.unexpanded_mass, asked.calibration)
        rounds = Rounds(self, lines, tree)
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
        lines = Lines(rows, [None] * len(rows), encode_prefix(self.decoder, tuple(prefix), self.device))
        return in_two_rounds(Rounds(self, lines, tree), len(rows), tree)

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
            lines = Lines([row for row, _ in rows], [None] * len(rows), behind, first.shift)
        else:
            lines = Lines([(*seen.tokens, *row) for row, seen in rows], [seen for _, seen in rows], before)
        edges = in_two_rounds(Rounds(self, lines, tree), len(rows), tree)
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
        return self._room.pass_tokens(self)

    def _group_tokens(self) -> int:
        return self._room.group_tokens(self)


@contextmanager
def _of_row(prompt: Rendered, number: int) -> Iterator[None]:
    """What is wrong with an image within this names its row."""
    try:
        yield
    except DataError as error:
        raise DataError(f"row {number} ({prompt.user[:40]!r}…): {error}") from error
