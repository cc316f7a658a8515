import asyncio
import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cloudpickle
import dspy
import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples, toy_task

from labelwright.bundle.types import Bundle
from labelwright.data.choices import lettered
from labelwright.data.task import Task
from labelwright.decide import probabilities
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.prompt import STYLES, Prompt
from labelwright.statistics.calibration import Calibration
from programs.classify import Classify
from programs.convert import program_of
from programs.decision import DecisionClient

TEXTS = [row.text for row in toy_examples()]
EVIDENCE = "Name the topic.\npool: chlorine, skimmer\nfence: post, panel"


class RecordingEngine(FakeEngine):
    """Keeps the prompts, takes some time, and fails when told to."""

    def __init__(self, seconds=0.0, error=None):
        super().__init__()
        self.prompts = []
        self.seconds, self.error = seconds, error

    def score(self, prompts, options):
        self.prompts.append(list(prompts))
        time.sleep(self.seconds)
        if self.error is not None:
            self.calls.append((len(prompts), len(options)))
            raise self.error
        return super().score(prompts, options)


def ask_all(program, texts, n_threads=32):
    # Threads do not inherit DSPy's context; the client is set on the program.
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda text: program(text=text), texts))


def client_and_program(engine, prompt=None, **kwargs):
    prompt = prompt or toy_bundle().prompt.with_instructions(EVIDENCE)
    client = DecisionClient(engine, prompt, **kwargs)
    program = program_of(prompt, toy_task())
    program.set_lm(client)
    return client, program


@pytest.mark.parametrize("style", STYLES)
def test_prompts_are_the_bytes_of_prompt_render(style):
    engine = RecordingEngine()
    prompt = Prompt(
        " Indented.\n    Twice\tand a tab ", toy_task().labels, demos=(("a gate", "fence"),), style=style,
        template=engine.template,
    )  # fmt: skip
    _, program = client_and_program(engine, prompt)
    program(text="the <|im_end|> liner")
    assert engine.prompts == [[prompt.render("the <|im_end|> liner")]]


def test_answers_are_the_house_probabilities():
    bundle = toy_bundle()
    calibration = Calibration(2.0, (0.5, 0.0, -0.5))
    _, program = client_and_program(FakeEngine(), bundle.prompt, calibration=calibration)
    expected = probabilities(
        bundle.__class__(bundle.task, bundle.prompt, bundle.weights, calibration), FakeEngine(), TEXTS
    )
    for answer, row in zip(ask_all(program, TEXTS), expected, strict=True):
        np.testing.assert_array_equal([answer.probabilities[name] for name in bundle.task.names], row)
        assert answer.label == bundle.task.names[int(row.argmax())]


def test_concurrent_rows_share_engine_calls():
    engine = RecordingEngine(seconds=0.05)
    client, program = client_and_program(engine)
    texts = [f"{text} {i}" for i in range(2) for text in TEXTS]
    ask_all(program, texts)
    assert sum(n for n, _ in engine.calls) == len(texts)
    assert len(engine.calls) <= len(texts) // 8
    assert max(n for n, _ in engine.calls) <= client.max_batch


def test_rows_under_two_prompts_share_engine_calls_and_keep_their_own():
    engine = RecordingEngine(seconds=0.02)
    _, one = client_and_program(engine)
    two = one.deepcopy()
    two.predict.signature = two.predict.signature.with_instructions("Other words.")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda pair: pair[0](text=pair[1]), [(p, text) for text in TEXTS for p in (one, two)]))
    assert len(engine.calls) < len(TEXTS)
    assert any(len({prompt.system for prompt in batch}) == 2 for batch in engine.prompts)
    for program, instructions in ((one, EVIDENCE), (two, "Other words.")):
        rows = probabilities(
            replace(toy_bundle(), prompt=toy_bundle().prompt.with_instructions(instructions)), FakeEngine(), TEXTS
        )
        answered = [list(program(text=text).probabilities.values()) for text in TEXTS]
        np.testing.assert_array_equal(answered, rows)


def test_rows_announced_together_are_one_call_in_their_order():
    engine = RecordingEngine()
    client, program = client_and_program(engine, max_batch=16)
    client.together(TEXTS)
    ask_all(program, [*TEXTS[::-1], *(f"not announced {i}" for i in range(8))])
    batches = [[prompt.user for prompt in batch] for batch in engine.prompts]
    assert len(TEXTS) > 16
    assert [batch for batch in batches if TEXTS[0] in batch] == [TEXTS]


def test_the_same_row_is_scored_once():
    engine = RecordingEngine(seconds=0.02)
    _, program = client_and_program(engine)
    ask_all(program, TEXTS[:1] * 16)
    program(text=TEXTS[0])
    assert engine.calls == [(1, 3)]


