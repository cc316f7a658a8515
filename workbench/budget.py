"""How long things are expected to take, said before they start, and what a budget of minutes leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.progress import duration
from workbench.run.folder import Clock


@dataclass
class Budget:
    """What is left of some minutes; whatever does not fit in is left out, by name and with the reason.

    Attributes
    ----------
    minutes : float
        0 for no limit.
    clock : Clock
        Of the whole work, earlier attempts included.
    left_out : dict of str to str
        Name to reason.
    """

    minutes: float
    clock: Clock
    left_out: dict[str, str] = field(default_factory=dict)

    def holds(self, name: str, expected: float | None, kept_s: float = 0.0) -> bool:
        """Whether something fits in; what nothing is known of does.

        Parameters
        ----------
        kept_s : float
            Seconds that something else needs afterwards.
        """
        self.left_out.pop(name, None)
        left = max(60 * self.minutes - self.clock.seconds - kept_s, 0.0)
        if not self.minutes or expected is None or expected <= left:
            return True
        self.left_out[name] = f"{about(expected)} expected, and {duration(left)} of {self.minutes:g} minutes are left"
        return False


def about(expected: float | None) -> str:
    """A rough time as people say it.

    >>> about(203.0), about(14.0), about(0.2), about(None)
    ('about 3 min', 'about 10 s', 'a moment', 'unknown time')
    """
    if expected is None:
        return "unknown time"
    if expected < 2:
        return "a moment"
    return f"about {10 * max(round(expected / 10), 1)} s" if expected < 90 else f"about {round(expected / 60)} min"


def plan(expected: Mapping[str, float | None]) -> str:
    """What is to come, each with its time, and together.

    >>> plan({"gepa": 130.0, "grpo": 300.0})
    'gepa about 2 min, grpo about 5 min; together about 7 min'
    """
    each = ", ".join(f"{name} {about(seconds)}" for name, seconds in expected.items())
    known = [seconds for seconds in expected.values() if seconds is not None]
    return f"{each}; together {about(sum(known))}" if len(known) > 1 else each
