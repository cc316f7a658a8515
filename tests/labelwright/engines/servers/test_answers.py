"""A server's free answer: read where its meaning is plain, otherwise no answer at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.engines.servers.answers import read_answer

AB = ("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        "b",
        " b\n",
        "B",
        "b.",
        "B。",
        '"b"',
        "'B'.",
        "“b”",
        "«b»",
        "**b**",
        "`b`",
        "Label: b",
        "answer = B.",
        '{"label": "b"}',
        '{"Label": " B. "}',
        '{"topic": "b"}',
        '{"label": "b", "confidence": 0.9, "reason": "a is not it"}',
        '{"label": {"name": ["b"]}}',
        '["b"]',
        "```\nb\n```",
        '```json\n{"label": "b"}\n```',
        '```JSON\n{"label": "b"}```',
        '~~~\n"b"\n~~~',
        "```b```",
        'Here is the JSON:\n```json\n{\n  "label": "b"\n}\n```\nAnything else?',
        '<think>\n\n</think>\n\n{"label": "b"}',
        "<think>a? no, a is wrong.</think>b",
        '<THINKING>a</THINKING>\n```json\n"b"\n```',
        "it began in the template: a\n</think>\n\nb",
        "<think>a</think><think>a</think>**B.**",
    ],
)
def test_what_is_plainly_b(text):
    assert read_answer(text, AB) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "c",
        "a b",
        "a or b",
        "not b",
        "the answer is b",
        "I cannot tell.",
        "<think>it may be b",
        "<think>\nb\n",
        "<think>a</think>",
        "<think>a</think> it is <think> b",
        "{}",
        "null",
        '{"label": null}',
        '{"label": "c"}',
        '{"label": ["a", "b"]}',
        '{"label": "a", "label": "b"}',
        '{"label": "a", "Label": "b"}',
        '{"first": "a", "second": "b"}',
        '{"label": "b"',
        '["a", "b"]',
        "```\na\n```\n```\nb\n```",
        "not this one:\n```\nb\n```",
        '"a" "b"',
        "[" * 5000 + '"b"' + "]" * 5000,
        "1" * 5000,
        '"' * 5000,
        "\ud83d",
    ],
)
def test_what_is_not_plain_is_no_answer(text):
    assert read_answer(text, AB) is None


@pytest.mark.parametrize(
    ("labels", "text", "wanted"),
    [
        (("US", "us"), "us", 1),
        (("US", "us"), "Us", None),
        (("US", "us"), '"US".', 0),
        (("etc.", "etc"), "etc.", 0),
        (("etc.", "etc"), "etc", 1),
        (("b.", "B"), "B.", 1),
        (('"b"', "b"), '"b"', 0),
        (("water", "water heater"), "water  heater", 1),
        (("caf\u00e9", "tea"), "cafe\u0301", 0),
        (("STRASSE", "x"), "stra\u00dfe", 0),
        (("1", "0"), '{"label": 1}', 0),
        (("1.0", "1"), '{"label": 1}', 1),
        (("1.0", "1"), "1.0", 0),
        (("true", "false"), '{"label": false}', 1),
        (("True", "False"), '{"label": false}', 1),
        (("null", "x"), '{"label": null}', 0),
        (("null", "x"), "null", 0),
        (("NaN", "x"), '{"label": NaN}', 0),
        (("label: b", "b"), "label: b", 0),
        (("<think>", "b"), "<think>", 0),
        (('{"label": "a"}', "a"), '{"label": "a"}', 0),
        (("it's", "its"), "'it's'", None),
        (("12:30", "x"), "12:30", 0),
    ],
)
def test_a_label_as_it_stands_goes_first_and_others_must_be_the_only_one(labels, text, wanted):
    assert read_answer(text, labels) == wanted


@given(
    st.lists(
        st.text(min_size=1, max_size=8).filter(lambda one: one == one.strip()), min_size=1, max_size=5, unique=True
    ),
    st.data(),
)
def test_every_label_is_read_as_itself_and_from_its_json(labels, data):
    number = data.draw(st.integers(0, len(labels) - 1))
    assert read_answer(labels[number], labels) == number
    wrapped = "```json\n" + json.dumps({"label": labels[number]}) + "\n```"
    assert read_answer(wrapped, labels) in (number, None)
    if len(labels) == 1 or labels[number].isalnum():
        assert read_answer(json.dumps({"label": labels[number]}), labels) is not None or "<" in labels[number]


@given(st.text(max_size=60))
def test_whatever_is_said_ends_without_an_error(text):
    assert read_answer(text, AB) in (None, 0, 1)
