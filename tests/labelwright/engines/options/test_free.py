"""What is written under a pattern has its form, whatever the model would rather say."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_tokenizer

from labelwright.engines.options.free import FreeTokens
from labelwright.errors import ModelError
from labelwright.pictures.typed.asked import Free
from labelwright.pictures.typed.schema import fields_of

pytest.importorskip("llguidance")

TOKENIZER = tiny_tokenizer()
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
FREE = FreeTokens(TOKENIZER, END)
SCHEMAS = {
    "text": {"type": "string", "maxLength": 6},
    "whole": {"type": "integer"},
    "number": {"type": "number"},
    "day": {"type": "string", "format": "date"},
}
FIELDS = {one.name: Free.of(one) for one in fields_of({"type": "object", "properties": SCHEMAS})}


def written(pattern: str, n_rows: int, seed: int, n_tokens: int, wanted: int | None = None) -> list[str]:
    """What chance writes, as ``generate`` would: the likeliest token of each row, end tokens behind one that ended."""
    chance = torch.Generator().manual_seed(seed)
    allowing = FREE.allowing(pattern, n_rows)
    ids = torch.zeros((n_rows, 1), dtype=torch.int64)
    ended = torch.zeros(n_rows, dtype=torch.bool)
    for _ in range(n_tokens):
        scores = torch.randn((n_rows, len(TOKENIZER)), generator=chance)
        if wanted is not None:
            scores[:, wanted] += 100
        new = allowing(ids, scores).argmax(dim=1)
        new[ended] = END
        ended |= new == END
        ids = torch.cat([ids, new[:, None]], dim=1)
    return [FREE.text(line) for line in ids[:, 1:].tolist()]


@pytest.mark.parametrize("name", FIELDS)
@given(seed=st.integers(0, 2**31))
def test_all_that_is_written_has_the_form(name, seed):
    free = FIELDS[name]
    for text in written(free.pattern, 2, seed, min(free.n_tokens, 40)):
        assert re.fullmatch(free.pattern, text)


@pytest.mark.parametrize("name", FIELDS)
def test_no_special_token_is_written(name):
    start = TOKENIZER.convert_tokens_to_ids("<|im_start|>")
    for seed in range(5):
        for text in written(FIELDS[name].pattern, 1, seed, 40, wanted=start):
            assert re.fullmatch(FIELDS[name].pattern, text)


def test_an_answer_ends_as_soon_as_it_may_where_the_model_wants_to():
    assert written(" a{0,5}", 1, 0, 8, wanted=END) == [" "]
    assert len(written(" a{3}", 1, 0, 8, wanted=END)[0]) == 4


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ModelError, match="cannot be held to"):
        FREE.allowing("(", 1)