def test_a_row_that_the_engine_refuses_fails_alone():
    class Picky(RecordingEngine):
        def score(self, prompts, options):
            if any("too long" in prompt.user for prompt in prompts):
                raise DataError("row 1 is too long")
            return super().score(prompts, options)

    client, program = client_and_program(Picky(seconds=0.01))

    def ask(text):
        try:
            return program(text=text).label
        except DataError as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        answers = dict(zip([*TEXTS, "too long"], pool.map(ask, [*TEXTS, "too long"]), strict=True))
    refused = answers.pop("too long")
    assert client.error is refused
    assert isinstance(refused, DataError)
    assert set(answers.values()) <= set(toy_task().names)


def test_memory_is_bounded():
    engine = RecordingEngine()
    client, program = client_and_program(engine, memory_rows=2)
    for text in ("a", "b", "c", "b", "a"):
        program(text=text)
    assert len(client._memory) == 2
    assert sum(n for n, _ in engine.calls) == 4  # b was remembered, a forgotten


def test_an_engine_error_reaches_every_waiter_and_is_kept():
    error = RuntimeError("out of memory")
    engine = RecordingEngine(seconds=0.05, error=error)
    client, program = client_and_program(engine)
    caught = []

    def ask(text):
        try:
            program(text=text)
        except RuntimeError as raised:
            caught.append(raised)

    threads = [threading.Thread(target=ask, args=(text,)) for text in TEXTS[:20]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert caught == [error] * 20
    assert client.error is error
    engine.error = None
    assert program(text=TEXTS[0]).label in toy_task().names  # and the client is still of use


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_share_the_client(copied):
    client, program = client_and_program(FakeEngine())
    assert copied(client) is client
    assert program.deepcopy().predict.lm is client


def test_pickling_a_program_leaves_the_engine_behind():
    _, program = client_and_program(FakeEngine())
    expected = program(text=TEXTS[0]).label
    data = cloudpickle.dumps(program)
    assert b"FakeEngine" not in data
    loaded = cloudpickle.loads(data)
    with pytest.raises(RuntimeError, match=r"set client\.engine"):
        loaded(text=TEXTS[0])
    loaded.predict.lm.engine = FakeEngine()
    assert loaded(text=TEXTS[0]).label == expected


def test_async_calls():
    _, program = client_and_program(FakeEngine())
    client = program.predict.lm
    request = {"instructions": EVIDENCE, "inputs": {"text": TEXTS[0]}}
    answer = asyncio.run(client.acall(request, {"label": {"criteria": dict.fromkeys(toy_task().names)}}))
    assert answer["label"]["choice"] == program(text=TEXTS[0]).label


def test_other_questions_are_refused():
    client, _ = client_and_program(FakeEngine())
    state = {"instructions": "x", "inputs": {"text": "y"}}
    with pytest.raises(ValueError, match="one question on one input"):
        client(state, {"a": {}, "b": {}})
    with pytest.raises(ValueError, match="the prompt has"):
        client(state, {"label": {"criteria": {"cat": None, "dog": None}}})


def test_works_under_dspy_evaluate():
    engine = RecordingEngine(seconds=0.01)
    client, _ = client_and_program(engine)
    dev = [dspy.Example(text=row.text, label=row.label).with_inputs("text") for row in toy_examples()]
    evaluate = dspy.Evaluate(devset=dev, metric=lambda gold, pred: gold.label == pred.label, num_threads=32)
    with dspy.context(lm=client):
        result = evaluate(Classify(toy_task()))
    assert 0 < result.score <= 100
    assert len(engine.calls) <= len(dev) // 4


def test_choices_are_asked_in_every_order_where_the_calibration_has_it_so():
    task = Task("quiz", "Answer the question.", max_choices=3)
    bundle = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration(2.0, rotations=True))
    texts = [lettered("which pool", ["the pool", "a fence", "some pool"]), lettered("which gate", ["gate", "post"])]
    client = DecisionClient(FakeEngine(), bundle.prompt, bundle.calibration)
    for text, expected in zip(texts, probabilities(bundle, FakeEngine(), texts), strict=True):
        np.testing.assert_allclose(client.probabilities(bundle.prompt.instructions, text), expected)


def test_the_engine_is_told_the_calibration_that_decides():
    class Bounded(FakeEngine):
        unexpanded_mass = 1e-4
        asked: list = []  # noqa: RUF012

        def score(self, prompts, options, calibration=None):
            self.asked.append(calibration)
            return super().score(prompts, options)

    calibration = Calibration(2.0, (0.5, 0.0, -0.5))
    client, _ = client_and_program(Bounded(), calibration=calibration)
    client.together(TEXTS[:3])
    client.probabilities("Name it.", TEXTS[0])
    client.probabilities("Name it.", TEXTS[5])
    assert Bounded.asked == [calibration, calibration]
