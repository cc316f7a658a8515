"""What a process costs while it works: its own peak memory, and how busy others kept the machine meanwhile."""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

# Cores kept busy by others from which on a time is said to be disturbed.
DISTURBED_CORES = 0.25

# How long a measurement looks on before the work begins, so that one of milliseconds has something to be judged by.
LOOK_ON_S = 0.3

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far, or since ``forget_peak_memory``.

    ``ru_maxrss`` survives an exec on Linux, so a child of a large parent would begin at its parent's size; the kernel's
    own high-water mark (VmHWM) belongs to the address space, which an exec makes anew.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_memory() -> bool:
    """Let the peak begin again at what is held now; False where the system has no such switch."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


class Load:
    """How many cores other processes kept busy while something was timed.

    Counts the machine's busy processor time less this process's own.

    Parameters
    ----------
    before_s : float, optional
        Seconds to look on before the work begins; ``LOOK_ON_S`` by default.

    Attributes
    ----------
    others_busy_cores : float or None
        In [0, cores], set on leaving; None where the system does not say.

    >>> with Load(before_s=0) as load: _ = sum(range(1000))
    >>> load.others_busy_cores is None or load.others_busy_cores >= 0
    True
    """

    others_busy_cores: float | None = None

    def __init__(self, before_s: float | None = None) -> None:
        self._before_s = LOOK_ON_S if before_s is None else before_s

    def __enter__(self) -> Load:
        self._begun = time.perf_counter(), _busy_s(), time.process_time()
        if self._begun[1] is not None:
            time.sleep(self._before_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (begun, busy, own), now = self._begun, _busy_s()
        elapsed = time.perf_counter() - begun
        if busy is None or now is None or elapsed <= 0:
            return
        others = (now - busy - (time.process_time() - own)) / elapsed
        self.others_busy_cores = round(min(max(others, 0.0), float(os.cpu_count() or 1)), 2)


def most(loads: Iterable[float | None]) -> float | None:
    """The highest of the loads that are known; None where none is."""
    return max((load for load in loads if load is not None), default=None)


def _busy_s() -> float | None:
    """Seconds that all cores together were not idle, since the machine started; None where that is not known."""
    try:
        import psutil
    except ImportError:
        return None
    times = psutil.cpu_times()
    # On Linux a guest's time is part of user and nice.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(value for name, value in times._asdict().items() if name not in idle))
