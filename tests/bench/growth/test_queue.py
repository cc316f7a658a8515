"""The simulated queue does what queueing theory says of queues that it knows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.growth import queue as queue_module
from bench.growth.queue import Queue, main, simulate, waiting_of_single_rows
from labelwright.errors import RecipeError


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_calls_of_one_row_wait_as_long_as_theory_says(load):
    """M/D/1: Poisson arrivals, calls that all take the same time, one at a time. 95 % intervals hold it mostly."""
    row_s = 0.01
    theory = waiting_of_single_rows(load / row_s, row_s)
    found = [simulate(Queue(load / row_s, row_s=row_s, max_batch=1), 8_000, seed) for seed in range(20)]
    assert sum(one.wait_s.low <= theory <= one.wait_s.high for one in found) >= 16
    assert sum(one.wait_s.value for one in found) / 20 == pytest.approx(theory, rel=0.06)
    assert sum(one.busy for one in found) / 20 == pytest.approx(load, rel=0.01)
    assert all(one.rows_a_call == 1 and one.loads < 1e-3 for one in found)


@pytest.mark.parametrize(("burst", "load"), [(4.0, 0.5), (10.0, 0.5)])
def test_bursts_wait_as_long_as_theory_says(burst, load):
    """M[X]/D/1 with geometric bursts: M/D/1's waiting, and that behind those of the own burst (Gross 2008, 3.1).

    E[W] = load * row_s / (2 (1 - load)) + (E[X^2] / E[X] - 1) row_s / (2 (1 - load)), E[X^2] / E[X] = 2 burst - 1.
    """
    row_s = 0.01
    queue = Queue(load / row_s, row_s=row_s, max_batch=1, burst=burst)
    found = [simulate(queue, 20_000, seed) for seed in range(10)]
    theory = waiting_of_single_rows(load / row_s, row_s) + (2 * burst - 2) * row_s / (2 * (1 - load))
    assert sum(one.wait_s.value for one in found) / 10 == pytest.approx(theory, rel=0.06)
    assert sum(one.wait_s.low <= theory <= one.wait_s.high for one in found) >= 7


@given(st.floats(0.05, 0.95), st.integers(1, 64), st.sampled_from([1.0, 5.0]), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=12, deadline=None)
def test_every_row_is_answered_after_it_came_and_no_call_is_too_long(load, max_batch, burst, n_bundles, n_held):
    queue = Queue(load * 100, 0.002, 0.008, max_batch, burst, n_bundles, n_held, load_s=0.001)
    found = simulate(queue, 2000)
    assert found.wait_s.value >= 0
    assert found.p50_s >= 0.0099
    assert found.p50_s <= found.p95_s <= found.p99_s
    assert 1 <= found.rows_a_call <= max_batch
    assert 0 < found.busy <= 1.0 + 1e-9
    # All bundles fit: each is opened once.
    assert n_held < n_bundles or found.loads * 2000 / found.rows_a_call <= n_bundles + 1e-6


def test_a_call_takes_who_has_come(monkeypatch):
    n_times = 20
    # Rounds a second apart.
    arrivals = (np.arange(n_times)[:, None] + [0.0, 0.005, 0.012, 0.012]).ravel()
    monkeypatch.setattr("bench.growth.queue._arrivals", lambda queue, n, chance: arrivals)
    # The first row goes alone, the second begins when that is answered, and the last two share a call.
    found = simulate(Queue(90, 0.002, 0.008), 4 * n_times)
    assert found.rows_a_call == pytest.approx(4 / 3)
    assert found.wait_s.value == pytest.approx((0 + 0.005 + 2 * 0.008) / 4)


def test_sharing_calls_is_what_carries_a_busy_server():
    """A call has a price of its own: where rows share it, a server bears a load at which it would drown."""
    alone, shared = (simulate(Queue(150, 0.01, 0.001, max_batch=n), 20_000) for n in (1, 64))
    assert shared.p95_s < 0.1 < alone.p95_s
    assert shared.rows_a_call > 1.5


def test_bundles_that_do_not_fit_are_opened_again_and_again():
    held, evicted = (simulate(Queue(20, 0.001, 0.001, n_bundles=100, n_held=n, load_s=0.05), 20_000) for n in (100, 10))
    assert held.loads < 0.01 < 0.2 < evicted.loads
    assert evicted.p95_s > 5 * held.p95_s


def test_bundles_that_are_asked_often_stay(monkeypatch):
    """Of a, b, a, c, a, d … with room for two, a is opened once, and the others drop each other."""
    monkeypatch.setattr(queue_module, "_bundles", lambda *_: 20 * [0, 1, 0, 2, 0, 3])
    found = simulate(Queue(0.001, row_s=0.001, n_bundles=4, n_held=2), 120)
    assert found.loads == pytest.approx((4 + 19 * 3) / 120)


def test_what_is_no_queue_is_refused_in_a_line(capsys):
    with pytest.raises(RecipeError, match=r"burst is 0\.5: at least 1; max_batch is 0: at least 1"):
        Queue(1.0, burst=0.5, max_batch=0)
    with pytest.raises(RecipeError, match="above 0"):
        Queue(0.0)
    assert main(["--max-batch", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: max_batch is 0")


@pytest.mark.parametrize("n_requests", [0, 1, 19, 44])
def test_too_few_requests_are_refused_in_a_line(capsys, n_requests):
    assert main(["--requests", str(n_requests)]) == 2
    said = capsys.readouterr()
    assert said.err == f"error: requests is {n_requests}: at least 45, for an interval of 20 stretches\n"
    assert main(["--requests", "45", "--loads", "0.5"]) == 0
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize("load", [1.0, 1.5])
def test_a_line_that_grows_is_said_to(capsys, load):
    assert main(["--requests", "2000", "--loads", "0.5", str(load)]) == 0
    calm, grows = capsys.readouterr().out.splitlines()[2:]
    assert "growing" not in calm
    assert "| growing | – | – | – |" in grows


def test_two_bundles_that_drop_each_other_make_it_grow_at_a_small_share():
    held, evicted = (simulate(Queue(20, 0.001, 0.001, 1, n_bundles=2, n_held=n, load_s=0.2), 2_000) for n in (2, 1))
    assert (held.growing, evicted.growing) == (False, True)


def test_a_busy_line_does_not_grow():
    queue = Queue(1.0, 0.0354, 0.02835)
    assert not any(simulate(Queue(0.9 * queue.most, 0.0354, 0.02835), 20_000, seed).growing for seed in range(5))


def test_the_table_has_a_line_for_each_load(capsys):
    assert main(["--loads", "0.2", "0.8", "--requests", "2000", "--call-ms", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 20 %", "| 80 %"]
