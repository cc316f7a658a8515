"""What a recipe's run has to say: one MLflow parent run, one child a step or candidate, live.

The session, the comparison and the export speak here; what they say becomes entries, and ``delivery`` brings those to
the store, now or later. ``Tracking`` is all that they know of tracking.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelwright.data.task import Example
from workbench.compare.board import Leaderboard
from workbench.compare.candidate import Candidate
from workbench.compare.details import DoubtedRow, telling_rows
from workbench.progress import Display
from workbench.recipe.recipe import Recipe
from workbench.run.folder import ASKED, RunFolder
from workbench.run.steps import Step
from workbench.tracking import entries, rows
from workbench.tracking.delivery import Delivery
from workbench.tracking.entries import PARENT, StepTracker
from workbench.tracking.journal import Entry


def quiet() -> None:
    """Keep MLflow's and the database migration's chatter off the console, tracebacks of what is told here included."""
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"mlflow\.")


class Tracking:
    """The runs of one recipe run. Use ``opened`` as a context; close comes with it.

    Runs are named by keys: ``PARENT``, or a step's. Which MLflow run a key stands for is looked up, and the run made,
    when the store is asked: so everything can be said while the store is away.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, display: Display) -> None:
        self._recipe = recipe
        self._folder = folder
        self._display = display
        quiet()
        self.delivery = Delivery(recipe, folder, display)

    @property
    def uri(self) -> str:
        """The store's address, to be shown."""
        return self.delivery.uri

    def write(self, entry: Entry, keep: bool = True) -> Any:
        """Have an entry recorded, or keep it for later; returns what the store gave back."""
        return self.delivery.write(entry, keep)

    @contextmanager
    def opened(self) -> Iterator[Tracking]:
        """Begin or continue the parent run, recording first what an earlier command could not."""
        self.delivery.open()
        with self._working(PARENT):
            yield self
        self.delivery.close()

    @contextmanager
    def step(self, step: Step) -> Iterator[StepTracker]:
        """The child run of a step that runs in this process."""
        tracker = StepTracker(step, self.write, self._display.progress, self._display.metrics)
        tracker.begin()
        with self._working(step.key):
            yield tracker

    def kept(self, step: Step) -> None:
        """The child run of a step that an earlier run, or a comparison, has done; once."""
        told = self._state.setdefault("kept", [])
        if step.key not in told:
            # Run by this run, of which a kill left the record open; or by another, and not known here.
            is_known = step.key in self._state.get("runs", {})
            for entry in [entries.status(step.key, "FINISHED")] if is_known else entries.kept_step(step):
                self.write(entry)
            told.append(step.key)
            self._folder.save()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """What the whole run stands on: its settings, its recipe and its splits."""
        self.write(entries.params(PARENT, settings))
        for name in ("recipe.toml", "splits.json"):
            self.write(entries.artifact(PARENT, self._folder.path / name))

    def dataset(self, side: str, rows: Sequence[Example], digest: str) -> None:
        """Record one side of the splits as a dataset of the parent run, once."""
        logged = self._state.setdefault("datasets", [])
        if side in logged:
            return
        source = self._recipe.data.path or f"https://huggingface.co/datasets/{self._recipe.data.hub}"
        columns = {"text": [row.text for row in rows], "label": [row.label for row in rows]}
        self.write({"op": "dataset", "side": side, "digest": digest, "source": source, "columns": columns})
        logged.append(side)
        self._folder.save()

    def comparison(self, table: Mapping[str, Sequence[Any]], report: Leaderboard, files: Sequence[Path]) -> None:
        """The leaderboard as a table, its numbers as metrics, the report's files and plots as artifacts."""
        # log_table appends to a table that is there: a later comparison gets a file of its own.
        number = self._state["comparisons"] = self._state.get("comparisons", 0) + 1
        name = "leaderboard.json" if number == 1 else f"leaderboard-{number}.json"
        columns = {key: list(values) for key, values in table.items()}
        self.write({"op": "table", "run": PARENT, "columns": columns, "file": name})
        for candidate in report.candidates:
            # The store takes no "+" and no "@" in a metric's name.
            told = candidate.name.replace("+", "-").replace("@", ":")
            values = {f"test.{key}/{told}": one.value for key, one in candidate.test.items()}
            for entry in entries.metrics(PARENT, values):
                self.write(entry)
        for path in files:
            self.write(entries.artifact(PARENT, path, path.name if path.is_dir() else None))
        self._folder.save()

    def candidate(self, candidate: Candidate, test: Mapping[str, float], step: Step | None) -> None:
        """What a candidate is, what it costs and how it does on test: with its last step's run, or on one of its own.

        Parameters
        ----------
        step : Step, optional
            The last stage behind it; None for what no stage tuned.
        """
        key = step.key if step else f"candidate {candidate.name}"
        tags = {"candidate": candidate.name, "kind": candidate.kind}
        if step:
            self.kept(step)
        else:
            self.write(entries.run(key, candidate.name, tags))
            self.write(entries.params(key, {"about": candidate.about}))
        costs = {f"cost.{name}": one for name, one in candidate.cost.items() if one is not None}
        for entry in entries.metrics(key, {**costs, **{f"test.{name}": one for name, one in test.items()}}):
            self.write(entry)
        self.write(entries.status(key, "FINISHED"))

    def evaluation(self, candidates: Sequence[Candidate], report: Leaderboard, test: Sequence[Example]) -> None:
        """What the candidates that matter answered to the test rows that tell most, side by side; once."""
        verdict, most = report.verdict, self._recipe.tracking.evaluation_rows
        names = [verdict.ship, verdict.best, verdict.tuned, verdict.best_baseline]
        of_name = {one.name: one for one in candidates}
        chosen = [of_name[name] for name in dict.fromkeys(names) if name]
        telling = telling_rows(chosen, report.labels, test, most)
        digest = rows.evaluation_digest(telling)
        if not telling or self._state.get("evaluation") == digest:
            return
        numbers = {
            one.name: {f"test.{key}": value.value for key, value in report.entry(one.name).test.items()}
            for one in chosen
        }
        for entry in rows.evaluation(telling, numbers, digest, f"{self._recipe.name}.test"):
            self.write(entry)
        self._state["evaluation"] = digest
        self._folder.save()

    def review(self, doubted: Sequence[DoubtedRow], labels: Sequence[str]) -> None:
        """Rows that people are asked about, each once."""
        rows.keep_asked(self._folder.path / ASKED, doubted)
        told = self._state.setdefault("asked", [])
        new = [row for row in doubted if [row.id, row.label] not in told]
        for entry in rows.review(new, f"{self._recipe.name}: rows in doubt, run {self._folder.path.name}", labels):
            self.write(entry)
        told += [[row.id, row.label] for row in new]
        self._folder.save()

    def model(self, bundle: Path, example_texts: Sequence[str]) -> str | None:
        """Log the bundle as a model that ``mlflow models serve`` loads; register it under the recipe's name.

        Returns
        -------
        str or None
            ``models:/name/version``; None where the store did not take it.
        """
        uri = self.write({"op": "model", "path": str(bundle.absolute()), "texts": list(example_texts)})
        return None if uri is None else str(uri)

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._folder.state.setdefault("mlflow", {})
        return state

    @contextmanager
    def _working(self, run: str) -> Iterator[None]:
        """A run's status, and what the machine does meanwhile."""
        self.write(entries.status(run, "RUNNING"), keep=False)
        monitor = None
        if self._recipe.tracking.system_metrics and not self.delivery.is_away:
            monitor = self.write({"op": "watch", "run": run}, keep=False)
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        finally:
            if monitor is not None:
                self.delivery.ask(monitor.finish)
            self.write(entries.status(run, status))
