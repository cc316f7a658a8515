"""One warm engine at a time."""

from __future__ import annotations

import gc

from labelwright.engines.native.heap import give_back_heap
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine, close
from labelwright.engines.settings import EngineSettings
from labelwright.files import folder_digest
from labelwright.models.weights import Weights


class Engines:
    """Opens engines and keeps the last one warm. Weights are told apart by content, not by path.

    Parameters
    ----------
    settings : EngineSettings
        The recipe's: where and how every model of a run is opened.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._key: tuple[str, str] | None = None
        self._engine: Engine | None = None

    def __call__(self, weights: Weights) -> Engine:
        """The engine over these weights."""
        key = (weights.base, folder_digest(weights.folder) if weights.folder else "")
        if self._engine is None or key != self._key:
            # The old model goes before the new one comes: two of them may not fit.
            self.close()
            self._engine = open_engine(weights, self._settings)
            self._key = key
        return self._engine

    def close(self) -> None:
        """Let the open engine go."""
        if self._engine is not None:
            close(self._engine)
            self._engine = self._key = None
            let_go()


def let_go() -> None:
    """Give back the memory of models that nothing holds any more but their own cycles, as trainers and modules have.

    Python would see to it at some later time; the next model may need the room now.
    """
    gc.collect()
    give_back_heap()
