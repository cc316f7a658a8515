"""Which candidates a recipe asks for, the jobs behind each, and where their results are kept.

A job is one training and its test scores: the candidate itself, the same with another seed or another split, or with
fewer training rows. Results lie under ``runs/NAME/candidates/CANDIDATE/`` in files named after a hash of all that made
them (rows, settings, code, library versions), so that adding one candidate runs one candidate. The jobs of a candidate
run in a process of their own (``workbench.compare.processes``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import baselines
from labelwright.data.task import Example, Splits, Task, by_label
from labelwright.engines.settings import BACKENDS
from labelwright.files import read_json, short_hash, write_json
from labelwright.prompt import SAID
from labelwright.statistics.metrics import log_loss
from optimizers.stage import Stage
from workbench.compare.candidate import Kind
from workbench.compare.searched.found import Searched, read_found
from workbench.compare.together import candidates as together
from workbench.recipe.beside.outside import OutOfScope, deal_out_of_scope
from workbench.recipe.beside.synthetic import Synthetic, place_of, read_synthetic
from workbench.recipe.beside.unlabelled import Unlabelled, own_texts, read_unlabelled
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import Recipe, distilled_candidates, synthetic_candidates
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.recipe.splits import read_splits, split_digest
from workbench.recipe.stages import CASCADE, ENSEMBLE, HOSTED, STAGES, TOGETHER, Pipeline, read_pipeline
from workbench.recipe.tables.candidates import DistilTable
from workbench.recipe.tables.search import SearchTable, searched_candidates
from workbench.recipe.tables.synthetic import SyntheticTable
from workbench.run.engines import Engines
from workbench.run.folder import CANDIDATES, RUNS, RunFolder, runs_of
from workbench.run.identity import code_version, environment, settings_content
from workbench.run.session import steps_of
from workbench.run.steps import Asked, Step, settings_of


@dataclass(frozen=True)
class Job:
    """One training of a candidate.

    Attributes
    ----------
    seed, split_seed : int
        What the training draws from, and what deals the splits.
    per_label : int
        Training rows a label, at most; 0 for all. Of a candidate that learns synthetic rows: of these, beside all train
        rows.
    """

    candidate: str
    seed: int
    split_seed: int
    per_label: int = 0


class Comparison:
    """The candidates of a recipe over one run's rows, the pipelines behind them, and what is kept of each.

    Parameters
    ----------
    rows : sequence of Example
        All rows, for splits dealt by other seeds.
    """

    def __init__(self, recipe: Recipe, task: Task, folder: RunFolder, rows: Sequence[Example], splits: Splits) -> None:
        self.recipe = recipe
        self.task = task
        self.folder = folder
        self.root = RUNS / recipe.name / CANDIDATES
        self.engines = Engines(recipe.model.settings)
        self.pipelines = steps_of(recipe, task, self.engines)
        self._rows = rows
        self._splits = {recipe.seed: splits}
        self._digests: dict[tuple[int, int, int, bool, float], str] = {}
        self._keys: dict[Job, str] = {}
        self._steps: dict[tuple[Job, str], tuple[Step, ...]] = {}
        self._codes: dict[str, str] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Candidates in order: baselines, then the model's, the recipe's before those that are steps of the run.

        Then those that are made of others; last those that learn from others or synthetic rows, and those with searched
        settings.
        """
        return (*self._singles, *self.together, *self.distilled, *self.synthetic, *self.searched)

    @cached_property
    def _singles(self) -> tuple[str, ...]:
        models = list(dict.fromkeys([*self.recipe.models.candidates, *self.of_the_run]))
        untuned = [name for name in models if not read_pipeline(name).stages]
        tuned = [name for name in models if read_pipeline(name).stages]
        return (*self.recipe.baselines.names, *untuned, *tuned)

    @cached_property
    def together(self) -> dict[str, tuple[str, ...]]:
        """Candidates that are made of others, each with those that it may be made of."""
        usable = [name for name in self._singles if self.kind(name) != "free"]
        return together.made_of(self.recipe, usable, self.is_heavy)

    @cached_property
    def distilled(self) -> dict[str, str]:
        """Candidates that learn from another one, each with the baseline or pipeline that it is."""
        return distilled_candidates(self.recipe)

    @cached_property
    def synthetic(self) -> dict[str, str]:
        """Candidates that learn synthetic rows besides, each with the baseline that it is."""
        return synthetic_candidates(self.recipe)

    @cached_property
    def searched(self) -> dict[str, str]:
        """Candidates whose settings are searched, each with the baseline that it is."""
        return searched_candidates(self.recipe.search)

    def search_place(self, name: str) -> Path:
        """Where lies what a search found for a candidate, by all that it depends on but its results."""
        key = short_hash([self.key(self.jobs(name)[0]), "search"])
        return self.root / name / f"search-{key}.json"

    def found(self, name: str) -> Searched | None:
        """What a search found for a candidate; None where it is not through."""
        return read_found(self.search_place(name))

    def plain(self, name: str) -> str:
        """The baseline or pipeline that a candidate is, whatever it learns besides, and with whatever settings."""
        return self.distilled.get(name) or self.synthetic.get(name) or self.searched.get(name, name)

    def is_baseline(self, name: str) -> bool:
        """Whether a candidate is a baseline, whatever it learns besides train rows."""
        return self.plain(name) in self.recipe.baselines.names

    @cached_property
    def teachers(self) -> tuple[str, ...]:
        """Candidates that those may learn from; none where a model elsewhere teaches."""
        if self.recipe.distil.hosted_model:
            return ()
        able = (*(name for name in self._singles if self.kind(name) != "free"), *self.together)
        named = self.recipe.distil.teacher
        return tuple(name for name in able if name == named) if named else able

    def teacher(self) -> str:
        """Who teaches, of those that have results; empty where nobody has.

        The ensemble was chosen by its log loss on dev, and is left out where it is no better than one alone. So where
        there is one it teaches; else it is the candidate of lowest log loss on dev. A model elsewhere is ``HOSTED``.
        """
        if self.recipe.distil.hosted_model:
            return HOSTED
        able = [name for name in self.teachers if self.result(self.jobs(name)[0]) is not None]
        if len(able) < 2 or ENSEMBLE in able:
            return ENSEMBLE if ENSEMBLE in able else "".join(able)
        gold = np.array([self.task.index(row.label) for row in self.splits_of(self.jobs(able[0])[0]).dev])
        losses = {}
        for name in able:
            with np.load(self.place(self.jobs(name)[0]).with_suffix(".npz"), allow_pickle=False) as kept:
                # Another one that is made of others left no answers to dev.
                losses[name] = float(log_loss(kept["dev"], gold)) if "dev" in kept else np.inf
        return min(losses, key=losses.__getitem__)

    @cached_property
    def unlabelled(self) -> Unlabelled:
        """The rows that those learn; nothing in them is in dev, calib or test."""
        train, table = self._splits[self.recipe.seed].train, self.recipe.synthetic
        if self.recipe.data.unlabelled:
            return read_unlabelled(self.recipe, train, self._measured)
        is_written = table != SyntheticTable() and (bool(table.path) or place_of(self.recipe).is_file())
        return own_texts(self.recipe, train, self.written.rows if is_written else (), self._measured)

    @cached_property
    def written(self) -> Synthetic:
        """The rows that a model wrote; nothing in them is nearly in dev, calib or test."""
        train = self._splits[self.recipe.seed].train
        return read_synthetic(self.recipe, self.task.names, train, self._measured)

    @cached_property
    def _measured(self) -> list[Example]:
        """All rows that numbers or choices come from."""
        ids = {row.id for row in self._splits[self.recipe.seed].train}
        return [*(row for row in self._rows if row.id not in ids), *chain.from_iterable(self.out_of_scope)]

    @cached_property
    def of_the_run(self) -> dict[str, str]:
        """The run's finished steps by the candidate that each is; a calibration, which all candidates get, is none."""
        found: dict[str, str] = {}
        stages: list[str] = []
        for step in self.folder.done_steps():
            if step["stage"] != "calibrate":
                stages += [step["stage"]] if step["stage"] != "untuned" else []
                found[Pipeline(tuple(stages)).name] = step["folder"]
        return found

    def kind(self, name: str) -> Kind:
        """Of a candidate, as ``workbench.compare.candidate`` lists them."""
        if name in TOGETHER:
            return "together"
        if name in self.distilled:
            return "distilled"
        if name in self.synthetic:
            return "synthetic"
        if name in self.searched:
            return "searched"
        if name in self.recipe.baselines.names:
            return "baseline"
        return "free" if read_pipeline(name).free else "llm"

    def about(self, name: str) -> str:
        """What a candidate is, in a line."""
        if name in TOGETHER:
            return together.ABOUT[name]
        if self.kind(name) == "baseline":
            return str(getattr(baselines.BASELINES[name], "about", ""))
        if name in self.distilled:
            by = "a model elsewhere" if self.recipe.distil.hosted_model else "another candidate"
            return f"{self.about(self.distilled[name])}; taught by {by}"
        if name in self.synthetic:
            return f"{self.about(self.synthetic[name])}; with rows that a model wrote"
        if name in self.searched:
            return f"{self.about(self.searched[name])}; settings found on dev"
        pipeline = read_pipeline(name)
        style = SAID[pipeline.style or self.recipe.task.style]
        if pipeline.free:
            return f"{self.recipe.model.name} untuned, writing what it likes, {style}"
        stages = ", then ".join(pipeline.stages) or "untuned"
        return f"{self.recipe.model.name}, {stages}, answering with {style}"

    def family(self, name: str) -> str:
        """Candidates of one family import the same libraries: the module of a baseline, the room of a last stage."""
        if name in TOGETHER:
            return "together"
        if name == HOSTED:
            return name
        if self.is_baseline(name):
            return self._baseline_module(name)
        modules = [STAGES[stage][0] for stage in read_pipeline(self.plain(name)).stages]
        return modules[-1].rpartition(".")[0] if modules else BACKENDS[self.recipe.model.backend].module

    def trains(self, name: str) -> bool:
        """Whether a candidate learns from training rows: without that, neither seeds nor fewer rows change it."""
        if name in TOGETHER:
            return any(map(self.trains, self.together[name]))
        if self.kind(name) in ("distilled", "synthetic"):
            return True
        if self.is_baseline(name):
            return not getattr(baselines.BASELINES[self.plain(name)], "zero_shot", False)
        return any(stage != "prior" for stage in read_pipeline(name).stages)

    def jobs(self, name: str) -> list[Job]:
        """The candidate itself first, then other seeds, other splits, and the points of its learning curve."""
        seed, table = self.recipe.seed, self.recipe.compare
        main = Job(name, seed, seed)
        if self.kind(name) == "free":
            return [main]
        n_seeds, n_splits = self._n_trainings(name)
        # One thing differs at a time, so that the two spreads can be told apart: rows or training, never both.
        others = range(seed + 1, seed + n_seeds)
        jobs = [main, *(Job(name, seed, other) for other in range(seed + 1, seed + n_splits))]
        if self.trains(name):
            jobs += [Job(name, other, seed) for other in others]
            if self.is_curved(name):
                shown = self.written.rows if name in self.synthetic else self.splits_of(main).train
                most = max(len(rows) for rows in by_label(shown).values())
                sizes = sorted({rows for rows in table.curve_rows if rows < most})
                jobs += [Job(name, other, seed, size) for size in sizes for other in (seed, *others)]
        return jobs

    def is_curved(self, name: str) -> bool:
        """Whether a candidate has a learning curve; over synthetic rows all have one that learn them."""
        return name in self.recipe.compare.curves or name in self.synthetic

    def _n_trainings(self, name: str) -> tuple[int, int]:
        """How often a candidate is trained with the split fixed, and with the split varied."""
        if name in TOGETHER:
            # Other members would be another candidate, so it is repeated where all of them are.
            n_seeds, n_splits = zip(*map(self._n_trainings, self.together[name]), strict=True)
            return min(n_seeds), min(n_splits)
        table = self.recipe.compare
        if self.kind(name) in ("distilled", "synthetic", "searched"):
            # Of other splits there is no teacher's bundle to ask. And train rows of this split that a model wrote rows
            # after, or dev rows that settings were chosen on, are test rows of another one.
            return (table.heavy_seeds if self.is_heavy(name) else table.seeds), 1
        if self.is_heavy(name):
            return table.heavy_seeds, table.heavy_seeds
        return table.seeds, table.splits or table.seeds

    def splits_of(self, job: Job, share: float = 1.0) -> Splits:
        """The rows of a job; the test rows of ``split_seed`` are in it for who may read them.

        Parameters
        ----------
        share : float
            Of each label's train rows, one at least, drawn by the job's seed; who is in one is in every greater one.
        """
        splits = self._whole_splits(job)
        if share == 1:
            return splits
        return replace(splits, train=_some_of_each(splits.train, lambda n: math.ceil(share * n), job.seed))

    def _whole_splits(self, job: Job) -> Splits:
        if job.split_seed not in self._splits:
            self._splits[job.split_seed] = make_splits(self._rows, self.recipe.splits, job.split_seed)
        splits = self._splits[job.split_seed]
        if job.candidate in self.synthetic:
            rows = self.written.rows
            rows = fewer_rows(rows, job.per_label, job.seed) if job.per_label else rows
            return replace(splits, train=self.written.taught_with(splits.train, rows))
        return replace(splits, train=fewer_rows(splits.train, job.per_label, job.seed)) if job.per_label else splits

    def rows_digest(self, job: Job, share: float = 1.0) -> str:
        """A hash of the rows of a job, or of a share of them, and of who sees which."""
        is_synthetic = job.candidate in self.synthetic
        place = (job.split_seed, job.per_label, job.seed if job.per_label or share < 1 else 0, is_synthetic, share)
        if place not in self._digests:
            self._digests[place] = split_digest(self.splits_of(job, share))
        return self._digests[place]

    def key(self, job: Job) -> str:
        """A hash of all that a job's result depends on, as it was when this comparison first asked."""
        if job not in self._keys:
            self._keys[job] = short_hash(self._made_of(job))
        return self._keys[job]

    def _made_of(self, job: Job) -> list[Any]:
        # What every candidate's numbers hang on comes first; then what only some are asked, or are made of. Whatever is
        # named here makes its results stale when it changes, and nothing else does.
        kind = self.kind(job.candidate)
        parts = [asdict(job), self.rows_digest(job), asdict(self.task), self.recipe.compare.latency_rows]
        if kind != "free" and not job.per_label:
            parts.append(settings_of(self.calibration()))
        if kind != "free" and self.is_main(job):
            # By value: they are read from a file that may change while the rows of the splits stay.
            parts.append([[asdict(row) for row in side] for side in self.out_of_scope])
            if self.recipe.compare.steering_rows:
                steering = self._code("workbench.compare.steering.endings")
                parts.append({"steering_rows": self.recipe.compare.steering_rows, "steering": steering})
        if kind == "together":
            of = {name: self.key(self.of_member(name, job)) for name in self.together[job.candidate]}
            cascade = self.recipe.cascade
            tables = [asdict(self.recipe.ensemble), asdict(cascade.without_hosted())]
            # Nobody else asks one: neither an ensemble nor a cascade of other splits.
            if cascade.hosted_model and job.candidate == CASCADE and self.is_main(job):
                asked = {"model": cascade.hosted_model, "url": cascade.hosted_url, "calls": cascade.hosted_calls}
                tables.append({"hosted": self._code("workbench.compare.hosted.level"), **asked})
            return [*parts, of, tables, self._code("workbench.compare.together.choosing")]
        if kind in ("baseline", "synthetic"):
            also = [self.baseline_settings(job.candidate), self.looks_for_noise(job.candidate)]
            also += [self._baseline_models(job.candidate), self.recipe.model.long_rows]
            # They change nothing that is learnt, but are told beside it.
            told = self.written if kind == "synthetic" else None
            also += [sorted(told.left_out.items()), told.models, told.n_checked] if told else []
            return [*parts, *also, self._code(self._baseline_module(job.candidate))]
        if kind == "distilled":
            plain = replace(job, candidate=self.distilled[job.candidate])
            of = {name: self.key(self.jobs(name)[0]) for name in self.teachers}
            # The plain candidate's own key has its settings, its models and its code.
            return [
                *parts,
                self.key(plain),
                of,
                self.unlabelled.digest,
                # They change nothing that is learnt, but are told beside it.
                sorted(self.unlabelled.left_out.items()),
                self._code("workbench.compare.distilled.asking"),
                *([self._hosted_teacher] if self.recipe.distil.hosted_model else []),
            ]
        if kind == "searched":
            plain, table = replace(job, candidate=self.searched[job.candidate]), self.recipe.search
            within = {"space": table.space[plain.candidate], "trials": table.trials, "at_once": table.at_once}
            within |= {"pruning": table.pruning} if table.pruning else {}
            # The plain candidate's own key has the settings around those that are searched, its models and its code.
            code = [self._code(f"workbench.compare.searched.{one}") for one in ("choosing", "dev")]
            return [*parts, self.key(plain), within, table.by, code]
        steps, about = self.steps(job), [self.pipelines.base(self.asked(job).style), self.recipe.compare.generate_rows]
        return [
            *parts,
            *about,
            steps[-1].key if steps else "",
            self._code(BACKENDS[self.recipe.model.backend].module),
        ]

    @property
    def _hosted_teacher(self) -> dict[str, str]:
        """What the answers of a teacher that is a model elsewhere depend on besides the rows."""
        model, url, *_ = self.recipe.distil.elsewhere
        return {"model": model, "url": url, "code": self._code("workbench.compare.distilled.elsewhere")}

    def _code(self, module: str) -> str:
        if module not in self._codes:
            self._codes[module] = measured_code(module)
        return self._codes[module]

    def stages(self, name: str) -> list[Stage]:
        """The stages of a candidate of the model, with the recipe's settings; none for other candidates."""
        is_model = not self.is_baseline(name) and self.kind(name) != "together"
        return [self.recipe.stage(stage) for stage in (read_pipeline(self.plain(name)).stages if is_model else ())]

    def asked(self, job: Job) -> Asked:
        """What the pipeline behind a job runs on."""
        style = read_pipeline(self.plain(job.candidate)).style or self.recipe.task.style
        taught_by = ""
        if job.candidate in self.distilled:
            # Who teaches and with what results, of which rows, asked by which code: that makes the answers.
            of = [self.available(job), self.unlabelled.digest, self._code("workbench.compare.distilled.asking")]
            taught_by = short_hash(of)
        return Asked(self.splits_of(job), job.seed, style, taught_by)

    def of_member(self, member: str, job: Job) -> Job:
        """A member's job behind one of a candidate that is made of others."""
        return Job(member, job.seed if self.trains(member) else self.recipe.seed, job.split_seed)

    def available(self, job: Job) -> dict[str, str]:
        """Whom a job is made of or learns from and has results, each with a hash of what those are; else none.

        Of one whose settings are searched: what was found.
        """
        if job.candidate in self.distilled:
            teacher = self.teacher()
            if teacher == HOSTED:
                return {teacher: short_hash(self._hosted_teacher)}
            main = self.jobs(teacher)[0] if teacher else None
            return {teacher: short_hash([self.key(main), self.result(main)])} if main else {}
        if job.candidate in self.searched:
            searched = self.found(job.candidate)
            return {} if searched is None else {"search": short_hash(dict(searched.trials[searched.best].settings))}
        found = {}
        for name in self.together.get(job.candidate, ()):
            one = self.of_member(name, job)
            # The candidate itself too: its price is known of no other job.
            left = [self.result(needed) for needed in dict.fromkeys([one, self.jobs(name)[0]])]
            if all(result is not None for result in left):
                # Measured again under the same key, a member may answer otherwise, and cost other times.
                found[name] = short_hash([self.key(one), left])
        return found

    def steps(self, job: Job) -> tuple[Step, ...]:
        """The steps of the pipeline behind a job, done or not; none where no stage tunes it."""
        stages = self.stages(job.candidate)
        if not stages:
            return ()
        asked = self.asked(job)
        # A student's teacher may have been measured again since.
        if (job, asked.taught_by) not in self._steps:
            self._steps[job, asked.taught_by] = self.pipelines.plan(stages, asked)
        return self._steps[job, asked.taught_by]

    def is_main(self, job: Job) -> bool:
        """Whether a job is the candidate itself, which is measured in full and kept for export."""
        return job == Job(job.candidate, self.recipe.seed, self.recipe.seed)

    def calibration(self) -> Any:
        """The calibrate stage with the recipe's settings, whether or not its ``stages`` list it: every candidate's."""
        return self.recipe.stage("calibrate")

    @cached_property
    def out_of_scope(self) -> OutOfScope:
        """Rows of the label that is none; all sides empty where the recipe names none."""
        recipe = self.recipe
        return deal_out_of_scope(recipe.data, self._splits[recipe.seed], recipe.splits, recipe.seed)

    def _baseline_module(self, name: str) -> str:
        return str(getattr(baselines.BASELINES[self.plain(name)], "module", "baselines"))

    def _baseline_models(self, name: str) -> list[str]:
        """Contents of the models that a baseline stands on, by its own defaults or the recipe's settings."""
        settings = self.baseline_settings(name)
        with suppress(Exception):  # a candidate that cannot be made says so itself, in its own process
            settings = baselines.make(self.plain(name), self.task, 0, settings).get_params(deep=False)
        return settings_content(settings)

    def looks_for_noise(self, name: str) -> bool:
        """Whether a candidate answers train rows as well, to find wrong labels."""
        return name in self.recipe.compare.noise and self.kind(name) == "baseline"

    def train_probs(self, name: str) -> np.ndarray | None:
        """Out-of-fold probabilities of the train rows, (n_train, n_labels), of one that looks for wrong labels."""
        place = self.place(self.jobs(name)[0])
        if not self.looks_for_noise(name) or not place.with_suffix(".json").is_file():
            return None
        with np.load(place.with_suffix(".npz"), allow_pickle=False) as kept:
            return kept["train"]

    def baseline_settings(self, name: str) -> dict[str, Any]:
        """An estimator's parameters from the recipe; a head on the model is one on the recipe's model."""
        plain = self.plain(name)
        given = dict(self.recipe.baselines.settings.get(plain, {}))
        if name in self.searched and (searched := self.found(name)) is not None:
            given |= searched.trials[searched.best].settings
        return {"model": self.recipe.model.name, **given} if plain == "llm-head" else given

    def place(self, job: Job) -> Path:
        """Where a job's results lie: this path with .json, with .npz, and for the candidate itself a folder."""
        return self.root / job.candidate / self.key(job)

    def result(self, job: Job) -> dict[str, Any] | None:
        """What a job left; None where it left nothing, or a stage behind it was run again since and left another."""
        path = self.place(job).with_suffix(".json")
        found: dict[str, Any] | None = read_json(path) if path.is_file() else None
        if found is None:
            return None
        if found.get("members", {}) != self.available(job):
            return None
        # A step that is gone says nothing against what was measured of it.
        same = [step.left in ("", left) for step, left in zip(self.steps(job), found["made_from"], strict=True)]
        return found if all(same) else None

    def missing(self, name: str) -> list[Job]:
        """Jobs of a candidate without a result."""
        return [job for job in self.jobs(name) if self.result(job) is None]

    def unfinished(self) -> list[str]:
        """Candidates with jobs to run, in order: without results, and not known to fail however often tried."""
        return [name for name in self.names if self.missing(name) and not self._known_failure(name).get("lasting")]

    def forget(self, name: str) -> None:
        """Drop what is kept of a candidate as it stands now, its last stage included; other settings' results stay."""
        self._failure(name).unlink(missing_ok=True)
        if name in self.searched:
            self.search_place(name).unlink(missing_ok=True)
            for trial in (self.root / name / "trials").glob("*.json"):
                trial.unlink()
        for job in self.jobs(name):
            # First what makes it count, so that no result is left without what it was made of.
            self.place(job).with_suffix(".json").unlink(missing_ok=True)
            for step in self.steps(job)[-1:]:
                # What runs are made of is done again by their own verbs.
                if step.key not in self._of_runs():
                    self.pipelines.drop(step)

    def _of_runs(self) -> set[str]:
        """Keys of the steps that any run of the recipe is made of."""
        return {step.get("key", "") for path in runs_of(RUNS / self.recipe.name) for step in RunFolder(path).steps}

    def failure(self, name: str) -> str:
        """Why the candidate failed last time as it stands now, for good or for the moment; else empty."""
        return str(self._known_failure(name).get("error", ""))

    def keep_failure(self, name: str, error: str, lasting: bool) -> None:
        """Remember why a candidate failed; only if it is ``lasting``, the next comparison does not try it again."""
        self._failure(name).parent.mkdir(parents=True, exist_ok=True)
        told = {"error": error, "lasting": lasting, "environment": environment()}
        write_json(self._failure(name), told | {"members": self.available(self.jobs(name)[0])})

    def _known_failure(self, name: str) -> dict[str, Any]:
        path = self._failure(name)
        known = read_json(path) if path.is_file() else {}
        of_same = known.get("members", {}) == self.available(self.jobs(name)[0])
        return known if of_same and known.get("environment") == environment() else {}

    def is_heavy(self, name: str) -> bool:
        """Whether a candidate trains or asks a transformer of its own: it is trained with fewer seeds."""
        if name in TOGETHER:
            return any(map(self.is_heavy, self.together[name]))
        if self.is_baseline(name):
            return bool(getattr(baselines.BASELINES[self.plain(name)], "heavy", False))
        return True

    def _failure(self, name: str) -> Path:
        return self.root / name / f"failed-{self.key(self.jobs(name)[0])}.json"


