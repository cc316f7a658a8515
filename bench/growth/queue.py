"""`python -m bench.growth.queue`: a server's queue, simulated: rows that arrive, share engine calls, and wait.

A discrete-event simulation of ``labelwright.engines.coalesce`` in front of one engine, or of many bundles that share
its memory. What it takes as given is measured elsewhere: a call of b rows takes ``call_s + b * row_s`` seconds, and a
bundle that is not in memory ``load_s`` more, when the one that was asked longest ago goes. Requests of one row arrive
by a Poisson process, or in bursts: a Poisson process of bursts whose sizes are geometric. The time that a batch is held
open for others to join (2 ms) is left out. Times are simulated, so the machine's load does not matter.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelwright.errors import RecipeError
from labelwright.statistics.proportions import Interval

# Of all requests, the first so many do not count: the queue is still filling.
_WARM_UP = 0.1
# Waiting times of neighbours are alike, so intervals are of means over so many stretches of the run.
_STRETCHES = 20
# Student's t for 19 degrees of freedom, 95 %.
_T = 2.093
# Each stretch has two requests at least.
_FEWEST = round(2 * _STRETCHES / (1 - _WARM_UP)) + 1
# A line grows whose last stretch waits so many times as long as its first, and which the server hardly ever ends.
_GROWS, _ALWAYS_BUSY = 3.0, 0.99


@dataclass(frozen=True)
class Queue:
    """A server and who asks it.

    Attributes
    ----------
    rate : float
        Requests of one row a second, of all bundles together.
    call_s, row_s : float
        Seconds of an engine call, and of each row in it.
    max_batch : int
        Rows in one call.
    burst : float, at least 1
        Mean size of a burst; 1 for single requests.
    n_bundles, n_held : int
        Bundles that are asked, and those that fit into memory at once.
    skew : float
        The k-th bundle is asked in proportion to k^-skew (Zipf); 0: all alike.
    load_s : float
        Seconds to open a bundle that is not in memory.
    """

    rate: float
    call_s: float = 0.0
    row_s: float = 0.01
    max_batch: int = 64
    burst: float = 1.0
    n_bundles: int = 1
    n_held: int = 1
    skew: float = 1.0
    load_s: float = 0.0

    def __post_init__(self) -> None:
        least = {"rate": 0.0, "burst": 1.0, "max_batch": 1, "n_bundles": 1, "n_held": 1, "call_s": 0.0, "row_s": 0.0}
        faults = [f"{name} is {getattr(self, name)}: at least {low:g}" for name, low in least.items()
                  if getattr(self, name) < low]  # fmt: skip
        if faults or not self.rate or not self.call_s + self.row_s:
            raise RecipeError("; ".join(faults) or "expected a rate, and a call that takes time, above 0")

    @property
    def most(self) -> float:
        """Rows a second of full calls, no bundle opened."""
        return self.max_batch / (self.call_s + self.max_batch * self.row_s)

    @property
    def offered(self) -> float:
        """What arrives, as a share of that."""
        return self.rate / self.most


@dataclass(frozen=True)
class Waited:
    """What came of it.

    Attributes
    ----------
    mean_s : Interval
        From arrival to answer, 95 % by batch means (Law 2015, "Simulation Modeling and Analysis", 9.5.3).
    p50_s, p95_s, p99_s : float
    wait_s : Interval
        From arrival to the beginning of the call, the same way.
    busy : float
        Share of the time that the engine, or the loading of a bundle, is at work.
    rows_a_call : float
    loads : float
        Share of calls that had to open their bundle first.
    growing : bool
        Whether the line grows for as long as rows arrive, so that no time above is one that would stay: as much arrives
        as full calls can do, or more; or the server is hardly ever idle and waiting times rise threefold and more from
        the first stretch to the last.
    """

    mean_s: Interval
    p50_s: float
    p95_s: float
    p99_s: float
    wait_s: Interval
    busy: float
    rows_a_call: float
    loads: float
    growing: bool


def simulate(queue: Queue, n_requests: int = 100_000, seed: int = 0) -> Waited:
    """Serve so many requests, first come first served; of each bundle those that wait go in one call.

    Raises
    ------
    RecipeError
        There are too few requests for an interval.
    """
    if n_requests < _FEWEST:
        raise RecipeError(f"requests is {n_requests}: at least {_FEWEST}, for an interval of {_STRETCHES} stretches")
    chance = np.random.default_rng(seed)
    arrivals = _arrivals(queue, n_requests, chance)
    asked = _bundles(queue, n_requests, chance)
    waiting: dict[int, deque[int]] = {}
    turns: OrderedDict[int, None] = OrderedDict()  # bundles that are waited for, who came first in front
    held: OrderedDict[int, None] = OrderedDict()  # bundles in memory, asked longest ago in front
    begun, answered = np.empty(n_requests), np.empty(n_requests)
    now = busy = 0.0
    n_calls = n_loads = came = 0
    while came < n_requests or turns:
        if not turns:
            now = max(now, arrivals[came])
        while came < n_requests and arrivals[came] <= now:
            waiting.setdefault(asked[came], deque()).append(came)
            turns.setdefault(asked[came])
            came += 1
        bundle, _ = turns.popitem(last=False)
        line = waiting[bundle]
        batch = [line.popleft() for _ in range(min(len(line), queue.max_batch))]
        if line:
            turns[bundle] = None
        takes = queue.call_s + queue.row_s * len(batch)
        if bundle not in held:
            n_loads += 1
            takes += queue.load_s
            if len(held) == queue.n_held:
                held.popitem(last=False)
        held[bundle] = None
        held.move_to_end(bundle)
        begun[batch] = now
        now += takes
        busy += takes
        n_calls += 1
        answered[batch] = now
    counted = slice(int(_WARM_UP * n_requests), None)
    took, waited = (answered - arrivals)[counted], (begun - arrivals)[counted]
    p50, p95, p99 = np.quantile(took, [0.5, 0.95, 0.99]).tolist()
    share, rows = busy / now, n_requests / n_calls
    growing = queue.offered >= 1 or bool(share > _ALWAYS_BUSY and _rise(took) > _GROWS)
    return Waited(_mean(took), p50, p95, p99, _mean(waited), share, rows, n_loads / n_calls, growing)


def waiting_of_single_rows(rate: float, row_s: float) -> float:
    """Mean seconds that a request waits where calls have one row and take the same time, M/D/1 (Pollaczek, Khinchine).

    >>> waiting_of_single_rows(50, 0.01)
    0.005
    """
    load = rate * row_s
    return load * row_s / (2 * (1 - load))


def _arrivals(queue: Queue, n: int, chance: np.random.Generator) -> np.ndarray:
    """Seconds at which requests arrive, (n,), rising; those of a burst together."""
    sizes = chance.geometric(1 / queue.burst, size=n)
    starts = np.cumsum(chance.exponential(queue.burst / queue.rate, size=n))
    return np.repeat(starts, sizes)[:n]


def _bundles(queue: Queue, n: int, chance: np.random.Generator) -> list[int]:
    shares = np.arange(1, queue.n_bundles + 1, dtype=float) ** -queue.skew
    found: list[int] = chance.choice(queue.n_bundles, size=n, p=shares / shares.sum()).tolist()
    return found


def _stretches(values: np.ndarray) -> np.ndarray:
    return np.array([part.mean() for part in np.array_split(values, _STRETCHES)])


def _rise(values: np.ndarray) -> float:
    """The last stretch's mean over the first's."""
    means = _stretches(values)
    return float(means[-1] / means[0])


def _mean(values: np.ndarray) -> Interval:
    means = _stretches(values)
    reach = _T * float(means.std(ddof=1)) / _STRETCHES**0.5
    value = float(values.mean())
    return Interval(value, value - reach, value + reach)


def table(queue: Queue, loads: Sequence[float], n_requests: int, seed: int = 0) -> Iterator[str]:
    """Lines of Markdown: the queue at several shares of what full calls can do; of a line that grows no times."""
    heads = (
        "of capacity",
        "rows/s",
        "mean ms",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "rows a call",
        "busy %",
        "calls that load %",
    )
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for load in loads:
        one = simulate(replace(queue, rate=load * queue.most), n_requests, seed)
        mean, low, high, *quantiles = (
            _digits(1000 * value) for value in (*one.mean_s, one.p50_s, one.p95_s, one.p99_s)
        )
        cells = [
            f"{100 * load:g} %",
            _digits(load * queue.most),
            *(("growing", *"–––") if one.growing else (f"{mean} [{low}, {high}]", *quantiles)),
            f"{one.rows_a_call:.1f}",
            f"{100 * one.busy:.0f}",
            f"{100 * one.loads:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a queue; 0, or 2 where it cannot be one."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth.queue", description=__doc__)
    add = parser.add_argument
    add("--call-ms", type=float, default=1.0, help="milliseconds of an engine call (default: %(default)g)")
    add("--row-ms", type=float, default=0.2, help="and of each row in it (default: %(default)g)")
    add("--max-batch", type=int, default=64, help="rows in a call (default: %(default)s)")
    add("--burst", type=float, default=1.0, help="mean rows of a burst (default: 1, none)")
    add("--bundles", type=int, default=1, help="bundles that are asked (default: 1)")
    add("--held", type=int, default=1, help="those that memory holds at once (default: 1)")
    add("--skew", type=float, default=1.0, help="how unlike they are asked, Zipf's exponent (default: %(default)g)")
    add("--load-ms", type=float, default=0.0, help="milliseconds to open a bundle (default: 0)")
    add("--loads", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.8, 0.9, 0.95], help="shares of capacity")
    add("--requests", type=int, default=100_000, help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        queue = Queue(
            1.0, given.call_ms / 1000, given.row_ms / 1000, given.max_batch, given.burst, given.bundles, given.held,
            given.skew, given.load_ms / 1000,
        )  # fmt: skip
        print("\n".join(table(queue, given.loads, given.requests)))
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
