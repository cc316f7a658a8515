"""Pages are drawn by a seed, and what is told of them satisfies the schema that is asked of them."""

from __future__ import annotations

import random

import jsonschema
import pytest

from bench.pictures import pages

SCHEMAS = {"headlines": pages.HEADLINES, "receipt": pages.RECEIPT, "form": pages.form_schema(["pool", "fence"])}
DRAWN = {
    "headlines": pages.headlines,
    "receipt": pages.receipt,
    "form": lambda chance: pages.form(chance, "Is <b>this</b> & that a pool?", "pool"),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_pages_are_of_their_seed_and_schema(kind) -> None:
    drawn = [DRAWN[kind](random.Random(seed)) for seed in range(12)]
    assert drawn == [DRAWN[kind](random.Random(seed)) for seed in range(12)]
    assert len({one.page for one in drawn}) == 12
    validator = jsonschema.Draft202012Validator(SCHEMAS[kind])
    for one in drawn:
        wrong = [error for error in validator.iter_errors(one.values) if error.instance is not None]
        assert (one.kind, wrong) == (kind, [])


def test_texts_are_no_markup() -> None:
    assert "Is &lt;b&gt;this&lt;/b&gt; &amp; that" in DRAWN["form"](random.Random(0)).page
    assert "&lt;script&gt;" in pages.question(random.Random(0), "<script>").page
