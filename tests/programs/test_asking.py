"""Asking a model: paid for once, bounded, mended once; the key goes to the server and nowhere else."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from chat_server import ChatServer, serving_chat

from labelwright.errors import ModelError
from programs.asking import Answer, Answers, LanguageModel, Question, Readings, RefusedError, ask_and_read

QUESTIONS = [Question("be", (f"question {n}",)) for n in range(5)]


class KilledError(BaseException):
    """As a kill: nothing is cleaned up by who sees it."""


def asked(answers: Answers, ask, questions=QUESTIONS, at_once: int = 2) -> list[Answer | None]:
    return answers.ask(ask, "big", questions, at_once, lambda done: None)


def test_what_was_answered_before_a_kill_is_not_asked_again(tmp_path):
    path, heard = tmp_path / "deep" / "answers.jsonl", []

    def ask(question: Question) -> Answer:
        if len(heard) == 3:
            raise KilledError
        heard.append(question)
        return Answer(f"re {question.turns[0]}", 7, 2, 0.5)

    with pytest.raises(KilledError):
        asked(Answers(path, 9), ask, at_once=1)
    # The kill came in the middle of a line.
    path.write_bytes(path.read_bytes() + b'{"key": "half')
    answers = Answers(path, 9)
    first = list(heard)
    heard.clear()
    found = asked(answers, ask, QUESTIONS[:4])
    assert heard == [one for one in QUESTIONS[:4] if one not in first]
    assert [one.text for one in found] == [f"re question {n}" for n in range(4)]
    assert (answers.n_used, answers.n_new) == (4, 1)
    assert answers.spent == Answer("", 28, 8, 2.0)
    # Nor what was written behind the broken line.
    heard.clear()
    assert asked(Answers(path, 9), ask, QUESTIONS[:4]) == found
    assert heard == []


def test_another_number_of_the_same_question_is_another_question_and_one_asked_twice_is_one(tmp_path):
    answers, heard, lock = Answers(tmp_path / "a.jsonl", 9), [], threading.Lock()

    def ask(question: Question) -> Answer:
        with lock:
            heard.append(question.number)
            return Answer(str(len(heard)))

    one = Question("be", ("x",))
    found = asked(answers, ask, [one, one, Question("be", ("x",), number=1)])
    assert sorted(heard) == [0, 1]
    assert found[0] == found[1] != found[2]


def test_no_more_are_asked_than_may_be_however_many_are_in_flight(tmp_path):
    answers, heard = Answers(tmp_path / "a.jsonl", 3), []

    def ask(question: Question) -> Answer:
        heard.append(question)
        return Answer("x")

    found = asked(answers, ask, at_once=5)
    assert len(heard) == 3
    assert sum(one is not None for one in found) == 3
    assert answers.is_full
    # Of a later command as well.
    assert Answers(tmp_path / "a.jsonl", 3).is_full


def test_one_refused_question_costs_no_other_and_all_of_them_are_an_error(tmp_path):
    answers = Answers(tmp_path / "a.jsonl", 9)

    def ask(question: Question) -> Answer:
        if question == QUESTIONS[1]:
            raise RefusedError("too long")
        return Answer("x")

    assert [one is None for one in asked(answers, ask)] == [False, True, False, False, False]
    assert answers.n_refused == 1
    # Alone in its round: others were answered before.
    assert asked(answers, ask, QUESTIONS[1:2]) == [None]
    assert asked(answers, ask, QUESTIONS[1:2] * 3) == [None] * 3

    def none(question: Question) -> Answer:
        raise RefusedError("too long")

    fresh = Answers(tmp_path / "b.jsonl", 9)
    with pytest.raises(ModelError, match="big refuses every question: too long"):
        asked(fresh, none, QUESTIONS[:1])


def test_another_model_that_refuses_all_is_told_soon_and_one_refusal_is_not_taken_for_that(tmp_path):
    answers = Answers(tmp_path / "a.jsonl", 9)
    asked(answers, lambda question: Answer("x"))

    def none(question: Question) -> Answer:
        raise RefusedError("no such format")

    def check(n: int) -> list[Answer | None]:
        return answers.ask(none, "judge", QUESTIONS[:n], 2, lambda done: None)

    assert check(1) == [None]
    with pytest.raises(ModelError, match="judge refuses every question: no such format"):
        check(2)


def test_a_repair_that_is_refused_is_an_answer_that_cannot_be_read(tmp_path):
    answers, readings = Answers(tmp_path / "a.jsonl", 9), Readings()

    def ask(question: Question) -> Answer:
        if len(question.turns) > 1:
            raise RefusedError("too long")
        return Answer("?")

    found = ask_and_read(lambda them: asked(answers, ask, them), QUESTIONS[:1], lambda n, text: None, "!", readings)
    assert found == [None]
    assert (readings.n_answered, readings.n_repaired, readings.n_unread) == (1, 0, 1)


def test_what_was_paid_in_a_round_that_an_error_ended_is_counted(tmp_path):
    answers = Answers(tmp_path / "a.jsonl", 9)

    def ask(question: Question) -> Answer:
        if question == QUESTIONS[3]:
            raise ModelError("gone")
        return Answer("x", 7, 2, 0.5)

    with pytest.raises(ModelError, match="gone"):
        asked(answers, ask, at_once=1)
    assert answers.n_used == answers.n_new >= 3
    assert answers.spent == Answer("", 7 * answers.n_new, 2 * answers.n_new, 0.5 * answers.n_new)


def test_an_answer_without_end_is_cut_before_it_is_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    (found,) = asked(Answers(path, 9), lambda question: Answer("x" * 100_000, 1, 1), [Question("be", ("x",), 0, 50)])
    assert found == Answer("x" * 800, 1, 1)
    assert path.stat().st_size < 1000


def test_what_cannot_be_read_is_asked_to_be_mended_once_and_counted():
    said = {"a": "1", "b": "?", "c": "?"}
    heard: list[Question] = []

    def given(questions):
        heard.extend(questions)
        return [Answer(said[one.turns[0]] if len(one.turns) == 1 else "2" * (one.turns[0] == "b")) for one in questions]

    readings = Readings()
    questions = [Question("be", (word,)) for word in said]
    found = ask_and_read(given, questions, lambda n, text: int(text) if text.isdigit() else None, "a number!", readings)
    assert found == [1, 2, None]
    assert (readings.n_answered, readings.n_repaired, readings.n_unread) == (3, 1, 1)
    assert [one.turns for one in heard[3:]] == [("b", "?", "a number!"), ("c", "?", "a number!")]


def test_a_real_server_is_asked_and_what_it_says_is_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_API_KEY", "sk-secret-of-mine")
    server = ChatServer(lambda system, turns: f"{system}|{'/'.join(turns)}\x1b[31m\u202e", fail=1)
    path = tmp_path / "answers.jsonl"
    with serving_chat(server) as url:
        model = LanguageModel("qwen", url, "[synthetic] model or url")
        found = asked(Answers(path, 9), model, [Question("be", ("one", "two", "three"), 0.7, 55)])
    assert found == [Answer("be|one/two/three\x1b[31m\u202e", 11, 3, None)]
    (request,) = server.requests
    assert request["model"] == "qwen"
    assert (request["temperature"], request["max_completion_tokens"]) == (0.7, 55)
    assert [one["role"] for one in request["messages"]] == ["system", "user", "assistant", "user"]
    assert server.keys == ["Bearer sk-secret-of-mine"] * 2
    # On disk are words that drive no terminal, and no key; they are read back as they were.
    kept = path.read_bytes()
    assert b"secret" not in kept
    assert b"\x1b" not in kept
    assert "\u202e".encode() not in kept
    assert json.loads(kept)["text"] == found[0].text
    again = Answers(path, 9)
    assert asked(again, model, [Question("be", ("one", "two", "three"), 0.7, 55)]) == found  # the server is gone
    assert again.n_new == 0


@pytest.mark.parametrize(
    ("status", "message", "error", "match"),
    [
        (
            401,
            "wrong: Bearer sk-secret-of-mine",
            ModelError,
            "key is refused: set LABELWRIGHT_API_KEY in",
        ),
        (404, "no model qwen, said sk-secret-of-mine", ModelError, "qwen: .*correct .synthetic. model"),
        (400, "maximum context length, sk-secret-of-mine", RefusedError, "context"),
    ],
)
def test_a_server_that_refuses_is_told_in_a_line_without_the_key(monkeypatch, status, message, error, match):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
    server = ChatServer(lambda system, turns: "x", refuses=(status, message))
    with serving_chat(server) as url, pytest.raises(error, match=match) as told:
        LanguageModel("qwen", url, "[synthetic] model or url")(QUESTIONS[0])
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_nobody_there_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr("programs.asking._RETRIES", 0)
    with pytest.raises(ModelError, match=r"qwen: .*; look at the server, or correct \[synthetic\] model or url"):
        LanguageModel("qwen", "http://127.0.0.1:9/v1", "[synthetic] model or url")(QUESTIONS[0])


def test_lines_that_are_no_answers_are_passed_over(tmp_path):
    path = Path(tmp_path / "answers.jsonl")
    path.write_text('[]\n"x"\n{}\n{"key": "k", "other": 1}\n\x00\n')
    assert not Answers(path, 1).is_full
