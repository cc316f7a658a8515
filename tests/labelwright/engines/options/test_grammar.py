import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.engines.options.grammar import gbnf
from labelwright.errors import DataError

answers = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text.strip() and len(text.splitlines()) == 1
)


def sentences(grammar: str) -> list[str]:
    """All that a grammar of one rule with string alternatives accepts, read by GBNF's rules for strings."""
    rule = re.fullmatch(r"root ::= (.*)\n", grammar, flags=re.DOTALL)[1]
    found, at = [], 0
    while at < len(rule):
        assert rule[at] == '"'
        at, text = at + 1, ""
        while rule[at] != '"':
            if rule[at] == "\\" and rule[at + 1] == "x":
                text, at = text + chr(int(rule[at + 2 : at + 4], 16)), at + 4
            elif rule[at] == "\\":
                text, at = text + rule[at + 1], at + 2
            else:
                text, at = text + rule[at], at + 1
        found.append(text)
        at += 1
        if at < len(rule):
            assert rule[at : at + 3] == " | "
            at += 3
    return found


@given(st.lists(answers, min_size=1, max_size=8))
def test_a_grammar_accepts_exactly_its_answers(given_answers):
    assert sentences(gbnf(given_answers)) == given_answers


@pytest.mark.parametrize("bad", [[], [""], [" "], ["a\nb"]])
def test_what_is_no_answer_is_refused(bad):
    with pytest.raises(DataError):
        gbnf(bad)
