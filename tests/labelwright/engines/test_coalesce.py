"""Many callers at one engine: the scores of direct calls, shared batches, fair turns, bounds, and who gets an error."""

import asyncio
import concurrent.futures
import gc
import random
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.engines.coalesce import CoalescingEngine
from labelwright.engines.protocol import has_probabilities
from labelwright.engines.waiting_line import equal_shares
from labelwright.errors import DataError, QueueFullError

PROMPT = toy_bundle().prompt
OPTIONS = PROMPT.options
OTHER_OPTIONS = (" yes", " no")
TEXTS = [row.text for row in toy_examples()]
LONG_S = 20  # what a wait that ends well never takes


def render(*texts):
    return PROMPT.render_all(texts)


class WatchedEngine(FakeEngine):
    """Keeps what it was asked; waits at a gate, and fails on rows that are marked, when told to."""

    def __init__(self, *, gated=False):
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.gated = gated
        self.batches = []
        self.threads = set()
        self.error = None

    def score(self, prompts, options):
        self.batches.append([prompt.user for prompt in prompts])
        self.threads.add(threading.current_thread())
        if self.gated:
            self.entered.release()
            assert self.gate.acquire(timeout=LONG_S)
        if self.error is not None:
            raise self.error
        for number, prompt in enumerate(prompts, start=1):
            if "poison" in prompt.user:
                raise DataError(f"row {number} ({prompt.user!r}…): too long")
            if "curse" in prompt.user:
                raise ValueError("surrogates not allowed")
        return super().score(prompts, options)

    def generate(self, prompts, max_new_tokens=8, stop=()):
        self.threads.add(threading.current_thread())
        return [f"{prompt.user} {max_new_tokens} {stop}" for prompt in prompts]

    def busy(self):
        """Return once an engine call is in progress."""
        assert self.entered.acquire(timeout=LONG_S)

    def open(self):
        """No more waiting, from the call in progress on."""
        self.gated = False
        self.gate.release(1000)


@pytest.fixture
def engine():
    return WatchedEngine(gated=True)


@pytest.fixture
def shared(engine):
    with CoalescingEngine(engine) as shared:
        yield shared
        engine.open()


def occupied(shared, text="first"):
    """Submit a row and return its future once the engine has it in hand."""
    future = shared.submit(render(text), OPTIONS)
    shared.engine.busy()
    return future


def in_thread(call, *arguments, **named):
    """A thread that makes a call, and a list that receives its result or its error."""
    outcome = []

    def run():
        try:
            outcome.append(call(*arguments, **named))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def until(condition):
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ------------------------------------------------------------------------------------------------------ as an engine


def test_it_answers_as_the_engine_does():
    direct = FakeEngine()
    with CoalescingEngine(FakeEngine(), max_batch_rows=7) as shared:
        prompts = render(*TEXTS)
        np.testing.assert_array_equal(shared.score(prompts, OPTIONS), direct.score(prompts, OPTIONS))
        np.testing.assert_array_equal(shared.score(prompts[:1], list(OPTIONS)), direct.score(prompts[:1], OPTIONS))
        assert shared.score([], OPTIONS).shape == (0, len(OPTIONS))
        assert shared.generate(prompts) == direct.generate(prompts)
        assert shared.count_tokens("two words") == direct.count_tokens("two words")
        assert (shared.name, shared.template) == (direct.name, direct.template)


def test_what_the_engine_counts_is_passed_on():
    engine = FakeEngine()
    with CoalescingEngine(engine) as shared:
        engine.n_shortened = 5
        assert shared.n_shortened == 5
        assert has_probabilities(shared)
        engine.has_probabilities = False
        assert not has_probabilities(shared)


def test_everything_runs_on_one_thread():
    engine = WatchedEngine()
    with CoalescingEngine(engine) as shared, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: shared.score(render(text), OPTIONS), TEXTS))
        assert shared.generate(render("a", "b"), 3, ["."]) == ["a 3 ['.']", "b 3 ['.']"]
    assert len(engine.threads) == 1
    assert threading.current_thread() not in engine.threads


