"""Rows asked of a real server on 127.0.0.1, through DSPy: once each, counted, and without a secret on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_server import ChatServer, serving_chat

from labelwright.data.task import Example, Label, Task
from labelwright.errors import ModelError, RecipeError
from workbench.compare.hosted.asking import NO_LABEL, REFUSED, HostedModel
from workbench.recipe.tables.candidates import Elsewhere

TASK = Task("desk", "Which desk is this for?", (Label("pool"), Label("gas leak", "it smells")))
ROWS = [Example(str(number), text, "pool") for number, text in enumerate(["the water is green", "it smells", "hm"])]
OTHER = Example("3", "ring me", "pool")
SAID = {"the water is green": "Label: Pool.", "it smells": "<think>or pool</think>gas leak", "hm": "pool or gas leak"}


def says(system: str, turns) -> str:
    return SAID[turns[0]]


def model(url: str, folder: Path, calls: int = 100) -> HostedModel:
    far = Elsewhere("far", url, calls, "cascade")
    return HostedModel(far, TASK, folder, [*ROWS, OTHER], "all calib and test rows")


def test_labels_are_read_and_nothing_is_asked_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_API_KEY", "sk-secret-0123456789")
    server = ChatServer(says)
    with serving_chat(server) as url:
        found = model(url, tmp_path)
        assert found.answer([*ROWS, ROWS[0]]).tolist() == [0, 1, NO_LABEL, 0]
        assert found.tokens == (33, 9)
    assert len(server.requests) == 3
    system = server.requests[0]["messages"][0]["content"]
    assert "Which desk is this for?" in system
    assert "gas leak: it smells" in system
    assert {key.removeprefix("Bearer ") for key in server.keys} == {"sk-secret-0123456789"}
    (kept,) = tmp_path.iterdir()
    written = kept.name + kept.read_text()
    assert "secret" not in written
    assert "127.0.0.1" not in written
    # The server is gone; what was answered is found.
    assert model(url, tmp_path).answer(ROWS).tolist() == [0, 1, NO_LABEL]


def test_a_row_that_the_server_does_not_take_is_counted_and_a_server_that_takes_none_says_so(tmp_path):
    server = ChatServer(says)
    with serving_chat(server) as url:
        found = model(url, tmp_path)
        assert found.answer(ROWS[:1]).tolist() == [0]
        server.refuses = 413, "too long for the context"
        assert found.answer(ROWS).tolist() == [0, REFUSED, REFUSED]
        with pytest.raises(ModelError, match=r"^far refuses every question: .*too long for the context"):
            model(url, tmp_path / "other").answer(ROWS)
        server.refuses = 401, "who are you"
        with pytest.raises(ModelError, match=r"^far: the key is refused: set LABELWRIGHT_API_KEY"):
            model(url, tmp_path / "third").answer(ROWS)
        server.refuses = 404, "no such model"
        with pytest.raises(ModelError, match=r"^far: .*correct \[cascade\] hosted_model or hosted_url$"):
            model(url, tmp_path / "fourth").answer(ROWS)


def test_no_more_is_asked_than_may_be_and_what_is_said_to_be_enough_is(tmp_path):
    server = ChatServer(says)
    with serving_chat(server) as url:
        # One is never asked of these, and may be with a larger limit, which moves the threshold.
        said = r"^\[cascade\] hosted_calls = 2: all are used, and 1 rows .* to 4, enough for all calib and test rows$"
        with pytest.raises(RecipeError, match=said):
            model(url, tmp_path, calls=2).answer([*ROWS, ROWS[2]])
        (kept,) = tmp_path.iterdir()
        assert len(kept.read_text().splitlines()) == len(server.requests) == 2
        # A command that was killed cut a line, and what stood in it is asked again; so is what was not asked.
        kept.write_bytes(kept.read_bytes()[:-9])
        assert model(url, tmp_path, calls=4).answer(ROWS).tolist() == [0, 1, NO_LABEL]
    assert len(server.requests) == 4


def test_rows_that_the_server_does_not_take_are_not_among_those_that_more_calls_would_answer(tmp_path):
    server = ChatServer(says)
    with serving_chat(server) as url:
        found = model(url, tmp_path, calls=2)
        found.answer(ROWS[:1])
        server.refuses = 413, "too long for the context"
        assert found.answer(ROWS[1:2]).tolist() == [REFUSED]
        server.refuses = None
        found.answer(ROWS[2:])
        with pytest.raises(RecipeError, match="used, and 1 rows have no answer"):
            found.answer([*ROWS, OTHER])
