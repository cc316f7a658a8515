"""One training as files, from the process that runs the verb to those that help: plain JSON and arrays.

Rows go as tokens, so that a helper neither reads data nor renders a prompt: it meets the very bytes of the first
process. Weights go by name and folder, which every process must see at the same place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from labelwright.engines.options.tree import OptionTree
from labelwright.errors import ModelError
from labelwright.files import read_json, write_json
from labelwright.models.weights import Adapter, Base, Full, Weights
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective, Preferences, TrainingSettings, dealt

_KINDS: dict[str, type[Adapter | Full]] = {kind.__name__: kind for kind in (Adapter, Full)}


@dataclass(frozen=True)
class _AnyStage(TrainingSettings):
    """A stage by what every training has; what else a stage has stands in the objective."""

    name: ClassVar[str] = "training"


@dataclass(frozen=True)
class Job:
    """All that a process has to know to take its share of a training.

    Attributes
    ----------
    folder : Path
        The stage's own, with ``checkpoints``.
    device, dtype : str
        The kind of device, "cuda" say, and what the engine answers in.
    """

    stage: TrainingSettings
    objective: Objective
    rows: LabelRows
    weights: Weights
    folder: Path
    device: str
    dtype: str
    seed: int

    @property
    def place(self) -> Path:
        """Where it is written."""
        return self.folder / "processes"

    def with_fewer_rows(self, n_processes: int) -> Job:
        """The same training with at most half as many rows at once: as many a step, in more passes.

        Raises
        ------
        ModelError
            It is one row already; or others train too, and would have to begin again with this one.
        """
        at_once = self.stage.rows_at_once
        if n_processes > 1 or at_once == 1:
            raise self.short_of_memory(n_processes)
        n_rows = max(n for n in range(1, at_once // 2 + 1) if self.stage.rows_per_step % n == 0)
        return replace(self, stage=replace(self.stage, rows_per_forward=n_rows))

    def short_of_memory(self, n_processes: int) -> ModelError:
        """What is said where it cannot go on with fewer rows at once by itself."""
        at_once, _ = dealt(self.stage, n_processes)
        # The device is the first process's, the others have theirs.
        device = self.device if n_processes == 1 else self.device.split(":")[0]
        said = f"{device} has no memory left to train on {at_once} row{'s' * (at_once > 1)} at once"
        said += f" in each of {n_processes} processes" * (n_processes > 1)
        if at_once > 1:
            return ModelError(f"{said}: set rows_per_forward below {at_once}")
        adapter = ", or an adapter (lora_rank above 0)" if self.stage.trains_all else ""
        return ModelError(f"{said}: use a smaller model or shorter rows{adapter}")

    def write(self, checkpoint: Path | None) -> None:
        """Write it down, to go on from a checkpoint or to begin."""
        self.place.mkdir(exist_ok=True)
        objective, rows = self.objective, self.rows
        arrays: dict[str, Any] = {"gold": rows.gold, "present": rows.present, "targets": rows.targets}
        arrays |= {"rewards": objective.rewards, "row_rewards": objective.row_rewards}
        np.savez(self.place / "arrays.npz", **{name: one for name, one in arrays.items() if one is not None})
        plain = {one.name: getattr(objective, one.name) for one in fields(objective)}
        # A teacher's probabilities are in the rows' targets by now.
        for name in ("rewards", "row_rewards", "soft"):
            del plain[name]
        plain["preferences"] = asdict(objective.preferences) if objective.preferences else None
        write_json(
            self.place / "job.json",
            {
                "stage": {one.name: getattr(self.stage, one.name) for one in fields(_AnyStage)},
                "objective": plain,
                "rows": {
                    "prefix": rows.prefix,
                    "rows": rows.rows,
                    "options": rows.tree.options,
                    "texts": rows.texts,
                    "shares_readings": rows.shares_readings,
                },
                "weights": [type(self.weights).__name__, self.weights.base, str(self.weights.folder or "")],
                "device": self.device,
                "dtype": self.dtype,
                "seed": self.seed,
                "checkpoint": str(checkpoint or ""),
            },
        )


def read_job(folder: Path) -> tuple[Job, Path | None]:
    """The training of a stage's folder, and the checkpoint that it goes on from."""
    place = folder / "processes"
    known = read_json(place / "job.json")
    with np.load(place / "arrays.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    told = known["rows"]
    rows = LabelRows(
        prefix=tuple(told["prefix"]),
        rows=_tuples(told["rows"]),
        tree=OptionTree.build(_tuples(told["options"])),
        gold=arrays["gold"],
        texts=tuple(told["texts"]),
        present=arrays.get("present"),
        targets=arrays.get("targets"),
        shares_readings=told["shares_readings"],
    )
    asked = known["objective"]
    if asked["preferences"]:
        asked["preferences"] = Preferences(**asked["preferences"] | {"pairs": _tuples(asked["preferences"]["pairs"])})
    objective = Objective(**asked, rewards=arrays.get("rewards"), row_rewards=arrays.get("row_rewards"))
    kind, base, weights_folder = known["weights"]
    weights = Base(base) if kind == "Base" else _KINDS[kind](base, Path(weights_folder))
    told_of = {name: known[name] for name in ("device", "dtype", "seed")}
    job = Job(_AnyStage(**known["stage"]), objective, rows, weights, folder, **told_of)
    return job, Path(known["checkpoint"]) if known["checkpoint"] else None


def _tuples(lines: Any) -> Any:
    return tuple(map(tuple, lines))