@pytest.mark.parametrize("wrong", [{"max_batch_rows": 0}, {"max_waiting_rows": 0}, {"quiet_s": -1}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected max_batch_rows"):
        CoalescingEngine(FakeEngine(), **wrong)


# ----------------------------------------------------------------------------------------------------------- batches


def test_rows_that_wait_share_a_call_whatever_their_prompts(engine, shared):
    occupied(shared)
    other = PROMPT.with_instructions("Other words.")
    futures = [shared.submit(render(text), OPTIONS) for text in TEXTS[:5]]
    futures += [shared.submit([other.render(text)], OPTIONS) for text in TEXTS[5:8]]
    engine.open()
    prompts = [*render(*TEXTS[:5]), *other.render_all(TEXTS[5:8])]
    np.testing.assert_array_equal(
        np.concatenate([future.result(LONG_S) for future in futures]), FakeEngine().score(prompts, OPTIONS)
    )
    assert engine.batches == [["first"], TEXTS[:8]]


def test_rows_of_other_options_are_never_in_the_same_call(engine, shared):
    occupied(shared)
    asked = [(text, OPTIONS if i % 2 else OTHER_OPTIONS) for i, text in enumerate(TEXTS[:10])]
    futures = [shared.submit(render(text), options) for text, options in asked]
    engine.open()
    for (text, options), future in zip(asked, futures, strict=True):
        np.testing.assert_array_equal(future.result(LONG_S), FakeEngine().score(render(text), options))
    assert engine.batches == [["first"], TEXTS[:10:2], TEXTS[1:10:2]]


def test_a_batch_is_no_longer_than_allowed(engine):
    with CoalescingEngine(engine, max_batch_rows=4) as shared:
        occupied(shared)
        futures = [shared.submit(render(text), OPTIONS) for text in TEXTS[:10]]
        engine.open()
        concurrent.futures.wait(futures, LONG_S)
    assert [len(batch) for batch in engine.batches] == [1, 4, 4, 2]


def test_rows_that_are_to_be_alone_are_one_call(engine):
    with CoalescingEngine(engine, max_batch_rows=4, max_waiting_rows=8) as shared:
        occupied(shared)
        before = shared.submit(render("before"), OPTIONS)
        alone = shared.submit(render(*TEXTS[:7]), OPTIONS, alone=True)
        engine.open()
        after = shared.submit(render("after"), OPTIONS)
        np.testing.assert_array_equal(alone.result(LONG_S), FakeEngine().score(render(*TEXTS[:7]), OPTIONS))
        concurrent.futures.wait([before, after], LONG_S)
    assert TEXTS[:7] in engine.batches


def test_one_who_asks_alone_does_not_wait_for_others():
    with CoalescingEngine(FakeEngine(), quiet_s=5.0, max_wait_s=5.0) as shared:
        started = time.monotonic()
        for text in TEXTS[:5]:
            shared.score(render(text), OPTIONS)
        # A row that happens to arrive before the thread is back in line costs one wait; five would take 25 s.
        assert time.monotonic() - started < 20


def test_callers_who_come_one_after_another_are_gathered(engine):
    with CoalescingEngine(engine, max_batch_rows=6, quiet_s=LONG_S, max_wait_s=LONG_S) as shared:
        occupied(shared)
        futures = [shared.submit(render("second"), OPTIONS)]
        engine.open()
        for text in TEXTS[:5]:
            time.sleep(0.01)
            futures.append(shared.submit(render(text), OPTIONS))
        concurrent.futures.wait(futures, LONG_S)
    assert engine.batches == [["first"], ["second", *TEXTS[:5]]]


def test_callers_who_were_answered_together_are_gathered_when_they_ask_again(engine):
    with CoalescingEngine(engine, max_batch_rows=3, quiet_s=LONG_S, max_wait_s=LONG_S) as shared:
        occupied(shared)
        first_round = [shared.submit(render(text), OPTIONS) for text in TEXTS[:3]]
        engine.open()
        concurrent.futures.wait(first_round, LONG_S)
        second_round = []
        for text in TEXTS[3:6]:
            time.sleep(0.01)
            second_round.append(shared.submit(render(text), OPTIONS))
        concurrent.futures.wait(second_round, LONG_S)
    assert engine.batches == [["first"], [*TEXTS[:3]], [*TEXTS[3:6]]]


# ---------------------------------------------------------------------------------------------------------- fairness


@pytest.mark.parametrize("options", [OPTIONS, OTHER_OPTIONS], ids=["same options", "other options"])
def test_a_single_row_is_served_at_once_beside_ten_thousand(options, engine, shared):
    """At most the batch in progress and one more go before it, or with it."""
    many, scores = in_thread(shared.score, render(*["many"] * 10_000), OPTIONS)
    engine.busy()
    single = shared.submit(render("single"), options)
    served_before = len(engine.batches)
    for _ in range(3):
        engine.gate.release()
        engine.busy()
    assert single.done()
    assert ["single" in batch for batch in engine.batches[served_before:]].index(True) <= 1
    engine.open()
    many.join(LONG_S)
    assert scores[0].shape == (10_000, len(OPTIONS))


def test_a_row_waits_for_at_most_one_call_for_each_request_ahead_of_it(engine):
    """Twenty requests of 40 rows, all with options of their own, and rows coming in behind all the time."""
    with CoalescingEngine(engine, max_batch_rows=8, max_waiting_rows=10_000) as shared:
        occupied(shared)
        ahead = [shared.submit(render(*[f"ahead {i}"] * 40), (*OPTIONS, f" {i}")) for i in range(20)]
        row = shared.submit(render("row"), OTHER_OPTIONS)
        behind = []
        for i in range(21):
            behind.append(shared.submit(render(*["behind"] * 8), (*OPTIONS, f" behind {i}")))
            engine.gate.release()
            engine.busy()
        assert engine.batches[21] == ["row"]
        engine.open()
        concurrent.futures.wait([row, *ahead, *behind], LONG_S)
        assert all(future.done() for future in (row, *ahead, *behind))


@given(wanted=st.lists(st.integers(1, 200), min_size=1, max_size=64), room=st.integers(64, 200))
def test_shares_are_equal_where_they_are_needed(wanted, room):
    shares = equal_shares(wanted, room)
    assert sum(shares) == min(room, sum(wanted))
    assert all(1 <= share <= want for share, want in zip(shares, wanted, strict=True))
    cut = [share for share, want in zip(shares, wanted, strict=True) if share < want]
    assert not cut or min(cut) >= max(shares) - 1


# ------------------------------------------------------------------------------------------------------------ bounds


def test_a_full_queue_refuses_or_lets_wait(engine):
    with CoalescingEngine(engine, max_waiting_rows=4) as shared:
        occupied(shared)
        waiting = shared.submit(render(*"abc"), OPTIONS)
        with pytest.raises(QueueFullError, match="3 rows wait for the engine and 2 more have no room, the limit is 4"):
            shared.submit(render("d", "e"), OPTIONS, wait=False)
        with pytest.raises(QueueFullError):
            shared.score(render("d", "e"), OPTIONS, timeout_s=0.01)
        fits = shared.submit(render("d"), OPTIONS, wait=False)
        blocked, outcome = in_thread(shared.score, render("e"), OPTIONS)
        time.sleep(0.02)
        assert not outcome
        engine.open()
        blocked.join(LONG_S)
        assert outcome[0].shape == (1, len(OPTIONS))
        assert waiting.result(LONG_S).shape == (3, len(OPTIONS))
        assert fits.done()
    assert "d" not in engine.batches[0]


def test_a_request_longer_than_the_queue_is_let_in_when_nothing_waits(engine):
    with CoalescingEngine(engine, max_batch_rows=4, max_waiting_rows=4) as shared:
        occupied(shared)
        shared.submit(render("a"), OPTIONS)
        with pytest.raises(QueueFullError):
            shared.submit(render(*"bcdefgh"), OPTIONS, wait=False)
        # It is not overtaken by a request that would fit.
        long, scores = in_thread(lambda: shared.submit(render(*"bcdefgh"), OPTIONS).result(LONG_S))
        until(lambda: shared._line._entrance)
        with pytest.raises(QueueFullError):
            shared.submit(render("i"), OPTIONS, wait=False)
        engine.open()
        long.join(LONG_S)
        assert scores[0].shape == (7, len(OPTIONS))


def test_a_long_call_leaves_room_for_others(engine):
    with CoalescingEngine(engine, max_batch_rows=8, max_waiting_rows=32) as shared:
        many, scores = in_thread(shared.score, render(*["many"] * 500), OPTIONS)
        engine.busy()
        until(lambda: shared._line.n_rows)
        single = shared.submit(render("single"), OPTIONS, wait=False)
        engine.open()
        assert single.result(LONG_S).shape == (1, len(OPTIONS))
        many.join(LONG_S)
        assert scores[0].shape == (500, len(OPTIONS))


# ------------------------------------------------------------------------------------------------------ cancellation


def test_cancelled_rows_are_not_computed_and_make_room(engine):
    with CoalescingEngine(engine, max_batch_rows=4, max_waiting_rows=10) as shared:
        occupied(shared)
        cancelled = shared.submit(render(*["cancelled"] * 9), OPTIONS)
        kept = shared.submit(render("kept"), OPTIONS)
        assert cancelled.cancel()
        late = shared.submit(render(*["late"] * 9), OPTIONS, wait=False)
        assert concurrent.futures.wait([cancelled], LONG_S).done == {cancelled}
        engine.open()
        concurrent.futures.wait([kept, late], LONG_S)
        assert late.result().shape == (9, len(OPTIONS))
    assert not any("cancelled" in batch for batch in engine.batches)


def test_cancelling_in_the_middle_keeps_what_comes_after(engine):
    with CoalescingEngine(engine, max_batch_rows=4) as shared:
        many = shared.submit(render(*["many"] * 100), OPTIONS)
        engine.busy()
        assert many.cancel()
        other = shared.submit(render("other"), OPTIONS)
        engine.open()
        other.result(LONG_S)
    assert engine.batches == [["many"] * 4, ["other"]]


def test_asyncio_callers_can_wait_and_cancel(engine):
    async def talk(shared):
        first = asyncio.wrap_future(shared.submit(render("first"), OPTIONS))
        await asyncio.to_thread(engine.busy)
        second = asyncio.wrap_future(shared.submit(render("second"), OPTIONS))
        third = asyncio.wrap_future(shared.submit(render("third"), OPTIONS))
        second.cancel()
        while shared.n_waiting > 1:  # the event loop passes a cancellation on when it next turns
            await asyncio.sleep(0)
        engine.open()
        return await asyncio.wait_for(asyncio.gather(first, third), LONG_S)

    with CoalescingEngine(engine) as shared:
        answers = asyncio.run(talk(shared))
    assert [row.shape for row in answers] == [(1, len(OPTIONS))] * 2
    assert engine.batches == [["first"], ["third"]]


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("bad", ["poison", "curse"])
@pytest.mark.parametrize("scored_before", [True, False])
def test_a_failing_row_fails_alone(bad, scored_before, engine, shared):
    occupied(shared, "first" if scored_before else "poison")
    texts = [f"{bad} row" if i == 13 else text for i, text in enumerate(TEXTS[:40])]
    futures = [shared.submit(render(text), OPTIONS) for text in texts]
    engine.open()
    concurrent.futures.wait(futures, LONG_S)
    for text, future in zip(texts, futures, strict=True):
        if bad in text:
            with pytest.raises(ValueError, match="row 1 .*too long" if bad == "poison" else "surrogates") as caught:
                future.result()
            assert isinstance(caught.value, DataError) == (bad == "poison")
        else:
            np.testing.assert_array_equal(future.result(), FakeEngine().score(render(text), OPTIONS))
    # The first row, the batch, a bisection of 40 rows, one look at a row known to be good: not a call a row.
    assert len(engine.batches) <= 1 + 1 + 2 * 6 + 1


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    data=st.data(),
    max_batch_rows=st.integers(1, 16),
)
def test_a_refused_row_is_named_by_its_number_in_its_callers_list(sizes, data, max_batch_rows):
    bad = [data.draw(st.none() | st.integers(0, size - 1)) for size in sizes]
    engine = WatchedEngine()
    with CoalescingEngine(engine, max_batch_rows=max_batch_rows) as shared:
        calls = [
            in_thread(shared.score, render(*("poison" if i == at else f"row {i}" for i in range(size))), OPTIONS)
            for size, at in zip(sizes, bad, strict=True)
        ]
        for (thread, outcome), size, at in zip(calls, sizes, bad, strict=True):
            thread.join(LONG_S)
            if at is None:
                rows = render(*(f"row {i}" for i in range(size)))
                np.testing.assert_array_equal(outcome[0], FakeEngine().score(rows, OPTIONS))
            else:
                assert isinstance(outcome[0], DataError)
                assert str(outcome[0]) == f"row {at + 1} ('poison'…): too long"


def test_an_error_that_is_not_about_rows_reaches_everybody_and_later_requests_try_again(engine, shared):
    lost = RuntimeError("CUDA error: the device is lost")
    first = occupied(shared)
    engine.gate.release()
    first.result(LONG_S)
    in_hand = occupied(shared)
    waiting = [shared.submit(render(text), options) for text in TEXTS[:20] for options in (OPTIONS, OTHER_OPTIONS)]
    engine.error = lost
    n_before = len(engine.batches)
    engine.open()
    for future in (in_hand, *waiting):
        assert future.exception(LONG_S) is lost
    # The call in hand and one look at a row that used to be fine: nobody else had to find out.
    assert len(engine.batches) - n_before <= 2
    engine.error = None
    assert shared.score(render("later"), OPTIONS).shape == (1, len(OPTIONS))


def test_an_engine_that_never_worked_is_found_out_soon(engine, shared):
    engine.error = RuntimeError("no kernel image is available")
    futures = [occupied(shared), *(shared.submit(render(text), OPTIONS) for text in TEXTS[:60])]
    engine.open()
    assert [future.exception(LONG_S) for future in futures] == [engine.error] * 61
    assert len(engine.batches) < 12


def test_an_interrupt_on_the_engines_thread_reaches_everybody(engine, shared):
    futures = [occupied(shared), shared.submit(render("b"), OTHER_OPTIONS)]
    engine.error = KeyboardInterrupt()
    engine.open()
    assert [future.exception(LONG_S) for future in futures] == [engine.error] * 2


def test_an_engine_that_loses_rows_is_an_error():
    engine = FakeEngine()
    engine.score = lambda prompts, options: np.zeros((len(prompts) + 1, len(options)))
    with CoalescingEngine(engine) as shared, pytest.raises(ValueError, match="scores of shape"):
        shared.score(render("a"), OPTIONS)


def test_a_failing_text_does_not_disturb_scores(engine, shared):
    engine.generate = lambda *_, **__: 1 / 0
    future = occupied(shared)
    writer, outcome = in_thread(shared.generate, render("a"))
    engine.open()
    writer.join(LONG_S)
    assert isinstance(outcome[0], ZeroDivisionError)
    assert future.result(LONG_S).shape == (1, len(OPTIONS))


# ----------------------------------------------------------------------------------------------------- the own thread


def test_one_thread_makes_the_calls_while_another_works(engine):
    shared = CoalescingEngine(engine)
    engine.open()

    def work():
        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(lambda text: shared.score(render(text), OPTIONS).shape, TEXTS))

    assert shared.serve(work) == [(1, len(OPTIONS))] * len(TEXTS)
    assert engine.threads == {threading.current_thread()}
    assert not shared.is_alive
    with pytest.raises(RuntimeError, match="the engine is closed"):
        shared.score(render("later"), OPTIONS)
    shared.close()


