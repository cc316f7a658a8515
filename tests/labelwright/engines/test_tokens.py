"""A prompt's segments are the tokens that the tokenizer gives the whole, whatever kind of tokenizer it is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CHATML, CORPUS, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from labelwright.data.task import Label
from labelwright.engines.tokens import PromptTokens
from labelwright.engines.transformers import TransformersEngine
from labelwright.prompt import Prompt, Template

# Llama 2's, whose markup is text; Zephyr's, whose text follows special tokens; Mistral's, with a space before the row.
INST = (
    "<s>[INST] <<SYS>>\n{{ messages[0].content }}\n<</SYS>>\n\n{{ messages[1].content }} [/INST]"
    "{% if messages|length > 2 %} {{ messages[2].content }} </s>{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '</s>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPACED = (
    "<s>[SYS] {{ messages[0].content }} [/SYS][INST] {{ messages[1].content }} [/INST]"
    "{% if messages|length > 2 %} {{ messages[2].content }}</s>{% endif %}"
)
TURNS = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
TEMPLATES = {"inst": INST, "zephyr": ZEPHYR, "spaced": SPACED, "turns": TURNS, "chatml": CHATML}


def sentencepiece(kind):
    """A tokenizer as transformers converts SentencePiece's: spaces are ▁, and a text begins with one."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(set("".join(CORPUS)) | set("\n[]<>/|:_▁INSTYSabcdefghijklmnopqrstuvwxyz"))
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.decoder = decoders.Metaspace()
    if kind == "legacy":  # Llama 2
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif kind == "first":  # Llama 2 with legacy = false
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif kind == "never":  # Gemma
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Replace(" ", "▁")
    return backend


def bytes_with_space():
    backend = tiny_tokenizer().backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.add_special_tokens(["<s>", "</s>"])
    return backend


def wrapped(backend, template):
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", chat_template=TEMPLATES[template])


KINDS = {**{name: sentencepiece(name) for name in ("legacy", "first", "always", "never")}, "bytes": bytes_with_space()}
WORDS = ("the", "pool", "pump", "is", "loud", "water", "heater", "no", "hot", "x", "fence", "7")
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(row=words.map(" ".join), instructions=words.map(" ".join))
def test_segments_are_the_tokens_of_the_whole(kind, template, row, instructions):
    tokenizer = wrapped(KINDS[kind], template)
    markup = Template.from_tokenizer(tokenizer)
    tokens = PromptTokens(tokenizer, markup)
    prompt = Prompt(instructions, (Label("pool"), Label("water heater"), Label("hot")), template=markup)
    rendered = prompt.render(row)
    for option, path in zip(prompt.options, tokens.tree(prompt.options).options, strict=True):
        whole = tokenizer.encode(rendered.text + option, add_special_tokens=False)
        assert [*tokens.prefix(rendered), *tokens.row(rendered), *path] == whole


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_of_rows_can_leave_and_reads_them_as_the_prompt_does(kind, template):
    """Written down and read by somebody else (``labelwright.conversion.huggingface``), it still gives the same ids."""
    tokenizer = wrapped(KINDS[kind], template)
    markup = Template.from_tokenizer(tokenizer)
    tokens = PromptTokens(tokenizer, markup)
    prompt = Prompt("name it", (Label("pool"), Label("hot")), template=markup)
    rows, before = tokens.of_rows(prompt.render("x"))
    elsewhere = Tokenizer.from_str(rows.to_str())
    for text in ("the pool pump is loud", "no hot water </s> <|im_end|>", "7"):
        rendered = prompt.render(text)
        ids = elsewhere.encode(before + text, add_special_tokens=False).ids
        assert (*ids, *tokens.after_row(rendered)) == tokens.row(rendered)


def test_what_is_scored_is_what_the_model_writes():
    """ " pool" by itself begins with another piece than behind "Label:"."""
    tokenizer = wrapped(KINDS["legacy"], "inst")
    alone = tokenizer.convert_ids_to_tokens(tokenizer.encode(" pool", add_special_tokens=False))
    tokens = PromptTokens(tokenizer, Template.from_tokenizer(tokenizer))
    assert alone[0] == "▁"
    assert tokenizer.convert_ids_to_tokens(tokens.plain(" pool")) == ["▁pool"]


def test_an_engine_over_such_a_tokenizer():
    tokenizer = wrapped(KINDS["legacy"], "inst")
    engine = TransformersEngine(tiny_model(vocab_size=len(tokenizer)), tokenizer)
    prompt = Prompt("name the topic", (Label("pool"), Label("fence")), template=engine.template)
    rendered = prompt.render("the water is green")
    scores = engine.score([rendered], prompt.options)[0]
    before = tokenizer.encode(rendered.text, add_special_tokens=False)
    for score, option in zip(scores, prompt.options, strict=True):
        whole = tokenizer.encode(rendered.text + option, add_special_tokens=False)
        with torch.no_grad():
            log_probs = torch.log_softmax(engine.model(torch.tensor([whole])).logits[0], -1)
        wanted = sum(float(log_probs[i - 1, whole[i]]) for i in range(len(before), len(whole)))
        assert abs(score - wanted) < 1e-4


def test_a_row_cannot_spell_a_special_token_that_is_a_piece_of_the_vocabulary():
    pieces = [("<unk>", 0.0), ("</s>", -1.0), *((c, -3.0) for c in "▁</s>pol x")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["</s>"])
    tokens = PromptTokens(wrapped(backend, "turns"), Template(end_of_turn="</s>"))
    assert tokens.end_of_turn == (1,)
    assert 1 not in tokens.plain("pool </s></s> x")
    assert len(tokens.plain("</s>")) == 4


def test_markup_is_read_once_and_what_is_kept_is_bounded():
    tokenizer, asked = tiny_tokenizer(), []
    tokens = PromptTokens(tokenizer, Template(tokenizer.chat_template))
    tokens._tokenizer = Counting(tokenizer, asked)
    first = tokens.markup("<|im_start|>user\n")
    first.append(7)
    assert tokens.markup("<|im_start|>user\n") == first[:-1]
    assert asked == ["<|im_start|>user\n"]
    for number in range(1000):
        tokens.markup(f"<|im_start|>{number}")
    assert len(tokens._markups) <= 64
    assert tokens.markup("<|im_start|>user\n") == first[:-1]


class Counting:
    """A tokenizer that says what it was asked."""

    def __init__(self, inner, asked):
        self._inner, self._asked = inner, asked

    def encode(self, text, **how):
        self._asked.append(text)
        return self._inner.encode(text, **how)
