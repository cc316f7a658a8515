"""What a recipe's run has to say: one MLflow parent run, one child a step or candidate, live.

The session, the comparison and the export speak here; what they say becomes entries, and ``delivery`` brings those to
the store, now or later. ``Tracking`` is all that they know of tracking.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.utils.logging_utils import disable_logging

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example
from labelwright.files import read_json
from workbench.compare import board
from workbench.compare.board import Leaderboard
from workbench.compare.candidate import Candidate
from workbench.compare.details import DoubtedRow, telling_rows
from workbench.progress import Display
from workbench.recipe.recipe import Recipe
from workbench.run.folder import ASKED, RunFolder
from workbench.run.steps import Step
from workbench.tracking import entries
from workbench.tracking import rows as single_rows
from workbench.tracking.delivery import Delivery
from workbench.tracking.entries import PARENT, Rows, StepTracker
from workbench.tracking.journal import Entry, read_made
from workbench.tracking.notes import step_note, what_it_is

# What the run's state knows to have said to one store, and another store, or another run in it, is to be told anew.
_TOLD = (
    "datasets", "comparisons", "begun", "kept", "came_out", "candidates", "evaluation", "asked",
)  # fmt: skip


def quiet() -> None:
    """Keep MLflow's and the database migration's chatter off the console, tracebacks of what is told here included."""
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    disable_logging()  # what it writes to stderr itself, such as that there is a new version


class Tracking:
    """The runs of one recipe run. Use ``opened`` as a context; close comes with it.

    Runs are named by keys: ``PARENT``, or a step's. Which MLflow run a key stands for is looked up, and the run made,
    when the store is asked: so everything can be said before it is, and while the store is away. What was said is in
    the run's state; what the store made of it, ``workbench.tracking.delivery`` writes beside that.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, display: Display) -> None:
        self._recipe = recipe
        self._folder = folder
        self._display = display
        quiet()
        self.delivery = Delivery(recipe, folder, display)
        # The test rows' name and digest.
        self._test = ("", "")
        self._known_runs: set[str] = set()

    @property
    def uri(self) -> str:
        """The store's address, to be shown."""
        return self.delivery.uri

    def write(self, entry: Entry) -> None:
        """Have an entry recorded, now or later."""
        self.delivery.write(entry)
        begun = self._state.setdefault("begun", [])
        if entry["op"] == "run" and entry["run"] not in begun:
            begun.append(entry["run"])
            self._folder.save()

    @contextmanager
    def opened(self) -> Iterator[Tracking]:
        """Begin or continue the parent run, recording first what an earlier command could not."""
        self.delivery.open()
        self._compare_with_the_store()
        try:
            with self._working(PARENT):
                yield self
        finally:
            self.delivery.close()
            self._note_registered()

    def _compare_with_the_store(self) -> None:
        """Forget what was said to another store, or of a run that is gone: it is to be said anew."""
        state, made = self._state, read_made(self._folder)
        if self.delivery.is_open and made["run_id"] != state.get("run_id"):
            for told in _TOLD if state.get("run_id") else ():
                state.pop(told, None)
            state["run_id"] = made["run_id"]
            self._folder.save()
        self._known_runs = set(made.get("runs", ()))
        self._note_registered()

    def _note_registered(self) -> None:
        """Where the exported bundle is registered, once the store has taken it."""
        exported, made = self._folder.state.get("export") or {}, read_made(self._folder)
        is_known = exported.get("bundle") and exported["bundle"] == made.get("registered_bundle")
        if is_known and not exported.get("model_uri"):
            exported["model_uri"] = made["registered"]
            self._folder.save()

    @contextmanager
    def step(self, step: Step) -> Iterator[StepTracker]:
        """The child run of a step that runs in this process."""
        tracker = StepTracker(step, self.write, self._display.progress, self._display.metrics)
        tracker.begin()
        with self._working(step.key):
            yield tracker
        self.came_out(step)

    def kept(self, step: Step) -> None:
        """The child run of a step that an earlier run, or a comparison, has done; once."""
        told = self._state.setdefault("kept", [])
        if step.key not in told:
            # Run by this run, of which a kill left the record open; or by another, and not known here.
            is_known = step.key in self._known_runs or step.key in self._state.get("begun", ())
            for entry in [entries.status(step.key, "FINISHED")] if is_known else entries.kept_step(step):
                self.write(entry)
            told.append(step.key)
            self._folder.save()
        self.came_out(step)

    def came_out(self, step: Step) -> None:
        """What a finished step did, in a note, and the prompt that it left; once."""
        told = self._state.setdefault("came_out", {})
        if not step.is_done or told.get(step.key) == step.left:
            return
        last = load(step.bundle)
        first = self._before(step, last)
        self.write(entries.tags(step.key, {"what it is": what_it_is(step)}))
        if step.stage.name == "untuned":
            self.write(entries.prompt(step.key, last.prompt.shown, "seed", "untuned", step.name, alias="seed"))
        elif first is not None and first.prompt != last.prompt:
            self.write(entries.prompt(step.key, last.prompt.shown, "after", step.stage.name, step.name))
        # Behind the prompt, to which it links.
        self.write(entries.note(step.key, step_note(step, first, last)))
        told[step.key] = step.left
        self._folder.save()

    def _before(self, step: Step, after: Bundle) -> Bundle | None:
        """What a step began with, scored; None where that is not known. A first stage began with the untuned model."""
        about = step.folder / "step.json"
        parent = read_json(about)["parent"] if about.is_file() else step.parent
        if parent:
            place = step.folder.with_name(parent) / "bundle"
        else:
            done = self._folder.done_steps()
            if step.stage.name == "untuned" or not done or done[0]["stage"] != "untuned":
                return None
            place = self._folder.bundle_path(done[0])
        before = load(place) if place.is_dir() else None
        return before if before and before.prompt.style == after.prompt.style else None

    def begin(self, settings: Mapping[str, Any]) -> None:
        """What the whole run stands on: its settings, its recipe and its splits."""
        self._test = (entries.dataset_name(self._recipe.name, "test"), str(settings.get("split_digest", "")))
        self.write(entries.params(PARENT, settings))
        for name in ("recipe.toml", "splits.json"):
            self.write(entries.artifact(PARENT, self._folder.path / name))
        self.write(entries.overview())

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

    def comparison(
        self, table: Mapping[str, Sequence[Any]], report: Leaderboard, note: str, verdict: str, files: Sequence[Path]
    ) -> None:
        """The leaderboard as a table, its numbers as metrics, the report's files and plots as artifacts.

        Parameters
        ----------
        note, verdict : str
            Markdown: what stands beside the run, and beside the experiment.
        """
        number = self._state["comparisons"] = self._state.get("comparisons", 0) + 1
        name = "leaderboard.json" if number == 1 else f"leaderboard-{number}.json"
        columns = {key: list(values) for key, values in table.items()}
        self.write({"op": "table", "run": PARENT, "columns": columns, "file": name})
        for candidate in report.candidates:
            # The store takes no "+" and no "@" in a metric's name.
            told = candidate.name.replace("+", "-").replace("@", ":")
            values = {f"test.{key}/{told}": one.value for key, one in entries.scores_on_test(candidate).items()}
            for entry in entries.metrics(PARENT, values):
                self.write(entry)
        for path in files:
            self.write(entries.artifact(PARENT, path, path.name if path.is_dir() else None))
        ship = report.entry(report.verdict.ship)
        for entry in entries.metrics(
            PARENT, {f"test.{key}": one.value for key, one in entries.scores_on_test(ship).items()}
        ):
            self.write(entry)
        interval = entries.interval_of(ship)
        self.write(entries.tags(PARENT, {"what it is": f"the whole run; ships {ship.name}", "test interval": interval}))
        best = self._state.get("candidates", {}).get(report.verdict.best, "")
        overview = entries.overview(verdict, best) | ({"by": report.by} if report.by != "accuracy" else {})
        self._state["said"] = [entries.note(PARENT, note) | {"best": best}, overview]
        self._folder.save()
        self._say_again()

    def _say_again(self) -> None:
        """The notes on the whole, with links to what is there by now."""
        for entry in self._state.get("said", ()):
            self.write(entry)

    def candidate(self, candidate: Candidate, entry: board.Entry, note: str, step: Step | None) -> None:
        """What a candidate is, what it costs and how it does on test: with its last step's run, or on one of its own.

        Parameters
        ----------
        entry : workbench.compare.board.Entry
            The candidate as it was measured.
        note : str
            Markdown: what stands beside a run of its own.
        step : Step, optional
            The last stage behind it; None for what no stage tuned.
        """
        key = step.key if step else f"candidate {candidate.name}"
        self._state.setdefault("candidates", {})[candidate.name] = key
        tags = {"candidate": candidate.name, "kind": candidate.kind}
        if step:
            self.kept(step)
        else:
            self.write(entries.run(key, candidate.name, tags))
            self.write(entries.params(key, {"about": candidate.about}))
            self.write(entries.note(key, note))
        self.write(entries.tags(key, {**tags, "test interval": entries.interval_of(entry)}))
        if not step:
            self.write(entries.tags(key, {"what it is": candidate.about}))
        costs = {f"cost.{name}": one for name, one in candidate.cost.items() if one is not None}
        if not step and "cost.seconds_to_train" in costs:
            costs["seconds"] = costs["cost.seconds_to_train"]
        costs |= {f"prices.{name}": interval.value for name, interval in entry.priced.items()}
        if entry.promised and entry.promised.answered:
            costs["promise.answered"] = entry.promised.answered.value
        for one in entries.metrics(key, costs):
            self.write(one)
        self.write(entries.candidate(key, entry, self._test))
        self.write(entries.status(key, "FINISHED"))

    def evaluation(self, candidates: Sequence[Candidate], report: Leaderboard, test: Sequence[Example]) -> None:
        """What the candidates that matter answered to the test rows that tell most, side by side; once."""
        verdict, most = report.verdict, self._recipe.tracking.evaluation_rows
        names = [verdict.ship, verdict.best, verdict.tuned, verdict.best_baseline]
        of_name = {one.name: one for one in candidates}
        chosen = [of_name[name] for name in dict.fromkeys(names) if name]
        telling = telling_rows(chosen, report.labels, test, most)
        digest = single_rows.evaluation_digest(telling)
        if not telling or self._state.get("evaluation") == digest:
            return
        numbers = {
            one.name: {f"test.{key}": value.value for key, value in report.entry(one.name).test.items()}
            for one in chosen
        }
        keys = self._state.get("candidates", {})
        for entry in single_rows.evaluation(telling, numbers, digest, self._test[0], keys):
            self.write(entry)
        self._state["evaluation"] = digest
        self._folder.save()

    def review(self, doubted: Sequence[DoubtedRow], labels: Sequence[str]) -> None:
        """Rows that people are asked about, each once."""
        single_rows.keep_asked(self._folder.path / ASKED, doubted)
        told = self._state.setdefault("asked", [])
        new = [row for row in doubted if [row.id, row.label] not in told]
        queue = f"{self._recipe.name}: rows in doubt, run {self._folder.path.name}"
        for entry in single_rows.review(new, queue, labels):
            self.write(entry)
        told += [[row.id, row.label] for row in new]
        self._folder.save()

    def model(
        self, bundle: Path, example_texts: Sequence[str], measured: board.Entry | None = None, rows: Rows = ()
    ) -> str | None:
        """Log the bundle as a model that ``mlflow models serve`` loads; register it under the recipe's name.

        Parameters
        ----------
        measured : workbench.compare.board.Entry, optional
            The candidate whose bundle it is, as it was measured.
        rows : sequence of (id, right, group, cost)
            Its answers on the test rows: whether they tell it apart from the registry's champion decides who is that.

        Returns
        -------
        str or None
            ``models:/name/version``; None where the store did not take it, or not in time.
        """
        of = self._state.get("candidates", {}).get(measured.name, "") if measured else ""
        uri = self.delivery.ask(entries.model(bundle, example_texts, measured, self._test, rows, of))
        self._say_again()
        return None if uri is None else str(uri)

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._folder.state.setdefault("mlflow", {})
        return state

    @contextmanager
    def _working(self, run: str) -> Iterator[None]:
        """A run's status, and what the machine does meanwhile."""
        self.write(entries.status(run, "RUNNING"))
        # A watch that the store comes to when the work is over is of no use, later even less.
        over = threading.Event()
        if self._recipe.tracking.system_metrics:
            self.delivery.write({"op": "watch", "run": run, "over": over}, keep=False)
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        finally:
            over.set()
            if self._recipe.tracking.system_metrics:
                self.delivery.write({"op": "unwatch", "run": run}, keep=False)
            self.write(entries.status(run, status))
