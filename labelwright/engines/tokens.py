"""Text to tokens: template markup kept apart from what a user wrote, and rows made to fit the context.

A prompt is tokenised in segments and must come out as it would in one piece. Two things stand against that. Tokenizers
of the SentencePiece kind put a space before a text, which a segment in the middle of a prompt must not get: those are
tokenised by a copy without it (``_continuing``), but where the segment follows a special token and the tokenizer itself
would begin anew. And a space at a markup's end belongs to the word behind it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from labelwright.engines.options.tree import OptionTree, prefix_free
from labelwright.errors import DataError, ModelError
from labelwright.prompt import Rendered, Template

# Option trees kept between calls, and stretches of a template: all rows of a prompt have the same.
_TREES = 16
_MARKUPS = 64
# Rows that a message names; of more it says how many.
_NAMED_ROWS = 10


class PromptTokens:
    """The only way from a prompt's segments to token ids, shared by every engine that takes token ids.

    Parameters
    ----------
    tokenizer : transformers fast tokenizer
        Or ``labelwright.engines.packed.known.LeanTokenizer``.
    template : Template
    name : str
        What to call the model in messages.
    max_tokens : int, optional
        The model's context; None where it has no limit.
    long_rows : {"refuse", "head", "head_tail"}
        As in ``labelwright.engines.settings.EngineSettings``.

    Attributes
    ----------
    end_of_turn : tuple of int
        What closes an answer.
    n_shortened : int
        Rows that ``rows`` has cut so far.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Template,
        *,
        name: str = "model",
        max_tokens: int | None = None,
        long_rows: str = "refuse",
    ) -> None:
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError("the tokenizer is a slow one: expected a fast tokenizer (tokenizer.json)")
        # To write and to read it takes long, because of the vocabulary.
        spec = getattr(tokenizer, "spec", None) or json.loads(backend.to_str())
        self._special = {added["id"]: added["content"] for added in spec["added_tokens"] if added["special"]}
        self._begin, self._middle, self._puts_space = _plain_tokenizers(backend, spec)
        self.name = name
        self.max_tokens = max_tokens
        self.long_rows = long_rows
        self._begins_anew: dict[str, bool] = {}
        self._markups: dict[str, list[int]] = {}
        self.end_of_turn = tuple(self._markup_inside(template.end_of_turn))
        self.n_shortened = 0
        self._trees: dict[tuple[str, ...], OptionTree] = {}

    def markup(self, text: str) -> list[int]:
        """Tokens of template text; special-token strings become special tokens. Some of the last ones are kept."""
        found = self._markups.get(text)
        if found is None:
            found = self._tokenizer.encode(text, add_special_tokens=False) if text else []
            # Callers may be threads: what one of them drops, or has written meanwhile, is no other's loss.
            if len(self._markups) >= _MARKUPS:
                self._markups = {}
            self._markups[text] = found
        return [*found]

    def plain(self, text: str) -> list[int]:
        """Tokens of plain text within a prompt; ``<|im_end|>`` in a row is nine ordinary characters."""
        return self._encode(self._middle, text)

    def prefix(self, prompt: Rendered) -> tuple[int, ...]:
        """Everything before the row."""
        before_system, space = _without_last_space(prompt.before_system)
        # Before an image a space is markup like the rest.
        before_user, _ = (prompt.before_user, "") if prompt.image else _without_last_space(prompt.before_user)
        system = self._plain_after(before_system, space + prompt.system)
        return (*self.markup(before_system), *system, *self._markup_inside(before_user))

    def row(self, prompt: Rendered) -> tuple[int, ...]:
        """The row and what follows it, up to the answer; never shortened."""
        return (*self._user(prompt), *self._after_row(prompt))

    def of_rows(self, prompt: Rendered) -> tuple[Tokenizer, str]:
        """The tokenizer that reads rows behind a prompt, no string being special to it, and what to put before each."""
        before, space = _without_last_space(prompt.before_row)
        return self._begin if before and self._begins_after(before) else self._middle, space

    def after_row(self, prompt: Rendered) -> tuple[int, ...]:
        """What follows the row, up to the answer."""
        return self._after_row(prompt)

    def image_markup(self, prompt: Rendered) -> str:
        """The markup that an image's tokens are made of, of a prompt with one."""
        return _without_last_space(prompt.image_markup)[0]

    def rows(
        self,
        prompts: Sequence[Rendered],
        reserved: int,
        numbers: Sequence[int | str],
        n_image_tokens: Sequence[int] = (),
    ) -> list[tuple[int, ...]]:
        """``row`` for many prompts, made to fit the context as ``long_rows`` says.

        Parameters
        ----------
        reserved : int
            Tokens that the context must hold besides the row: the prefix before it and the answer after it.
        numbers : sequence of int or str
            What messages call the rows: their numbers, counted from 1, or their ids.
        n_image_tokens : sequence of int, optional
            What each row's image takes up, where they have one; an image is never shortened.

        Raises
        ------
        DataError
            Rows that do not fit and may not be shortened, named all at once; a prompt that leaves no room for any row.
        """
        fitted, refused = [], []
        for prompt, number, n_image in zip(prompts, numbers, n_image_tokens or [0] * len(prompts), strict=True):
            user, after = self._user(prompt), self._after_row(prompt)
            taken = reserved + n_image + len(after)
            room = None if self.max_tokens is None else self.max_tokens - taken
            if room is not None and len(user) > room:
                if self.long_rows == "refuse" or room < 1:
                    refused.append((f"{number} ({prompt.user[:40]!r}…)", len(user) + taken, room))
                    continue
                user = shorten(user, room, self.long_rows)
                self.n_shortened += 1
            fitted.append((*user, *after))
        if refused:
            raise DataError(self._refusal(refused))
        return fitted

    def sequences(self, prompts: Sequence[Rendered], reserved: int) -> list[tuple[int, ...]]:
        """Prompts in full, each by itself, with room for ``reserved`` tokens of an answer; errors as of ``rows``."""
        found = []
        for number, prompt in enumerate(prompts, start=1):
            prefix = self.prefix(prompt)
            found.append(prefix + self.rows([prompt], len(prefix) + reserved, [number])[0])
        return found

    def tree(self, options: Sequence[str]) -> OptionTree:
        """The token tree of answer strings; all closed by the end of turn if one is the beginning of another.

        The last trees built are kept. Raises DataError where two options are the same tokens, or one is empty.
        """
        key = tuple(options)
        if key not in self._trees:
            tokens = [tuple(self.plain(option)) for option in key]
            closed = [(*option, *self.end_of_turn) for option in tokens]
            if len(set(tokens)) < len(tokens) or () in tokens:
                bad = next(o for i, o in enumerate(key) if not tokens[i] or tokens[i] in tokens[:i])
                raise DataError(f"option {bad!r} is empty or the same tokens as another: give each label its own name")
            if len(self._trees) >= _TREES:
                self._trees.pop(next(iter(self._trees)), None)
            self._trees[key] = OptionTree.build(tokens if prefix_free(tokens) else closed)
        return self._trees[key]

    def _after_row(self, prompt: Rendered) -> tuple[int, ...]:
        # Without a thought both stretches of markup are tokenised as one string, as they are written.
        if not prompt.thought:
            return tuple(self._markup_inside(prompt.after_user + prompt.answer_start))
        after_user, space = _without_last_space(prompt.after_user)
        thought = self._plain_after(after_user, space + prompt.thought)
        return (*self._markup_inside(after_user), *thought, *self._markup_inside(prompt.answer_start))

    def _user(self, prompt: Rendered) -> list[int]:
        before, space = _without_last_space(prompt.before_row)
        return self._plain_after(before, space + prompt.user) if before else self.plain(space + prompt.user)

    def _plain_after(self, markup: str, text: str) -> list[int]:
        """Plain text behind markup, or at the very beginning."""
        return self._encode(self._begin if self._begins_after(markup) else self._middle, text)

    def _begins_after(self, markup: str) -> bool:
        """Whether the tokenizer takes what follows this markup for the beginning of a text."""
        if not self._puts_space or not markup:
            return self._puts_space
        if markup not in self._begins_anew:
            before, whole = self.markup(markup), self.markup(markup + "x")
            parts = [before + self._encode(one, "x") for one in (self._middle, self._begin)]
            self._begins_anew[markup] = whole == parts[1] != parts[0]
        return self._begins_anew[markup]

    def _markup_inside(self, text: str) -> list[int]:
        """Tokens of template text that follows plain text."""
        if not self._puts_space or not text:
            return self.markup(text)
        # Behind a letter, which is then taken away, the tokenizer does not take it for a beginning.
        for letter in "x0.":
            before, whole = self.markup(letter), self.markup(letter + text)
            if whole[: len(before)] == before:
                return whole[len(before) :]
        return self.markup(text)

    def _encode(self, tokenizer: Tokenizer, text: str) -> list[int]:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        if self._special.keys().isdisjoint(encoding.ids):
            return encoding.ids
        # A vocabulary of pieces can hold a special token's string as a piece: told in two parts it is none. (What is
        # unknown is a special token, too, but does not stand for its own name.)
        for (start, end), one in zip(encoding.offsets, encoding.ids, strict=True):
            if one in self._special and self._special[one] in text[start:end] and end - start > 1:
                cut = end - 1
                return self._encode(tokenizer, text[:cut]) + self._encode(self._middle, text[cut:])
        return encoding.ids

    def _refusal(self, refused: Sequence[tuple[str, int, int]]) -> str:
        """What is said of rows that do not fit: (name, tokens with the prompt, room) each."""
        names = ", ".join(name for name, _, _ in refused[:_NAMED_ROWS])
        more = f" and {len(refused) - _NAMED_ROWS} more" if len(refused) > _NAMED_ROWS else ""
        where = f"row{'s' * (len(refused) > 1)} {names}{more}"
        if self.long_rows == "refuse":
            longest = "up to " * (len(refused) > 1) + str(max(n_tokens for _, n_tokens, _ in refused))
            return (
                f"{where}: {longest} tokens with its prompt, but {self.name} reads at most {self.max_tokens}; "
                f'shorten the text or the instructions, or set long_rows = "head" or "head_tail"'
            )
        prompt_tokens = (self.max_tokens or 0) - min(room for _, _, room in refused)
        return (
            f"{where}: the prompt alone has {prompt_tokens} tokens, but {self.name} reads at most {self.max_tokens}; "
            f"shorten the instructions or the label list"
        )


