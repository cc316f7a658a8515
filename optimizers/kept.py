"""Scores of rows under a bundle, kept for whoever asks the same again.

Rows of dev and calib are asked about one bundle several times: by the stage that made it, by the stage after it, by the
comparison and by the export. Scores are whole, every option's to its end, so that they serve whatever calibration is
applied later; and they lie under a hash of the question, so that nothing answers for another bundle, row or engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.asked.questions import put
from labelwright.data.task import Example
from labelwright.decide import log_scores, render_rows
from labelwright.engines.protocol import Engine
from labelwright.files import folder_digest, replacing
from labelwright.models.weights import Adapter, Full, Predictor, Weights
from labelwright.statistics.metrics import Floats

# Rows are scored in slices of this many, only to show progress.
_SLICE_ROWS = 32
# Files that nobody wrote or read for so long are removed: those of old code, and what a killed process left of one.
_FORGOTTEN_S = 30 * 86_400


class Watched(Protocol):
    """What is known, on leaving, of a stretch of work that was watched."""

    others_busy_cores: float | None


@dataclass
class _Unwatched:
    others_busy_cores: float | None = None


class _Kept(NamedTuple):
    scores: Floats
    seconds: float
    asker: str
    others_busy_cores: float | None


@dataclass
class KeptScores:
    """Log-scores that are kept in a folder, a file a question.

    The same question is one about the same rows under the same prompt and the same weights, by their content, to the
    same engine. Scores that are no numbers are not kept.

    Attributes
    ----------
    folder : Path
        Made when the first are kept; it can be deleted at any time.
    engine : str
        What tells engines apart that open the same weights: their settings and their code.
    asker : str
        Who asks.
    reused_s : float
        Seconds that scoring took another asker, of what was read since: who reports what work costs adds them. A
        question that is asked again adds nothing, as it would not had it been scored here.
    watch : callable
        Opens what watches the machine while rows are scored.
    reused_busy_cores : float or None
        Cores that others kept busy meanwhile, at most; None where nobody watched.
    """

    folder: Path
    engine: str = ""
    asker: str = ""
    reused_s: float = 0.0
    watch: Callable[[], AbstractContextManager[Watched]] = lambda: nullcontext(_Unwatched())
    reused_busy_cores: float | None = None
    _counted: set[Path] = field(default_factory=set, init=False, repr=False)

    def of(
        self,
        bundle: Bundle,
        rows: Sequence[Example],
        open_engine: Callable[[Weights], Engine],
        progress: Callable[[int, int], object] | None = None,
    ) -> Floats:
        """Whole log-scores of shape (n_rows, n_labels), read where they are kept, else scored and kept.

        Parameters
        ----------
        bundle : Bundle
            Its calibration counts only for its rotations.
        open_engine : callable
            Weights to an engine; not called where the scores are kept.
        progress : callable, optional
            Takes how many rows of how many are scored.
        """
        path = self._path(bundle, rows)
        if (known := _read(path)) is not None:
            if known.asker != self.asker and path not in self._counted:
                self._counted.add(path)
                self.reused_s += known.seconds
                if known.others_busy_cores is not None:
                    self.reused_busy_cores = max(self.reused_busy_cores or 0.0, known.others_busy_cores)
            return known.scores
        engine, texts = open_engine(bundle.weights), [row.text for row in rows]
        n_at_once = len(texts) if progress is None else _SLICE_ROWS
        parts, begun = [], time.perf_counter()
        with self.watch() as load:
            for start in range(0, len(texts), max(n_at_once, 1)):
                if progress is not None:
                    progress(start, len(texts))
                parts.append(log_scores(bundle, engine, texts[start : start + n_at_once]))
        seconds = time.perf_counter() - begun
        scores = np.concatenate(parts) if parts else np.zeros((0, len(bundle.prompt.options)))
        if not np.isnan(scores).any():
            # A full disk costs who asks next the time, not who asks now the scores.
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._forget()
                others = np.nan if load.others_busy_cores is None else load.others_busy_cores
                with replacing(path) as part:
                    np.savez(part, scores=scores, seconds=seconds, asker=self.asker, others_busy_cores=others)
        return scores

    def known(self, bundle: Bundle, rows: Sequence[Example]) -> Floats | None:
        """The same where they are kept, else None."""
        known = _read(self._path(bundle, rows))
        return None if known is None else known.scores

    def seconds(self, bundle: Bundle, rows: Sequence[Example]) -> float | None:
        """What it took when these were scored, by whom it was; None where they are not kept."""
        known = _read(self._path(bundle, rows))
        return None if known is None else known.seconds

    def seconds_per_row(self, bundle: Bundle, rows: Sequence[Example]) -> float | None:
        """The same a row."""
        seconds = self.seconds(bundle, rows) if rows else None
        return None if seconds is None else seconds / len(rows)

    def _forget(self) -> None:
        for path in self.folder.glob("*.npz"):
            # Another process may do the same, or have replaced it meanwhile.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _FORGOTTEN_S:
                    path.unlink()

    def _path(self, bundle: Bundle, rows: Sequence[Example]) -> Path:
        prompt, texts = bundle.prompt, [row.text for row in rows]
        # All answers to a row are read in one prompt, which is written down once.
        read = dict.fromkeys(map(prompt.read_of, texts)) if prompt.points else texts
        one_each = [put(text, prompt.points[0]) for text in read] if prompt.points else texts
        asked = [
            self.engine,
            weights_fingerprint(bundle.weights),
            bundle.calibration.rotations,
            prompt.options,
            # In segments, since these are tokenised apart; and the text, which says what letters a row of choices has.
            [[*one.segments, text] for one, text in zip(render_rows(prompt, one_each), read, strict=True)],
            *([texts] if prompt.points else []),
        ]
        return self.folder / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()}.npz"


def weights_fingerprint(weights: Weights) -> str:
    """What tells weights apart: the base's name, and what is in the folders, wherever they lie.

    A folder whose files were replaced holds other weights; the same files elsewhere are the same.
    """
    folders: list[Path | None] = [Path(weights.base)]
    folders += [weights.folder if isinstance(weights, kind) else None for kind in (Adapter, Full, Predictor)]
    # A base that is a folder is called by its place, and that says nothing.
    name = "" if Path(weights.base).is_dir() else weights.base
    return "\n".join([name, *(folder_digest(one) if one is not None and one.is_dir() else "" for one in folders)])


def _read(path: Path) -> _Kept | None:
    """What a file holds; None where there is none, or a failing disk left half of one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            others = float(stored["others_busy_cores"])
            seconds, asker = float(stored["seconds"]), str(stored["asker"])
            found = _Kept(stored["scores"], seconds, asker, None if np.isnan(others) else others)
    # What zipfile cannot unpack (NotImplementedError is a RuntimeError) is half a file as well.
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    with suppress(OSError):
        os.utime(path)
    return found
