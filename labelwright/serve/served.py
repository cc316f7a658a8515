"""A bundle that answers many callers at once: loaded, behind one engine's thread, under a name.

The event loop asks and goes on; the engine's thread scores. What is asked, and what becomes of the scores, is
``labelwright.decide``'s, so the numbers are those of ``labelwright.decide.probabilities``. A row that cannot be
answered costs no other row its answer (``labelwright.labelling.score_rows`` is the same for one caller).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.reference import Reference
from labelwright.bundle.store import read_reference
from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.records import checked_text
from labelwright.decide import Query
from labelwright.engines.coalesce import CoalescingEngine
from labelwright.engines.protocol import Engine
from labelwright.errors import BundleError, DataError, ModelError
from labelwright.labelling import without_number
from labelwright.models.weights import is_language_model
from labelwright.pictures.sent import need_reader
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import UNCALIBRATED, Calibration
from labelwright.watch.tally import Tally

# A row's probabilities, (n_labels,), or what is wrong with it.
RowAnswer = NDArray[np.float64] | DataError
# From a bundle's folder to the bundle and an engine opened on its weights.
Opener = Callable[[Path], tuple[Bundle, Engine]]


def _check_images(bundle: Bundle, folder: Path) -> None:
    """No wire can bring an image to a model yet, and what is not said here would be asked without it.

    Nor is there an answer where images are to be read and nothing is installed that reads them.
    """
    if bundle.task.shows_images:
        raise BundleError(
            f"{folder} looks at images ({bundle.task.image_column}), which no request can bring: label files of rows "
            f"with `labelwright predict`"
        )
    if bundle.task.image_column:
        need_reader()


def _opened(folder: Path, opener: Opener) -> tuple[Bundle, Engine]:
    """A bundle, ready to be asked. Called on a thread of its own, which ends: opening a model computes with it.

    A thread that does so gets a team of workers that lives as long as it. With more of these than cores, OpenMP has all
    of them sleep at each of a call's hundreds of meeting points, and waking takes a third of the call.
    """
    bundle, engine = opener(folder)
    if bundle.scope is not None:
        bundle.scope.open()
    return bundle, engine


class Served:
    """One bundle under a model id.

    Parameters
    ----------
    id : str
        What clients call it.
    bundle : Bundle
    engine : Engine
        Opened on the bundle's weights; closed with this.
    identity : str
        ``labelwright.bundle.files.bundle_identity`` of its folder.
    created : int
        When the bundle was written, in seconds since 1970.
    waiting_rows : int
        Rows that may wait for the engine.
    reference : Reference, optional
        What its answers looked like on dev; without it no drift is told.

    Attributes
    ----------
    tally : Tally
        What was answered so far to the bundle's own question, counted.
    """

    def __init__(
        self,
        id: str,
        bundle: Bundle,
        engine: Engine,
        identity: str = "",
        created: int = 0,
        waiting_rows: int = 2048,
        reference: Reference | None = None,
    ) -> None:
        self.id = id
        self.bundle = bundle
        self.identity = identity
        self.created = created
        # Small classifiers answer a row in less time than it takes to wait for another.
        quiet_s = 0.002 if self.has_language_model else 0.0
        self.engine = CoalescingEngine(engine, max_waiting_rows=waiting_rows, quiet_s=quiet_s)
        self.tally = Tally(
            asking(bundle.task).watched, None if reference is None else reference.counts, bundle.decision
        )
        self._n_leases = 0
        self._retired = False
        self._n_own_tokens: int | None = None

    @classmethod
    def open(cls, id: str, folder: Path, opener: Opener, waiting_rows: int = 2048) -> Served:
        """Load a bundle's folder.

        Raises
        ------
        LabelwrightError
            As ``labelwright.bundle.store.load`` and ``labelwright.engines.opening.open_engine``; or its scope's
            encoder cannot be opened. MissingExtraError where its rows have images and OCR is not installed.
        """
        identity = bundle_identity(folder)
        with ThreadPoolExecutor(1, "opening") as ends_with_this:
            bundle, engine = ends_with_this.submit(_opened, folder, opener).result()
        _check_images(bundle, folder)
        created = int((folder / "bundle.json").stat().st_mtime)
        return cls(id, bundle, engine, identity, created, waiting_rows, read_reference(folder, bundle))

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in the order of every vector; letters where rows bring their own choices."""
        return self.bundle.task.names

    @property
    def has_language_model(self) -> bool:
        """Whether it can answer questions that are not its own (``zero_shot``)."""
        return is_language_model(self.bundle.weights)

    async def probabilities(self, texts: Sequence[str], *, whole: bool = False) -> list[RowAnswer]:
        """Calibrated probabilities (n_labels,) of each text, or what is wrong with it; all 0 where there is no answer.

        Cancelled, it drops the rows that the engine does not have in hand yet.

        Parameters
        ----------
        texts : sequence of str
            With their choices lettered (``labelwright.data.choices.lettered``), where rows bring their own.
        whole : bool
            Score every option to its end: for who goes on with the probabilities of a few labels, which may hold no
            more together than is otherwise left unexpanded.

        Raises
        ------
        QueueFullError
            If there is no room for the rows; a server says 503.
        ModelError
            If the engine has ended.
        """
        found = await self._answered(self.bundle.prompt, self.bundle.calibration, texts, whole)
        self.tally.add([row for row in found if not isinstance(row, DataError)])
        return found

    async def zero_shot(self, prompt: Prompt, texts: Sequence[str]) -> list[RowAnswer]:
        """Probabilities of each text under another prompt than the bundle's, uncalibrated; otherwise the same.

        The weights are the bundle's, tuned ones included: they are merged into the model when it is loaded, and a
        second, untuned model beside it would take as much memory again.
        """
        return await self._answered(prompt, UNCALIBRATED, texts, False)

    def count_tokens(self, prompt: Prompt, texts: Sequence[str]) -> int:
        """Tokens that the engine reads for these texts, template and shown rows aside."""
        if not self.has_language_model:
            n_tokens = 0
        elif prompt is not self.bundle.prompt:
            n_tokens = self.engine.count_tokens(prompt.system)
        else:
            if self._n_own_tokens is None:
                self._n_own_tokens = self.engine.count_tokens(prompt.system)
            n_tokens = self._n_own_tokens
        if prompt.points:
            # All that is asked of a row is one reading of it.
            texts = list(dict.fromkeys(map(prompt.read_of, texts)))
        return len(texts) * n_tokens + sum(map(self.engine.count_tokens, texts))

    def lease(self) -> None:
        """Keep it open until ``release``."""
        self._n_leases += 1

    def release(self) -> None:
        """The end of a ``lease``; the last one closes what was retired."""
        self._n_leases -= 1
        if self._retired and not self._n_leases:
            self.close()

    def retire(self) -> None:
        """Close it as soon as nobody holds it."""
        self._retired = True
        if not self._n_leases:
            self.close()

    def close(self) -> None:
        """End the engine's thread after the call in progress."""
        self.engine.close()

    async def _answered(
        self, prompt: Prompt, calibration: Calibration, texts: Sequence[str], whole: bool
    ) -> list[RowAnswer]:
        faults = [_fault(prompt.read_of(text)) for text in texts]
        readable = [text for text, fault in zip(texts, faults, strict=True) if fault is None]
        scored = iter(await self._scored(prompt, calibration, readable, whole))
        return [next(scored) if fault is None else fault for fault in faults]

    async def _scored(
        self, prompt: Prompt, calibration: Calibration, texts: Sequence[str], whole: bool
    ) -> list[RowAnswer]:
        """Answers of texts that can be read; what is refused is halved until the row is alone."""
        if not texts:
            return []
        if not self.engine.is_alive:
            raise self._ended()
        try:
            query = Query.of(prompt, calibration, texts, whole)
            # The nearest rows are found by an encoder, which takes its time.
            rendered = await asyncio.to_thread(query.rendered) if prompt.neighbours else query.rendered()
            future = self.engine.submit(rendered, prompt.options, calibration=query.expansion, wait=False)
            try:
                scores = await asyncio.wrap_future(future)
            except asyncio.CancelledError as error:
                # The engine's thread cancels what waits when it ends; the caller is cancelled otherwise.
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                raise self._ended() from error
            return list(query.probabilities(scores, self.engine.has_probabilities))
        except DataError as error:
            if len(texts) == 1:
                return [without_number(error)]
        half = len(texts) // 2
        first = await self._scored(prompt, calibration, texts[:half], whole)
        return [*first, *await self._scored(prompt, calibration, texts[half:], whole)]

    def _ended(self) -> ModelError:
        return ModelError(f"the engine of {self.id} has ended: the server must be started again")


def _fault(text: str) -> DataError | None:
    """What is wrong with a text before any model reads it."""
    if not text.strip():
        return DataError("the text is empty")
    try:
        checked_text(text, "text")
    except DataError as error:
        return error
    return None