def most_tokens(options: Sequence[str]) -> int:
    """How many tokens an option may take under another's grammar, which may spell it otherwise, at worst a byte each.

    >>> most_tokens([" pool", " fountain"])
    10
    """
    return max(len(option.encode()) for option in options) + 1


def shorten(tokens: Sequence[int], room: int, how: str) -> list[int]:
    """The first ``room`` tokens ("head"), or the first and the last half of them ("head_tail").

    >>> shorten([1, 2, 3, 4, 5], 3, "head"), shorten([1, 2, 3, 4, 5], 3, "head_tail")
    ([1, 2, 3], [1, 2, 5])
    """
    tail = room // 2 if how == "head_tail" else 0
    return [*tokens[: room - tail], *tokens[len(tokens) - tail :]]


def _without_last_space(markup: str) -> tuple[str, str]:
    return (markup[:-1], " ") if markup.endswith(" ") else (markup, "")


def _plain_tokenizers(backend: Tokenizer, spec: dict[str, Any]) -> tuple[Tokenizer, Tokenizer, bool]:
    """The same tokenizer with no string singled out as special, so that no text can forge markup.

    They share the vocabulary of ``backend``: to write and to read it again would take longer than to score a row.

    Parameters
    ----------
    spec : dict
        What ``backend`` is made of.

    Returns
    -------
    begin, middle : Tokenizer
        For the beginning of a text, and for text that stands within one.
    puts_space : bool
        Whether they differ.
    """
    steps = {step: spec.get(step) for step in ("normalizer", "pre_tokenizer")}
    continuing = {step: _continuing(value) for step, value in steps.items()}
    begin = _with_steps(backend, steps)
    differs = continuing != steps
    return begin, _with_steps(backend, continuing) if differs else begin, differs


def _with_steps(backend: Tokenizer, steps: dict[str, Any]) -> Tokenizer:
    """A tokenizer of the same model, with these steps before it and nothing after it."""
    # Steps are read as parts of a whole tokenizer; its own model is not needed for that.
    empty = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    read = Tokenizer.from_str(json.dumps({**empty, "post_processor": None, "decoder": None, **steps}))
    plain = Tokenizer(backend.model)
    for step in steps:
        if getattr(read, step) is not None:
            setattr(plain, step, getattr(read, step))
    return plain


def _continuing(step: Any) -> Any:
    """A step of a tokenizer without the space that it puts before a text."""
    if not isinstance(step, dict):
        return step
    if step["type"] == "Prepend":
        return None
    if step["type"] == "Metaspace":
        return {**step, "prepend_scheme": "never"}
    if step["type"] == "ByteLevel":
        return {**step, "add_prefix_space": False}
    if step["type"] == "Sequence":
        name = "normalizers" if "normalizers" in step else "pretokenizers"
        return {**step, name: [inner for inner in map(_continuing, step[name]) if inner is not None]}
    return step