def open_comparison(recipe_path: Path, run: Path) -> Comparison:
    """The comparison of a run, for a process that works on one candidate of it."""
    recipe = read_recipe(recipe_path)
    rows = read_rows(recipe)
    folder = RunFolder(run)
    return comparison_of(recipe, folder, rows, read_splits(folder.path / "splits.json", rows))


def comparison_of(recipe: Recipe, folder: RunFolder, rows: Sequence[Example], splits: Splits) -> Comparison:
    """The candidates of a recipe over a run's rows; what they leave is kept beside the recipe's runs."""
    return Comparison(recipe, task_of(recipe, rows), folder, rows, splits)


def shortened(recipe: Recipe) -> Recipe:
    """What `make demo` compares: the candidates of ``[demo]``, trained once each. Their results count for all.

    Nothing is made of several together: that takes half a minute, and others when `make compare` has trained the rest.
    Nor does anybody learn from another one, or rows that a model wrote, and no settings are searched.
    """
    light = [name for name in recipe.baselines.names if not getattr(baselines.BASELINES[name], "heavy", False)]
    # Where all train a transformer, all stand in: a demo that compares nothing would say nothing.
    chosen = recipe.demo.candidates or light or [*recipe.baselines.names, *recipe.models.candidates]
    return replace(
        recipe,
        baselines=replace(recipe.baselines, names=tuple(name for name in recipe.baselines.names if name in chosen)),
        models=replace(recipe.models, candidates=tuple(one for one in recipe.models.candidates if one in chosen)),
        compare=replace(recipe.compare, seeds=1, heavy_seeds=1, curves=()),
        ensemble=replace(recipe.ensemble, most_members=0),
        cascade=replace(recipe.cascade, most_levels=0),
        data=replace(recipe.data, unlabelled=""),
        distil=DistilTable(),
        synthetic=replace(recipe.synthetic, candidates=()),
        search=SearchTable(),
    )


def measured_code(module: str) -> str:
    """The version of the code that trains and measures a candidate whose own is in ``module``; stages have theirs."""
    return code_version(("workbench.compare.measure", module))


def fewer_rows(rows: Sequence[Example], per_label: int, seed: int) -> tuple[Example, ...]:
    """At most so many rows a label, drawn by seed; fewer of them are among more of them."""
    return _some_of_each(rows, lambda n: per_label, seed)


def _some_of_each(rows: Sequence[Example], n_of: Callable[[int], int], seed: int) -> tuple[Example, ...]:
    chance = np.random.default_rng(seed)
    kept = set()
    for _, same in sorted(by_label(rows).items()):
        kept |= {same[i].id for i in chance.permutation(len(same))[: n_of(len(same))]}
    return tuple(row for row in rows if row.id in kept)