def test_what_the_work_raises_is_raised_and_ends_it(engine):
    shared = CoalescingEngine(engine)
    with pytest.raises(ZeroDivisionError):
        shared.serve(lambda: 1 / 0)
    assert not shared.is_alive


def test_an_interrupt_on_the_serving_thread_closes(engine):
    shared, ends = CoalescingEngine(engine), []
    engine.error = KeyboardInterrupt()
    engine.open()

    def work():
        for _ in range(2):
            try:
                shared.score(render("a"), OPTIONS)
            except BaseException as error:
                ends.append(type(error))
            engine.error = None

    with pytest.raises(KeyboardInterrupt):
        shared.serve(work)
    until(lambda: len(ends) == 2)
    assert ends[0] is KeyboardInterrupt
    assert ends[1] in (RuntimeError, CancelledError)


def test_an_interrupt_while_it_is_found_out_who_is_at_fault_leaves_nobody_waiting():
    class Failing(FakeEngine):
        errors = iter([None, RuntimeError("no memory"), KeyboardInterrupt()])

        def score(self, prompts, options):
            if error := next(self.errors):
                raise error
            return super().score(prompts, options)

    shared, ends = CoalescingEngine(Failing()), []

    def work():
        shared.score(render("fine"), OPTIONS)
        try:
            shared.score(render("a"), OPTIONS)
        except BaseException as error:
            ends.append(type(error))

    with pytest.raises(KeyboardInterrupt):
        shared.serve(work)
    until(lambda: ends)
    assert ends == [KeyboardInterrupt]


