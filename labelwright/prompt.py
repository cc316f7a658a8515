"""The only place where a row becomes model text.

Owns the template (the literal chat markup of a model), the system text (instructions, label list, demonstrations)
and the answer strings. Knows nothing about tokens: engines tokenise the segments this module hands them.

A rendered prompt is kept as segments because two things depend on where they end. What stands before the row is the
same for every row, so engines compute it once. And only the template's own segments may contain markup: the system
text and the row are tokenised as plain text, so a row that says ``<|im_end|>`` cannot end its turn. Examples that are
the row's own (``Neighbours``) stand before it in its segment, as plain text too; ``labelwright.decide`` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from labelwright.data.asked.classes import classes_of_rows
from labelwright.data.asked.questions import NO, YES, Point, put, row_of
from labelwright.data.choices import rotations
from labelwright.data.task import LETTERS, Label, Task
from labelwright.errors import DataError, ModelError, RecipeError
from labelwright.pictures.imaged import NO_IMAGE, imaged, split_imaged

# How a label is answered, and how that is said.
Style = Literal["name", "code", "letter"]
STYLES: tuple[Style, ...] = get_args(Style)
SAID: dict[Style, str] = {"name": "label names", "code": "two-letter codes", "letter": "letters"}

# A labelled row that is shown to the model: its text, and the name of its label.
Demo = tuple[str, str]

# Consonants only, so that no code spells a word; I, O and Q are left out because they read as 1, 0 and O.
_CODE_LETTERS = "BCDFGHJKLMNPRSTVWXZ"
# Those that are one token after a space in SmolLM2's vocabulary of 49,152; larger vocabularies hold most of them too.
_ONE_TOKEN_CODES = """
BB BC BD BJ BL BM BP BR BS BT CB CC CD CF CG CH CJ CL CM CN CP CR CS CT CV CW DB DC DD DF DG DH DJ DL DM DN DP DR DS DT
DV DW FB FC FD FH FL FM FP FR FS FT GB GC GD GH GL GM GN GP GR GS GT GW HB HC HD HF HL HM HP HR HS HT HV JC JD JF JH JJ
JL JM JP JR JS JW KB KL KM KS LB LC LD LG LH LL LM LP LS LT MB MC MD MF MG MH MJ MK ML MM MN MP MR MS MT MV MW NC ND NF
NG NH NJ NK NL NM NP NR NS NT NV NW NZ PB PC PD PF PG PH PJ PK PL PM PP PR PS PT PV RB RC RD RF RG RH RJ RL RM RN RP RR
RS RT RV RW SB SC SD SF SG SH SJ SK SL SM SN SP SR SS ST SV SW TB TC TD TF TH TL TM TN TP TR TS TT TV TW TX VL VM VP VR
VS VT WC WH WR WS WW XL XP XX
"""

# Two capitals that are one token of SmolLM2's where they stand alone, A to Z first: with the letters 255.
_PAIRS = """
AA AB AC AD AE AF AG AH AI AK AL AM AN AP AR AS AT AU AV AW AX AY BA BB BC BD BE BF BG BH BI BL BM BN BO BP BR BS BT
BU BV BY CA CB CC CD CE CF CG CH CI CL CM CN CO CP CR CS CT CU CV CY DA DB DC DD DE DF DH DI DL DM DN DO DP DR DS DT
EA EC ED EE EF EG EL EM EN EP ER ES ET EU EV EW EX FA FC FD FE FF FI FL FM FN FO FP FR FS FT FW GA GB GC GD GE GF GG
GH GI GL GM GN GO GP GR GS GT GW GY HA HC HD HE HF HI HL HO HP HR HS HT HV IA IB IC ID IE IF IG IH II IK IL IM IN IO
IP IR IS IT IU IV IX IZ JC JD JO JS JV KA KB KD KE KG KK KN KS LA LC LD LE LG LI LL LM LO LP LR LS LT LU LV LY MA MB
MC MD ME MH MI ML MM MN MO MP MR MS MT MW MY NA NB NC ND NE NF NG NH NI NL NM NN NO NP NR NS NT NV NW
"""


class Rendered(NamedTuple):
    """One prompt, in the order in which it is read.

    ``before_system``, ``before_user``, ``after_user`` and ``answer_start`` are template markup and may hold special
    tokens; ``system``, ``user`` and ``thought`` are plain text, whatever they contain. Without thinking the last two
    are empty, and ``after_user`` ends with the cue. Where the row has an image, ``image`` is its hash, and
    ``image_markup``, which stands between ``before_user`` and ``user``, the template's place for it: an engine puts
    there what its model makes of the image.
    """

    before_system: str
    system: str
    before_user: str
    user: str
    after_user: str
    thought: str = ""
    answer_start: str = ""
    image: str = ""
    image_markup: str = ""

    @property
    def prefix(self) -> tuple[str, str, str]:
        """The three segments that do not depend on the row."""
        return self[:3]

    @property
    def text(self) -> str:
        """The whole prompt as one string; of an image, its place."""
        return "".join((*self[:3], self.image_markup, *self[3:7]))

    @property
    def before_row(self) -> str:
        """The markup that the row's own words follow."""
        return self.image_markup or self.before_user

    @property
    def row(self) -> str:
        """The row's text as it was rendered, its image named in it."""
        return imaged(self.user, self.image) if self.image else self.user

    @property
    def segments(self) -> tuple[str, ...]:
        """All that tells this prompt from others: its segments, and the image and its place where there is one."""
        return tuple(self) if self.image else self[:7]

    def named(self) -> dict[str, str]:
        """The segments by name, those of an image only where there is one."""
        return dict(zip(self._fields, self.segments, strict=False))


