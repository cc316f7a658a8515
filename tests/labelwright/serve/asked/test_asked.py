"""Every kind of question over every wire: what a bundle answers in this process, in each protocol's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
from fakes import FakeEngine
from serving import served
from starlette.testclient import TestClient

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.asked.questions import Question
from labelwright.data.records import Row
from labelwright.data.task import Label, Task
from labelwright.decisions.answered import Record, table_row
from labelwright.labelling import label_rows, of_rows, score_rows
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.serve.application import application
from labelwright.statistics.calibration import Calibration

TOPICS = Question("topics", "labels", (Label("pool", "chlorine skimmer"), Label("fence", "post panel"), Label("hvac")))
STARS = Question("stars", "score", tuple(map(Label, ("1", "2", "4"))))
MOOD = Question("mood", "score", tuple(map(Label, ("low", "high"))))
URGENT = Question("is it urgent", "yes_no")
WHO = Question("who", "choice", (Label("owner"), Label("tenant")))
KINDS = {
    "choice": (WHO,),
    "labels": (TOPICS,),
    "score": (STARS,),
    "yes_no": (URGENT,),
    "several": (TOPICS, STARS, MOOD, URGENT, WHO),
}
TEXTS = ["chlorine in the skimmer", "a post of the fence", "nothing\n? pool"]


class Reading(FakeEngine):
    """Counts how many prompts it is given, and tells points apart."""

    n_prompts = 0

    def score(self, prompts, options, calibration=None):
        self.n_prompts += len(prompts)
        scores = super().score(prompts, options)
        scores += np.arange(len(options)) * 7 % 5 / 9
        return scores


class Asked:
    """A client, and what it should be told."""

    def __init__(self, bundle: Bundle, engine: Reading, client: TestClient) -> None:
        self.bundle, self.engine, self.client = bundle, engine, client
        self.task = bundle.task

    def record(self, text: str) -> Record:
        """What `labelwright predict` says."""
        (found,) = label_rows([Row(1, {"text": text})], self.bundle, Reading())
        return found

    def of(self, record: Record, question: Question, key: str) -> Any:
        """Of one of the questions."""
        return record[key] if len(self.task.questions) == 1 else record[key][question.name]

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        """The answer."""
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    @property
    def model(self) -> dict[str, Any]:
        """What the list of models says of it."""
        return self.client.get("/v1/models").json()["data"][0]

    def chat(self, text: str, **more: Any) -> Any:
        """A chat completion."""
        messages = [{"role": "user", "content": text}]
        return self.post("/v1/chat/completions", {"model": self.model["id"], "messages": messages, **more})

    def schema(self, schema: Any) -> dict[str, Any]:
        """A response format."""
        return {"type": "json_schema", "json_schema": {"name": "answers", "schema": schema}}


def bundle_of(*questions: Question) -> Bundle:
    task = Task.asking("mail", "Read the mail.", questions)
    calibration = Calibration(1.3, tuple(0.1 * place for place in range(len(task.names))))
    return Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), calibration)


@pytest.fixture(params=KINDS, scope="module")
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    bundle, engine = bundle_of(*KINDS[request.param]), Reading()
    models = served(bundle, engine)
    with TestClient(application(models)) as client:
        yield Asked(bundle, engine, client)
    for one in models.values():
        one.close()


@pytest.mark.parametrize("text", TEXTS)
def test_system_one_answers_its_own_questions_out_of_one_reading(asked, text):
    questions = asked.model.get("x_questions") or {
        "who": {"type": "choice", "criteria": {"owner": None, "tenant": None}}
    }
    record, before = asked.record(text), asked.engine.n_prompts
    # Ids take no part.
    questions = {f"q{number}": one for number, one in enumerate(questions.values())}
    found = asked.post("/v1/systemone", {"model": "jev-latest", "state": text, "questions": questions})["answers"]
    assert asked.engine.n_prompts == before + 1
    assert {one["x_level"] for one in found.values()} == {"tuned"}
    answers = iter(found.values())
    for question in asked.task.questions:
        probs = asked.of(record, question, "probabilities")
        if question.kind == "labels":
            assert [next(answers)["noul"] for _ in question.labels] == pytest.approx(list(probs.values()), abs=1e-12)
        elif question.kind == "yes_no":
            assert next(answers)["noul"] == pytest.approx(probs["yes"], abs=1e-12)
        elif question.kind == "choice":
            assert next(answers)["probabilities"] == pytest.approx(probs, abs=1e-12)
        else:
            said = next(answers)
            assert list(said["probabilities"].values()) == pytest.approx(list(probs.values()), abs=1e-12)
            assert list(said["legend"].values()) == list(probs)


def test_decisions_knows_them_by_what_they_ask(asked):
    questions = [{"type": "predicate", "instructions": name} for name in ("is it urgent", "topics, pool", "pool", "x")]
    body = {"model": asked.model["id"], "input": TEXTS[0], "questions": questions}
    levels = [one["x_level"] for one in asked.post("/v1/decisions", body)["answers"]]
    names = {one.name for one in asked.task.questions}
    several = len(names) > 1
    own = ["is it urgent" in names, "topics" in names and several, "topics" in names, False]
    assert levels == ["tuned" if one else "zero-shot" for one in own]


def test_an_id_names_a_question_that_says_nothing_else(asked):
    questions = {"is it urgent": {"type": "noul"}, "pool": {"type": "noul", "instructions": "Is it heated?"}}
    found = asked.post("/v1/systemone", {"model": "jev-latest", "state": "x", "questions": questions})["answers"]
    own = URGENT in asked.task.questions
    assert [one["x_level"] for one in found.values()] == ["tuned" if own else "zero-shot", "zero-shot"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_chat_fills_the_schema_that_the_list_of_models_tells(asked, text):
    if "x_schema" not in asked.model:
        assert asked.task.questions == (WHO,)
        return
    schema, before = asked.model["x_schema"], asked.engine.n_prompts
    found = asked.chat(text, response_format=asked.schema(schema))
    assert asked.engine.n_prompts == before + 1
    content = json.loads(found["choices"][0]["message"]["content"])
    jsonschema.validate(content, schema)
    record = asked.record(text)
    for question in asked.task.questions:
        label = asked.of(record, question, "label")
        said = content[question.name]
        assert said == (label == "yes" if question is URGENT else int(label) if question is STARS else label)
    assert found["x_probabilities"] == record["probabilities"]
    as_object = asked.chat(text, response_format={"type": "json_object"})
    assert json.loads(as_object["choices"][0]["message"]["content"]) == content


@pytest.mark.parametrize("text", TEXTS)
def test_a_chat_without_a_schema_says_one_answer_or_an_object(asked, text):
    found = asked.chat(text, logprobs=True)["choices"][0]
    content, label = found["message"]["content"], asked.record(text)["label"]
    if isinstance(label, str):
        assert content == label == found["logprobs"]["content"][0]["token"]
    elif isinstance(label, list):
        assert json.loads(content) == label
        assert found["logprobs"] is None
    else:
        wanted = {**label, "is it urgent": label["is it urgent"] == "yes", "stars": int(label["stars"])}
        assert json.loads(content) == wanted


@pytest.mark.parametrize("text", TEXTS)
def test_tables_have_what_predict_says(asked, text):
    record = asked.record(text)
    (row,) = asked.post("/invocations", {"inputs": [text]})["predictions"]
    assert row == {key: one for key, one in record.items() if key != "text"}
    kind = asking(asked.task).row(text)
    (probs,) = of_rows([kind], score_rows(asked.bundle, Reading(), kind.texts))
    assert row == table_row(asked.bundle, probs)


def test_scores_of_labels_are_listed_where_there_is_one_list(asked):
    if len(asked.task.questions) > 1:
        said = asked.post("/predict", {"inputs": TEXTS[0]}, status=422)["error"]
        assert "topics: any of pool, fence and hvac; stars" in said
        assert "/invocations" in said
        return
    found = asked.post("/predict", {"inputs": TEXTS[0]})
    assert {one["label"]: one["score"] for one in found} == pytest.approx(asked.record(TEXTS[0])["probabilities"])
    ids = asked.client.get("/info").json()["model_type"]["classifier"]["id2label"].values()
    assert set(ids) == {one["label"] for one in found}


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/systemone", {"model": "jev-latest", "state": " ", "questions": {"is it urgent": {"type": "noul"}}}),
    ("/v1/chat/completions", {"model": "tickets", "messages": [{"role": "user", "content": " "}]}),
    ("/invocations", {"inputs": [" "]}),
    ("/predict", {"inputs": " "}),
])  # fmt: skip
def test_a_row_without_a_text_is_refused_by_every_wire(asked, path, body):
    answer = asked.client.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert "empty" in answer.text or "place for that" in answer.text


def test_a_label_is_said_from_where_the_bundle_says_it():
    bundle = bundle_of(TOPICS, URGENT)
    bundle = replace(bundle, said_from=(0.001, 0.999, 0.5, 0.5))
    models = served(bundle, Reading())
    with TestClient(application(models)) as client:
        asked = Asked(bundle, Reading(), client)
        for text in TEXTS:
            topics = asked.record(text)["label"]["topics"]
            assert "pool" in topics
            assert "fence" not in topics
            content = json.loads(asked.chat(text)["choices"][0]["message"]["content"])
            (row,) = asked.post("/invocations", {"inputs": [text]})["predictions"]
            assert content["topics"] == row["label"]["topics"] == topics
            body = {"model": "jev-latest", "state": text, "questions": asked.model["x_questions"]}
            said = asked.post("/v1/systemone", body)["answers"]
            assert [said[f"topics, {name}"]["x_said"] for name in ("pool", "fence")] == ["yes", "no"]
    models["tickets"].close()


def test_rows_are_counted_and_not_what_is_asked_of_them():
    bundle = bundle_of(TOPICS, STARS, URGENT, WHO)
    models = served(bundle, Reading())
    with TestClient(application(models)) as client:
        client.post("/invocations", json={"inputs": TEXTS})
        assert 'labelwright_rows_total{model="tickets",wire="mlflow"} 3.0' in client.get("/metrics").text
    models["tickets"].close()
