"""A language model behind a URL writes instructions: a small real server, its replies in and out of form."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from dspy.utils.exceptions import LMError
from gepa_search import hard_splits, run
from json_server import serving_json

from labelwright.errors import ModelError, RecipeError
from optimizers.gepa.reflection import Reflection
from optimizers.gepa.stage import GepaStage

GOOD = "Name it.\npool: chlorine, skimmer, liner\nfence: post, panel, gate\nhvac: furnace, duct, vent"
ROW = {"Inputs": {"text": "liner leaks"}, "Generated Outputs": {"label": "hvac"}, "Feedback": "Wrong: gold pool."}
IN_FORM = json.dumps({"new_instruction": GOOD})


class Server:
    """Answers chats with these replies in turn, the last for ever."""

    def __init__(self) -> None:
        self.replies, self.requests, self.keys = [IN_FORM], [], []
        # A name of its own: DSPy's cache outlives the test.
        self.model = f"tiny-{uuid.uuid4().hex}"
        self.url, self.is_down = "", False

    def answer(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not body:
            return 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]}
        self.requests.append(body)
        self.keys.append(key)
        if self.is_down:
            return 503, {"error": {"message": "loading"}}
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "x", "object": "chat.completion", "created": 0, "model": self.model}
        return 200, {**head, "choices": [choice], "usage": usage}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("LABELWRIGHT_API_KEY", "sk-of-the-environment")
    made = Server()
    with serving_json(made.answer) as made.url:
        yield made


def ask(server: Server, model: str = "", temperature: float = 0.7) -> tuple[str, int]:
    repaired: list[int] = []
    reflect = Reflection(model, server.url, temperature, lambda: repaired.append(1))
    return reflect("Name it.", [ROW], random.Random(0), 300), len(repaired)


def test_the_first_model_that_the_server_names_is_asked_with_the_key_of_the_environment(server: Server) -> None:
    assert ask(server) == (GOOD, 0)
    (request,) = server.requests
    assert request["model"] == server.model
    assert "liner leaks" in str(request["messages"])
    assert server.keys == ["Bearer sk-of-the-environment"]


def test_the_words_that_are_asked_for_are_those_that_there_is_room_for(server: Server) -> None:
    reflect = Reflection("", server.url, 0.7, lambda: None)
    for room, words in ((300, 200), (30, 20), (-5, 1)):
        reflect("Name it.", [ROW], random.Random(room), room)
        assert f"At most {words} words." in str(server.requests[-1]["messages"])


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_what_a_model_of_that_name_said_elsewhere_answers_nothing(
    server: Server, temperature: float, recwarn: pytest.WarningsRecorder
) -> None:
    other = Server()
    other.model, other.replies = server.model, [json.dumps({"new_instruction": "Look for posts."})]
    with serving_json(other.answer) as other.url:
        said = [ask(one, temperature=temperature)[0] for one in (server, other, server, other)]
    assert said == [GOOD, "Look for posts."] * 2
    assert [len(server.requests), len(other.requests)] == [1, 1], "each once: what it said is kept"
    assert not [one for one in recwarn if "rollout_id" in str(one.message)]


def test_a_server_that_cannot_answer_is_asked_once(server: Server) -> None:
    server.is_down = True
    with pytest.raises(LMError):
        ask(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", ["Sure! Look for water.", '{"instruction": "Look for water."}'])
def test_a_reply_out_of_form_is_handed_back_once(server: Server, reply: str) -> None:
    server.replies = [reply, json.dumps({"new_instruction": "Look for water."})]
    text, n_repaired = ask(server)
    assert (text, n_repaired) == ("Look for water.", 1)
    assert "Look for water." in str(server.requests[-1]["messages"])
    assert "liner leaks" not in str(server.requests[-1]["messages"]), "and nothing else is asked again"


def test_a_search_counts_what_was_repaired_and_says_how_often_it_helped(server: Server, tmp_path) -> None:
    server.replies = ["No form.", IN_FORM, IN_FORM]
    bundle, tracker, _ = run(tmp_path, hard_splits(), reflection_url=server.url)
    (entry,) = bundle.history
    assert entry["proposer"] == f"the model at {server.url}"
    assert entry["n_repaired"] == 1
    kept, tried = entry["n_kept"], entry["n_tried"]
    assert entry["proposals"].startswith(f"{kept} of {tried} kept")
    assert entry["proposals"].endswith("1 replies did not parse and were handed back once")
    assert entry["improved"]
    assert tracker.values["reflection_url"] == server.url
    assert "sk-of-the-environment" not in json.dumps(entry) + repr(tracker.values)


def test_replies_that_never_parse_end_the_search_in_one_line(server: Server, tmp_path) -> None:
    server.replies = ["No form."]
    with pytest.raises(ModelError, match=r"none of \d+ proposals from the model at http://127.0.0.1:\d+/v1 could"):
        run(tmp_path, hard_splits(), reflection_url=server.url)


def test_another_model_than_the_server_has_is_refused(server: Server) -> None:
    with pytest.raises(ModelError, match=r"offers tiny-\w+, not 'huge': correct the model"):
        ask(server, "huge")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "http://user:key@127.0.0.1:8080/v1"])
def test_what_is_no_address_or_holds_a_key_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(RecipeError, match=r"gepa\.reflection_url") as caught:
        GepaStage(reflection_url=url)
    assert "key@" not in str(caught.value)