def test_a_thread_that_serves_already_is_not_given_a_second(engine, shared):
    future = occupied(shared)
    with pytest.raises(RuntimeError, match="another thread already"):
        shared.serve(lambda: None)
    engine.open()
    assert future.result(LONG_S).shape == (1, len(OPTIONS))


# --------------------------------------------------------------------------------------------------------------- end


def test_close_finishes_the_call_in_progress_and_cancels_the_rest(engine):
    shared = CoalescingEngine(engine, max_waiting_rows=1)
    in_hand, waiting = occupied(shared), shared.submit(render("b"), OPTIONS)
    blocked, outcome = in_thread(shared.score, render("c"), OPTIONS)
    until(lambda: shared._line._entrance)
    closing, _ = in_thread(shared.close)
    blocked.join(LONG_S)
    assert isinstance(outcome[0], RuntimeError)
    engine.open()
    closing.join(LONG_S)
    assert in_hand.result(LONG_S).shape == (1, len(OPTIONS))
    with pytest.raises(CancelledError):
        waiting.result(LONG_S)
    with pytest.raises(RuntimeError, match="the engine is closed"):
        shared.score(render("d"), OPTIONS)
    assert not shared._thread.is_alive()
    shared.close()


def test_without_a_close_the_thread_and_the_engine_go_with_the_last_reference():
    shared = CoalescingEngine(FakeEngine())
    shared.score(render("a"), OPTIONS)
    thread, engine = shared._thread, weakref.ref(shared.engine)
    del shared
    gc.collect()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert engine() is None


