"""What every wire is handed: the models, the limits, and a request's record; and what a wire is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request

from labelwright.bundle.types import Bundle
from labelwright.errors import LabelwrightError
from labelwright.prompt import Prompt
from labelwright.serve.limits import Limits
from labelwright.serve.served import RowAnswer, Served


class RefusalError(LabelwrightError):
    """A request that is not answered, before a wire has put it into its own shape.

    Parameters
    ----------
    status : int
        HTTP status; a wire may have another for the kind.
    kind : str
        What it is, in one word of the protocols: "authentication_error", "invalid_request", "too_large", "busy" …
    message : str
        One sentence: what was given, what was expected, what to do.
    faults : sequence of mapping
        All that is wrong with a body: ``loc`` (from "body" on), ``msg`` and ``type`` each, as FastAPI writes them.
    retry_after_s : int, optional
        When to come again.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        faults: Sequence[Mapping[str, Any]] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Record:
    """What is known of a request; logged and counted when it is over. It holds none of its text.

    Attributes
    ----------
    id : str
        The ``x-request-id`` that came with it, or one that was made.
    path : str
        The route's path; "" for one that there is not, which may be anybody's text.
    wire, model : str
        Who spoke and which model was asked; empty where it did not come to that.
    n_rows, n_bytes : int
        Texts asked about, bytes of the body.
    started : float
        ``time.perf_counter()``.
    """

    id: str
    method: str
    path: str = ""
    wire: str = ""
    model: str = ""
    n_rows: int = 0
    n_bytes: int = 0
    status: int = 0
    error: str = ""
    started: float = field(default_factory=time.perf_counter)


def record_of(request: Request) -> Record:
    """The record that the gate made of a request."""
    record: Record = request.scope["labelwright"]
    return record


class Lease:
    """A model as one request has it: not closed meanwhile, its rows counted and held to the limits.

    Attributes
    ----------
    served : Served
    """

    def __init__(self, served: Served, limits: Limits, record: Record) -> None:
        self.served = served
        self._limits = limits
        self._record = record

    @property
    def bundle(self) -> Bundle:
        """What answers."""
        return self.served.bundle

    async def probabilities(self, texts: Sequence[str], *, whole: bool = False) -> list[RowAnswer]:
        """As ``Served.probabilities``. Raises RefusalError for more rows than a request may have."""
        # All that is asked of a row is one reading of it.
        prompt = self.bundle.prompt
        self._count(len(set(map(prompt.read_of, texts))) if prompt.points else len(texts))
        return await self.served.probabilities(texts, whole=whole)

    async def zero_shot(self, prompt: Prompt, texts: Sequence[str]) -> list[RowAnswer]:
        """As ``Served.zero_shot``. Raises RefusalError for more rows than a request may have."""
        self._count(len(texts))
        return await self.served.zero_shot(prompt, texts)

    def _count(self, n_rows: int) -> None:
        self._record.n_rows += n_rows
        if self._record.n_rows > self._limits.rows:
            raise RefusalError(
                413,
                "too_large",
                f"{self._record.n_rows} texts in one request, but at most {self._limits.rows} are taken: ask for fewer",
            )


class Service:
    """The models by id, the first of which answers where none is named.

    Attributes
    ----------
    served : dict of str to Served
    limits : Limits
    is_stopping : bool
        Nothing new should be sent here.
    """

    def __init__(self, served: Mapping[str, Served], limits: Limits) -> None:
        self.served = dict(served)
        self.limits = limits
        self.is_stopping = False

    @contextmanager
    def lease(self, request: Request, name: str | None = None) -> Iterator[Lease]:
        """A model for one request.

        Parameters
        ----------
        name : str, optional
            Its id; without one, the first model.

        Raises
        ------
        RefusalError
            404, if there is no such model.
        """
        if name is not None and name not in self.served:
            raise RefusalError(404, "not_found", f"there is no model {name[:100]!r}; served: {', '.join(self.served)}")
        served = next(iter(self.served.values())) if name is None else self.served[name]
        record = record_of(request)
        record.model = served.id
        served.lease()
        try:
            yield Lease(served, self.limits, record)
        finally:
            served.release()

    def swap(self, served: Served) -> None:
        """Put a newly loaded model in the place of the one of its id, which is closed when nobody holds it any more."""
        replaced = self.served.get(served.id)
        self.served = {**self.served, served.id: served}
        if replaced is not None:
            replaced.retire()


class Wire(NamedTuple):
    """A protocol that is served.

    Attributes
    ----------
    name : str
        In logs and metrics.
    what : str
        What answers, in a few words, for who starts the server.
    router : callable
        Its routes over a service.
    refused : callable
        Status and body of a refusal, as the protocol has them.
    """

    name: str
    what: str
    router: Callable[[Service], APIRouter]
    refused: Callable[[RefusalError], tuple[int, dict[str, Any]]]
