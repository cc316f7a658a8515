"""A prompt as llama.cpp's decision models have it: a Jinja template, and two more keys in the GGUF file.

llama.cpp answers ``POST /v1/systemone`` itself where a file says ``ARCH.decision.type``. Of type "openjev" it renders
the template ``tokenizer.chat_template.systemone`` for each question (with ``type``, ``instructions``, ``state`` and
``options`` of ``key`` and ``description``), and takes the softmax over the tokens of the bare letters A to Z and a to
z, one an option, behind it, at the temperature ``ARCH.decision.temperature.choice`` (tools/server/server-decision.cpp).
Of type "pplx-decider" the tokens are those of A to Z and then of AA to ZZ, as far as the vocabulary has them as one:
255 options at most, and for a model that has other pairs than the prompt lists no way to say so (``other_pairs``).

What must hold: the template renders the bytes that ``Prompt.render`` does, and no text is ever template. So every text
that is known here stands in it as a string literal, and every text of a request comes in by a variable.

llama.cpp reads markup anywhere in a rendered prompt, where the house reads a row as plain text. So a row that says
``<|im_end|>`` gets a space behind the first character of it, which leaves a word that is no markup.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from itertools import islice, product, zip_longest

from labelwright.data.task import LETTERS
from labelwright.prompt import Prompt, label_letters
from labelwright.statistics.calibration import Calibration

TEMPLATE_KEY = "tokenizer.chat_template.systemone"
# Of options: with the letters, and with pairs of them, which are read by another type of decision model.
LETTERED, PAIRED = 52, 255


def metadata(prompt: Prompt, calibration: Calibration, markup: Iterable[str]) -> Mapping[str, str | float]:
    """The keys of a decision model, for ``labelwright.models.gguf.write_gguf``.

    Parameters
    ----------
    prompt : Prompt
        Of style "letter", the same for every row.
    calibration : Calibration
        Its bias has no place here.
    markup : iterable of str
        Every string that the model's tokenizer takes for one token whatever stands around it.
    """
    return {
        "{arch}.decision.type": "openjev" if len(prompt.labels) <= LETTERED else "pplx-decider",
        "{arch}.decision.temperature.choice": calibration.temperature,
        TEMPLATE_KEY: template(prompt, markup),
    }


def template(prompt: Prompt, markup: Iterable[str]) -> str:
    """The Jinja source.

    A choice among labels of the prompt, all or some, is asked with the prompt's instructions, descriptions and
    examples; any other question with what the request says. Options are listed in the request's order.
    """
    spaced = [(found, found[:1] + " " + found[1:]) for found in _beginnings(markup)]

    def plain(text: str) -> str:
        for found, apart in spaced:
            text = text.replace(found, apart)
        return text

    filters = "".join(f" | replace({literal(found)}, {literal(apart)})" for found, apart in spaced)
    markers = prompt.template
    known = ", ".join(f"{literal(one.name)}: {literal(plain(one.description))}" for one in prompt.labels)
    demos = ", ".join(f"[{literal(plain(text))}, {literal(name)}]" for text, name in prompt.demos)
    lines = [
        f"{{%- macro plain(value) -%}}{{{{- (value if value is string else value | tojson){filters} -}}}}"
        "{%- endmacro -%}",
        f"{{%- set letters = [{', '.join(map(literal, _letters(prompt)))}] -%}}",
        f"{{%- set known = {{ {known} }} -%}}",
        f"{{%- set demos = [{demos}] -%}}",
        '{%- set asked = namespace(own=(type == "choice"), shown=false) -%}',
        "{%- for option in options -%}{%- if option.key not in known -%}{%- set asked.own = false -%}{%- endif -%}"
        "{%- endfor -%}",
        f"{{{{- {literal(markers.before_system)} -}}}}",
        f"{{{{- {literal(plain(prompt.instructions.strip()))} if asked.own else plain(instructions) -}}}}",
        f"{{{{- {literal(_LIST)} -}}}}",
        "{%- for option in options -%}",
        f'{{{{- {literal(_LINE)} ~ letters[loop.index0] ~ ": " ~ plain(option.key) -}}}}',
        "{%- set description = known[option.key] if asked.own else option.description -%}",
        '{%- if description -%}{{- ": " ~ plain(description) -}}{%- endif -%}',
        "{%- endfor -%}",
        "{%- for demo in demos -%}{%- for option in options -%}{%- if asked.own and option.key == demo[1] -%}",
        f"{{%- if not asked.shown -%}}{{{{- {literal(_EXAMPLES)} -}}}}{{%- set asked.shown = true -%}}{{%- endif -%}}",
        f"{{{{- {literal(_GAP)} ~ demo[0] ~ {literal(_LINE + prompt.cue)} ~ letters[loop.index0] -}}}}",
        "{%- endif -%}{%- endfor -%}{%- endfor -%}",
        f"{{{{- {literal(markers.before_user)} -}}}}",
        "{{- plain(state) | trim -}}",
        f"{{{{- {literal(markers.after_user + prompt.cue)} -}}}}",
    ]
    return "".join(lines)


def other_pairs(prompt: Prompt, vocabulary: Container[str]) -> tuple[str, str] | None:
    """The first letters of a label in the prompt and what llama.cpp would read in their place, where these differ."""
    listed = prompt.answers[len(LETTERS) :] if len(prompt.labels) > LETTERED else ()
    pairs = (pair for pair in map("".join, product(LETTERS, LETTERS)) if pair in vocabulary)
    both = zip_longest(listed, islice(pairs, len(listed)), fillvalue="nothing")
    return next(((ours, theirs) for ours, theirs in both if ours != theirs), None)


def _letters(prompt: Prompt) -> tuple[str, ...]:
    """All that options of any question may stand behind."""
    return label_letters(LETTERED if len(prompt.labels) <= LETTERED else PAIRED)


# As ``Prompt.system`` puts its parts together.
_GAP, _LINE = "\n\n", "\n"
_LIST, _EXAMPLES = "\n\nLabels:", "\n\nExamples:"


def literal(text: str) -> str:
    r"""A text as a string in Jinja source; the escapes are those that llama.cpp's reader knows.

    >>> print(literal('say "{{ x }}"\nor not'))
    "say \"{{ x }}\"\nor not"
    """
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, escape)
    return f'"{text}"'


def _beginnings(markup: Iterable[str]) -> list[str]:
    """What to look for so that all markup is found: how most of it begins, and the rest whole, the longest first."""
    return sorted({"<|" if one.startswith("<|") else one for one in markup}, key=lambda one: (-len(one), one))