@dataclass(frozen=True)
class Template:
    """The literal text that a chat model expects around a system message and a user message.

    Attributes
    ----------
    before_system, before_user, after_user : str
        Markup before the system text, between it and the row, and between the row and the answer.
    end_of_turn : str
        What ends the assistant's answer. Where an option is the beginning of another it is scored with each of them.
    after_thought : str
        Where the model thinks: what closes a thought, which ``after_user`` then opens. Empty without thinking.
    thinking_tokens : int
        The budget of a thought: a bundle must think as long as what was measured did.
    before_image, image : str
        Where a row has an image: the markup between the system text and it, in the place of ``before_user``, and from
        the image's own token to the row's words. Both empty of a model that reads none.
    """

    before_system: str = ""
    before_user: str = "\n\n"
    after_user: str = "\n"
    end_of_turn: str = "\n"
    after_thought: str = ""
    thinking_tokens: int = 0
    before_image: str = ""
    image: str = ""

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, thinking: bool = False, image_token: str = "") -> Template:
        """Read the markup off a Hugging Face tokenizer's chat template, thinking off unless asked for.

        The template is rendered once around marker words and cut at the markers, so that the bundle carries the
        literal text and no later stage renders Jinja again.

        Parameters
        ----------
        image_token : str
            What stands for an image in the template of a model that reads them; messages are then lists of parts.

        Raises
        ------
        ModelError
            If the tokenizer has no chat template, or one that refuses, drops, rewrites or reorders the messages.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "the tokenizer has no chat template: expected an instruction-tuned model; "
                "use one, or set tokenizer.chat_template and save it with the model"
            )
        from jinja2 import TemplateError  # comes with every tokenizer that has a chat template

        system, user, answer = "SYSTEMTEXT", "USERTEXT", "ANSWERTEXT"

        def message(role: str, text: str, *before: dict[str, str]) -> dict[str, Any]:
            parts = [*before, {"type": "text", "text": text}]
            return {"role": role, "content": parts if image_token else text}

        messages = [message("system", system), message("user", user)]

        def apply(messages: list[dict[str, Any]], *, generation: bool) -> str:
            try:
                return tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=generation, enable_thinking=False
                )
            except TemplateError as error:
                raise ModelError(f"the chat template refuses the messages ({error}): choose another model") from error

        asked = apply(messages, generation=True)
        answered = apply([*messages, message("assistant", answer)], generation=False)
        kept = asked.count(system) == 1 and asked.count(user) == 1 and answered.count(answer) == 1
        if not kept or asked.index(system) > asked.index(user):
            raise ModelError("the chat template does not keep system, user and answer in order: choose another model")
        before_system, rest = asked.split(system)
        before_user, after_user = rest.split(user)
        # Some templates put a newline after the end-of-turn token; the turn is over at the token.
        end_of_turn = answered.split(answer)[1].rstrip("\n") or (tokenizer.eos_token or "\n")
        template = cls(before_system, before_user, after_user, end_of_turn)
        if image_token:
            shown = apply([messages[0], message("user", user, {"type": "image"})], generation=True)
            template = template._with_image(shown.partition(system)[2].partition(user)[0], image_token)
            if shown.replace(template.before_image + template.image, before_user) != asked:
                raise ModelError("the chat template writes otherwise around an image: choose another model")
        return template._with_thoughts() if thinking else template

    def _with_image(self, between: str, token: str) -> Template:
        """The same template with a place for an image; ``between`` stands between the system text and the row."""
        if between.count(token) != 1:
            raise ModelError(f"the chat template has no one place for an image ({token}): choose another model")
        place = between.index(token)
        return replace(self, before_image=between[:place], image=between[place:])

    def _with_thoughts(self) -> Template:
        """The same template with the thought left open, of a model that is given an empty one to keep it from thinking.

        Raises
        ------
        ModelError
            If the template gives no empty thought.
        """
        empty = re.search(r"(<think>\s*?\n)(\s*</think>\s*)$", self.after_user)
        if empty is None:
            raise ModelError(
                "the chat template has no thoughts to switch on (no empty <think></think> before the answer): "
                "set thinking_tokens = 0, or choose a model that can think"
            )
        before = self.after_user[: empty.start()]
        return replace(self, after_user=before + empty[1], after_thought="\n" + empty[2].lstrip("\n"))


@dataclass(frozen=True)
class Neighbours:
    """A pool of labelled rows, and how many of them a row is shown: those that are most like it.

    Parameters
    ----------
    pool : tuple of (text, label name)
    k : int, at least 1
        Rows shown; fewer where the pool has no more.
    encoder : str
        As ``labelwright.predictors.encoders.sentence_encoder.open_encoder`` takes it.
    groups : tuple of int, optional
        One a pool row. Where a text is itself in the pool (a training row), its whole group is left out: a paraphrase
        from the same hand is nearer than anything that a new row will find.

    Raises
    ------
    RecipeError
        k below 1, an empty pool, or groups of another length.
    """

    pool: tuple[Demo, ...]
    k: int
    encoder: str = "minilm"
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.k < 1 or not self.pool:
            raise RecipeError(f"neighbours: k = {self.k} of a pool of {len(self.pool)} rows: expected at least 1 of 1")
        if self.groups and len(self.groups) != len(self.pool):
            raise RecipeError(f"neighbours: {len(self.groups)} groups for {len(self.pool)} rows: expected one a row")

    def first(self) -> tuple[Demo, ...]:
        """As many rows of the pool as a text is shown, whatever the text; no encoder is opened."""
        return self.pool[: self.k]


@dataclass(frozen=True)
class Prompt:
    """What the model is told: instructions, labels, demonstrations, and how they are written down.

    Parameters
    ----------
    instructions : str
        The part that GEPA rewrites.
    labels : tuple of Label
        In the order of every probability vector in the house. None where what is asked has a free answer.
    demos : tuple of (text, label name)
        Worked examples, listed after the labels; texts as the model reads them (``read_of``).
    style : {"name", "code", "letter"}
        Whether the model answers with the label's name, with an opaque two-letter code, or with the letter before the
        label in the list. Letters are what other runtimes read (llama.cpp's decision models).
    template : Template
        The markup of the model that will read the prompt.
    cue : str
        Written at the start of the assistant's answer; options follow it, names and codes after a space.
    by_row : bool
        Rows bring their own choices (``labelwright.data.choices``): labels are the letters before them, and not listed.
    neighbours : Neighbours, optional
        Worked examples that differ by row: those of a pool that are most like it.
    points : tuple of Point
        Where several are asked of every row (``labelwright.data.asked``): labels are the classes of these. The model
        reads a row without its point, so that what it says to all of them comes out of one reading; its answer names
        the point.
    images : bool
        Rows have an image, which their texts begin with (``labelwright.pictures.imaged``).

    Raises
    ------
    RecipeError
        If the style is none of the three, or other than names where there are points; or a demonstration has a label
        that is not one of the labels.
    """

    instructions: str
    labels: tuple[Label, ...]
    demos: tuple[Demo, ...] = ()
    style: Style = "name"
    template: Template = field(default_factory=Template)
    cue: str = "Label:"
    by_row: bool = False
    neighbours: Neighbours | None = None
    points: tuple[Point, ...] = ()
    images: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise RecipeError(f"prompt style {self.style!r}: expected {said_styles()}")
        if self.points and self.style != "name":
            raise RecipeError(f"prompt style {self.style!r}: several points are asked of a row, by their names alone")
        names = {label.name for label in self.labels}
        for text, name in (*self.demos, *(self.neighbours.pool if self.neighbours else ())):
            if name not in names:
                raise RecipeError(f"the example {text[:40]!r} has the label {name!r}, which is not one of the labels")

    @classmethod
    def for_task(cls, task: Task, template: Template, style: Style = "name") -> Prompt:
        """The untuned prompt of a task: its instructions and labels as they stand."""
        images = task.shows_images
        if task.by_row:
            letters = tuple(map(Label, task.names))
            return cls(task.instructions, letters, template=template, cue="Answer:", by_row=True, images=images)
        # What a question alone asks beyond its task stands with the task's words.
        said = [one.instructions for one in task.questions if one.instructions and not task.points]
        instructions = "\n".join([task.instructions, *said])
        # An answer to one of several points names it.
        cue = "Answer:" if task.points else cls.cue
        labels, points = task.labels, task.points
        return cls(instructions, labels, (), style, template, cue, images=images, points=points)

    def classes_of(self, texts: Sequence[str]) -> NDArray[np.bool_] | None:
        """(n_texts, n_labels): which labels each row can have; None where all rows can have all.

        Raises
        ------
        DataError
            As ``labelwright.data.asked.classes.classes_of_rows``.
        """
        return classes_of_rows(texts, len(self.labels), self.by_row, self.points)

    @property
    def lists_labels(self) -> bool:
        """Whether labels stand in the system text: not letters of a row's own choices, and none of a free answer."""
        return not self.by_row and bool(self.labels)

    def orders_of(self, texts: Sequence[str]) -> list[list[str]]:
        """Each row with its own choices in every cyclic order; nothing where rows bring none."""
        return [rotations(text) for text in texts] if self.by_row else []

    @property
    def restricts_rows(self) -> bool:
        """Whether a row can have but some of the labels."""
        return self.by_row or bool(self.points)

    def read_of(self, text: str) -> str:
        """What the model reads of a row: its text, without the point that is asked."""
        return row_of(text, self.points)

    @property
    def answers(self) -> tuple[str, ...]:
        """What the model writes for each label, in label order: its name, its code, or its letter."""
        return answers_of(self.style, self.labels)

    @property
    def options(self) -> tuple[str, ...]:
        """The answers as they follow the cue, for ``Engine.score``. The engine adds the end of turn."""
        # Who reads letters reads the token of the bare letter.
        return self.answers if self.style == "letter" else tuple(f" {answer}" for answer in self.answers)

    @property
    def system(self) -> str:
        """The system text: instructions, label list, demonstrations."""
        parts = [self.instructions.strip()]
        if self.points:
            parts.append("\n".join(self._point_lines()))
        elif self.lists_labels:
            parts.append("Labels:\n" + "\n".join(self._label_lines()))
        if self.demos:
            parts.append(self._examples(self.demos))
        return "\n\n".join(parts)

    def render(self, text: str, shown: Sequence[Demo] | None = None) -> Rendered:
        """The prompt for one row; ``render(text).text`` is the string. Space around the row is dropped."""
        return self.render_all([text], None if shown is None else [shown])[0]

    def render_all(self, texts: Sequence[str], shown: Sequence[Sequence[Demo]] | None = None) -> list[Rendered]:
        """``render`` for many rows; the system text is built once.

        Parameters
        ----------
        texts : sequence of str
        shown : sequence of sequences of Demo, one a text
            What ``neighbours`` has for each; ``labelwright.decide.render_rows`` looks it up.
        """
        assert (shown is None) == (self.neighbours is None), "rows that show others are rendered by labelwright.decide"
        texts = [self.read_of(text.strip()).strip() for text in texts]
        if shown is None:
            return self._rendered(texts)
        return self._rendered([self._with_examples(text, demos) for text, demos in zip(texts, shown, strict=True)])

    def sketch(self, text: str) -> Rendered:
        """``render`` with the first rows of the pool in place of the nearest, so that no encoder is needed.

        Where rows have images it has none in particular.
        """
        text = imaged(text, NO_IMAGE) if self.images else text
        if self.points:
            text = put(text, self.points[0])
        if self.neighbours is None:
            return self.render(text)
        return self.render(text, self.neighbours.first())

    @property
    def shown(self) -> str:
        """System text and a row, ``{{text}}`` in its place, without the model's own markers: for people to compare."""
        sketch = self.sketch("{{text}}")
        return f"{sketch.system}\n\n{sketch.user}"

    def with_instructions(self, instructions: str) -> Prompt:
        """The same prompt with other instructions."""
        return replace(self, instructions=instructions)

    def _rendered(self, users: Sequence[str]) -> list[Rendered]:
        template, system = self.template, self.system
        before = (template.before_system, system, template.before_user)
        after = (template.after_user + self.cue, "", "")
        if template.after_thought:
            after = (template.after_user, "", template.after_thought + self.cue)
        if not self.images:
            return [Rendered(*before, user, *after) for user in users]
        before = (template.before_system, system, template.before_image)
        rows = map(split_imaged, users)
        return [Rendered(*before, words, *after, digest, template.image) for digest, words in rows]

    def _with_examples(self, text: str, demos: Sequence[Demo]) -> str:
        """A row below its own examples, each on one line."""
        lines = [(" ".join(self.read_of(demo).split()), name) for demo, name in demos]
        return f"{self._examples(lines)}\n\n{text}" if lines else text

    def _examples(self, demos: Sequence[Demo]) -> str:
        option = dict(zip((label.name for label in self.labels), self.options, strict=True))
        # As the row itself stands before its answer; "text -> answer" on one line was ten points worse.
        return "\n\n".join(["Examples:", *(f"{text}\n{self.cue}{option[name]}" for text, name in demos)])

    def _label_lines(self) -> list[str]:
        lines = []
        for label, answer in zip(self.labels, self.answers, strict=True):
            line = {"name": "- {1}", "code": "- {0} = {1}", "letter": "{0}: {1}"}[self.style].format(answer, label.name)
            lines.append(f"{line}: {label.description}" if label.description else line)
        return lines

    def _point_lines(self) -> list[str]:
        """What is asked: first all that is answered yes or no, then each point with its answers."""
        closed = (Label(YES), Label(NO))
        plain = [point for point in self.points if point.answers == closed]
        others = [point for point in self.points if point.answers != closed]
        lines = ["Each of these applies or does not, answered yes or no:"] if plain else []
        lines += [f"- {point.name}: {point.about}" if point.about else f"- {point.name}" for point in plain]
        lines += ["Each of these has one of the answers behind it:"] if others else []
        for point in others:
            lines.append(f"- {point.name}: {point.about}" if point.about else f"- {point.name}:")
            lines += [f"  - {one.name}: {one.description}" if one.description else f"  - {one.name}" for one in
                      point.answers]  # fmt: skip
        return lines


def said_styles(before: str = "", quote: str = '"') -> str:
    """The styles there are, for messages: ``"name", "code" or "letter"``."""
    *first, last = (f"{quote}{before}{style}{quote}" for style in STYLES)
    return f"{', '.join(first)} or {last}"


def answers_of(style: Style, labels: Sequence[Label]) -> tuple[str, ...]:
    """What the model writes for each label. Raises DataError where there are more labels than codes or letters."""
    if style == "name":
        return tuple(label.name for label in labels)
    return label_codes(len(labels)) if style == "code" else label_letters(len(labels))


def label_letters(n_labels: int) -> tuple[str, ...]:
    """The letters before up to 255 listed labels: those before a row's own choices, then small ones, or pairs.

    For more than 52 labels the small ones' place is taken by pairs of capitals. llama.cpp reads the same ones in
    the same order (``decision.type`` "openjev"; "pplx-decider" for more), where the model's vocabulary has these pairs.

    >>> label_letters(3)
    ('A', 'B', 'C')
    >>> label_letters(53)[25:28]
    ('Z', 'AA', 'AB')
    """
    letters = (*LETTERS, *map(str.lower, LETTERS))
    if n_labels > len(letters):
        letters = (*LETTERS, *_PAIRS.split())
    if n_labels > len(letters):
        raise DataError(f'{n_labels} labels are more than the {len(letters)} letters: use style = "name" or "code"')
    return letters[:n_labels]


def label_codes(n_labels: int) -> tuple[str, ...]:
    """Opaque two-letter answers, the same for the same number of labels; fewer labels get the first of them.

    Pairs that are one token after a space come first, so that a row is decided in one look, and first letters differ
    for as long as the alphabet allows.

    >>> label_codes(3)
    ('BC', 'CD', 'DF')
    """
    size = len(_CODE_LETTERS)
    if n_labels > size * size:
        raise DataError(f'{n_labels} labels are more than the {size * size} two-letter codes: use style = "name"')
    return _all_codes()[:n_labels]


@cache
def _all_codes() -> tuple[str, ...]:
    size = len(_CODE_LETTERS)
    # A lap gives each first letter the letter that stands ``lap`` further on, so no lap repeats a pair.
    pairs = [_CODE_LETTERS[i] + _CODE_LETTERS[(i + lap) % size] for lap in [*range(1, size), 0] for i in range(size)]
    single = frozenset(_ONE_TOKEN_CODES.split())
    by_letter = {first: [pair for pair in pairs if pair[0] == first and pair in single] for first in _CODE_LETTERS}
    laps = max(map(len, by_letter.values()))
    codes = [by_letter[first][lap] for lap in range(laps) for first in _CODE_LETTERS if lap < len(by_letter[first])]
    return (*codes, *(pair for pair in pairs if pair not in single))