def test_an_engine_that_is_forgotten_answers_what_it_was_asked():
    engine = WatchedEngine(gated=True)
    shared = CoalescingEngine(engine)
    futures = [occupied(shared), shared.submit(render("b"), OPTIONS)]
    del shared
    gc.collect()
    engine.open()
    assert [future.result(LONG_S).shape for future in futures] == [(1, len(OPTIONS))] * 2


@pytest.mark.parametrize("last_words", ["shared.score(prompts, prompt.options)", "shared.submit(prompts * 50, ('a',))"])
def test_the_interpreter_ends_while_the_engine_lives(last_words):
    code = f"""
import sys, time; sys.path[:0] = ["tests", "."]
from fakes import FakeEngine, toy_bundle
from labelwright.engines.coalesce import CoalescingEngine
class Slow(FakeEngine):
    def score(self, *given):
        time.sleep(0.05)
        return super().score(*given)
shared = CoalescingEngine(Slow(), max_batch_rows=1)
prompt = toy_bundle().prompt
prompts = prompt.render_all(["a", "b"])
{last_words}
print("done")
"""
    root = Path(__file__).resolve().parents[3]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


# ------------------------------------------------------------------------------------------------------------ stress


def test_under_stress_every_answer_is_that_of_a_direct_call():
    """Threads that score, submit, cancel and poison at random."""
    direct = FakeEngine()
    n_threads, n_requests = 32, 25
    wrong, n_checked = [], []

    def caller(seed):
        rng = random.Random(seed)
        for _ in range(n_requests):
            texts = [f"{rng.choice(TEXTS)} {rng.random()}" for _ in range(rng.choice([1, 1, 1, 3, 40]))]
            options = rng.choice([OPTIONS, OTHER_OPTIONS])
            bad = rng.choice(["poison", "curse"]) if rng.random() < 0.1 else None
            if bad:
                texts[rng.randrange(len(texts))] += f" {bad}"
            prompts = render(*texts)
            future = None
            try:
                if rng.random() < 0.5:
                    scores = shared.score(prompts, options)
                else:
                    future = shared.submit(prompts, options, alone=rng.random() < 0.2)
                    if rng.random() < 0.5:
                        time.sleep(rng.random() * 0.002)
                        future.cancel()
                    scores = future.result(LONG_S)
            except CancelledError:
                if future is None or not future.cancelled():
                    wrong.append("cancelled by nobody")
            except ValueError as error:  # DataError is one
                if not bad or (bad == "poison") != isinstance(error, DataError):
                    wrong.append(repr(error))
            else:
                if bad or not np.array_equal(scores, direct.score(prompts, options)):
                    wrong.append(texts)
                n_checked.append(len(texts))

    with CoalescingEngine(WatchedEngine(), max_batch_rows=16, max_waiting_rows=64, quiet_s=0.0005) as shared:
        shared.score(render("a row that is fine"), OPTIONS)
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(caller, range(n_threads)))
        assert shared._line.n_rows == 0
        assert not shared._line._line
    assert not wrong
    assert len(n_checked) > n_threads * n_requests // 3
