"""What a server takes from strangers: sizes, numbers and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labelwright.settings import Range, check


@dataclass(frozen=True)
class Limits:
    """What is refused, before it costs anything.

    Attributes
    ----------
    body_bytes : int
        A request's body; more is refused (413) before it is read whole.
    rows : int
        Texts in one request.
    questions : int
        Questions in one request, where a protocol has several.
    requests : int
        Requests in the server at a time; more are told to come again (503).
    waiting_rows : int
        Rows that wait for a model, a model; more are told to come again (503).
    seconds : float
        From a request's headers to its answer; it is then given up (503), and its rows are dropped.
    """

    body_bytes: Annotated[int, Range(1024, 2**30)] = 4 * 2**20
    rows: Annotated[int, Range(1, 100_000)] = 1024
    questions: Annotated[int, Range(1, 10_000)] = 64
    requests: Annotated[int, Range(1, 100_000)] = 1024
    waiting_rows: Annotated[int, Range(1, 1_000_000)] = 2048
    seconds: Annotated[float, Range(0.1, 86_400)] = 60.0

    def __post_init__(self) -> None:
        check(self, "")
