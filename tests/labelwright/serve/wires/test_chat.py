"""Chat completions read and written, without a server: what is asked, what is answered, what is refused."""

from __future__ import annotations

import json
import math

import pytest
from fakes import toy_task
from pydantic import ValidationError

from labelwright.data.task import Task
from labelwright.errors import DataError
from labelwright.serve.wires.chat import ChatRequest, about, answered, chunks, completion, read_chat
from labelwright.serve.wires.logarithm import NO_LOGPROB

TASK = toy_task()  # pool, fence, hvac
QUIZ = Task("quiz", "Which?", (), max_choices=3)
PROBS = (0.2, 0.7, 0.1)


def chat(*messages, **settings) -> ChatRequest:
    messages = messages or ({"role": "user", "content": "the gate"},)
    return ChatRequest.model_validate({"model": "toy", "messages": list(messages), **settings})


def schema_of(*labels: str) -> dict:
    schema = {"type": "object", "properties": {"topic": {"enum": list(labels)}}, "required": ["topic"]}
    return {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}


def written(request: ChatRequest, probs=PROBS, task=TASK) -> dict:
    asked = read_chat(request, task)
    answer = answered(asked, probs)
    return completion(
        request, answer, about(asked, answer, model="toy", identity="abc", prompt_tokens=7, answer_tokens=1, n=2)
    )


def test_the_last_user_message_is_the_row_and_what_else_there_is_is_named():
    asked = read_chat(
        chat(
            {"role": "system", "content": "Answer in French."},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "pool"},
            {"role": "user", "content": [{"type": "text", "text": " the gate "}, {"type": "text", "text": "drags"}]},
            temperature=1.5,
            stop=["x"],
        ),
        TASK,
    )
    assert asked.text == " the gate \ndrags"
    assert asked.labels == TASK.names
    assert asked.ignored == (
        "messages[0] (system)",
        "messages[1] (user)",
        "messages[2] (assistant)",
        "temperature",
        "stop",
    )


def test_a_label_is_the_answer_with_the_probabilities_that_were_given():
    body = written(chat())
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "fence", "refusal": None}
    assert body["x_probabilities"] == {"pool": 0.2, "fence": 0.7, "hvac": 0.1}
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert body["choices"][0]["logprobs"] is None


def test_labels_are_tokens_with_natural_logarithms():
    body = written(chat(logprobs=True, top_logprobs=2, n=2))
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    (token,) = body["choices"][1]["logprobs"]["content"]
    assert token["token"] == bytes(token["bytes"]).decode() == "fence"
    assert token["logprob"] == math.log(0.7)
    assert [(one["token"], one["logprob"]) for one in token["top_logprobs"]] == [
        ("fence", math.log(0.7)),
        ("pool", math.log(0.2)),
    ]
    assert all("top_logprobs" not in one for one in token["top_logprobs"])


def test_what_is_impossible_has_a_logarithm_that_json_can_hold():
    body = written(chat(logprobs=True, top_logprobs=3), (0.0, 1.0, 0.0))
    assert body["choices"][0]["logprobs"]["content"][0]["top_logprobs"][2]["logprob"] == NO_LOGPROB


def test_a_part_of_the_labels_is_asked_in_the_schemas_order():
    asked = read_chat(chat(response_format=schema_of("hvac", "pool")), TASK)
    answer = answered(asked, (0.25, 0.75))
    assert json.loads(answer.content) == {"topic": "pool"}
    assert answer.probabilities == {"hvac": 0.25, "pool": 0.75}


def test_json_without_a_schema_has_the_label():
    body = written(chat(response_format={"type": "json_object"}))
    assert json.loads(body["choices"][0]["message"]["content"]) == {"label": "fence"}


def test_rows_bring_their_choices_as_the_enumeration():
    asked = read_chat(chat(response_format=schema_of("a  stone", "wood")), QUIZ)
    assert (asked.text, asked.labels) == ("the gate", ("a  stone", "wood"))
    answer = answered(asked, (0.25, 0.75))
    assert json.loads(answer.content) == {"topic": "wood"}


def test_no_answer_is_a_refusal():
    body = written(chat(logprobs=True), (0.0, 0.0, 0.0))
    message = body["choices"][0]["message"]
    assert message["content"] is None
    assert "none of the labels" in message["refusal"]
    assert body["choices"][0]["logprobs"] is None


def test_a_stream_says_the_same_as_the_whole():
    request = chat(logprobs=True, n=2, stream=True, stream_options={"include_usage": True})
    asked = read_chat(request, TASK)
    answer = answered(asked, PROBS)
    notes = about(asked, answer, model="toy", identity="abc", prompt_tokens=7, answer_tokens=1, n=2)
    events = list(chunks(request, answer, notes))
    assert all(event.startswith("data: ") and event.endswith("\n\n") for event in events)
    assert events.pop() == "data: [DONE]\n\n"
    bodies = [json.loads(event.removeprefix("data: ")) for event in events]
    whole = completion(request, answer, notes)
    for choice in whole["choices"]:
        of_it = [one for body in bodies for one in body["choices"] if one["index"] == choice["index"]]
        assert "".join(one["delta"].get("content") or "" for one in of_it) == choice["message"]["content"]
        assert [one["finish_reason"] for one in of_it] == [None, None, "stop"]
        assert next(one["logprobs"] for one in of_it if one["logprobs"]) == choice["logprobs"]
    assert bodies[-1]["choices"] == []
    assert bodies[-1]["usage"] == whole["usage"]
    assert all(body["usage"] is None for body in bodies[:-1])
    assert bodies[-2]["x_probabilities"] == whole["x_probabilities"]


def test_a_stream_without_usage_has_none():
    request = chat(stream=True)
    asked = read_chat(request, TASK)
    answer = answered(asked, PROBS)
    notes = about(asked, answer, model="toy", identity="abc", prompt_tokens=7, answer_tokens=1)
    assert not any("usage" in event for event in chunks(request, answer, notes))


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("request_", "task", "said"),
    [
        (chat({"role": "system", "content": "x"}), TASK, "none is a user's"),
        (chat({"role": "user", "content": [IMAGE]}), TASK, "type 'image_url'"),
        (chat(tools=[{"type": "function"}]), TASK, "leave tools out"),
        (chat(response_format={"type": "json_schema"}), TASK, "has no schema"),
        (chat(response_format=schema_of("pool", "roof")), TASK, "'roof', which this model does not know; .*'hvac'"),
        (chat(), QUIZ, "expected them as the enum"),
        (chat(response_format={"type": "json_object"}), QUIZ, "expected them as the enum"),
        (chat(response_format=schema_of("a", "b", "c", "d")), QUIZ, "lists 4 choices: this model chooses among 2 to 3"),
        (chat(response_format=schema_of("a")), QUIZ, "lists 1 choices"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(request_, task, said):
    with pytest.raises(DataError, match=said) as caught:
        read_chat(request_, task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"n": 0}, {"n": 1000}, {"top_logprobs": -1}, {"temperature": 3}, {"max_tokens": 0}, {"messages": []}]
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        chat(**settings)
