"""What each verb does: `optimize`, `train`, `calibrate`, `compare`, `export`, `convert`, `predict`, `serve` …

A verb is a short list of steps over a session; which run it works on is decided in ``workbench.run``, and returned.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.commands.shown import told
from labelwright.conversion.certificate import Certificate
from labelwright.data.asked.asking import asking
from labelwright.data.asked.questions import row_of
from labelwright.decisions.decision import NOTHING
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.errors import DataError, LabelwrightError, RecipeError
from labelwright.plain_text import shell_word, without_passwords
from labelwright.serve.limits import Limits
from workbench.compare.distilled.teacher import check_teacher
from workbench.compare.expected import Expected
from workbench.compare.jobs import Comparison, comparison_of
from workbench.compare.score import read_test, score_candidates, signature
from workbench.compare.verdict import labels_without_rows
from workbench.convert import convert_bundle
from workbench.export import export_bundle, export_settings, exported, source_of_export
from workbench.progress import Display, silence_libraries
from workbench.recipe.beside.synthetic import check_synthetic
from workbench.recipe.beside.unlabelled import check_unlabelled
from workbench.recipe.files import read_records
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import read_rows, task_of
from workbench.recipe.splits import split_digest
from workbench.recipe.tables.data import DataTable
from workbench.report.files import write_report
from workbench.report.report import read_report
from workbench.report.terminal import show_leaderboard
from workbench.report.verdict_words import caution
from workbench.review import OF_FILES, decided, is_plain, summary, write_review
from workbench.run.choose import VERB_STAGES, choose_run
from workbench.run.engines import Engines
from workbench.run.folder import ASKED, RUNS, RunFolder, find_run, runs_of
from workbench.run.session import Session
from workbench.tracking.journal import JOURNAL, read_made
from workbench.tracking.pages import newest_run
from workbench.tracking.rows import read_asked
from workbench.tracking.store import absolute, prepare_store, sqlite_path


@contextmanager
def session(recipe: Recipe, verb: str, run: str, display: Display) -> Iterator[Session]:
    """The verb's run, opened: rows read and checked, run chosen or begun, lock held, tracking open."""
    rows = read_rows(recipe)
    folder = choose_run(recipe, verb, run, rows, display)
    silence_libraries()
    with Session(recipe, folder, rows, display).opened() as opened:
        yield opened


def tune(recipe: Recipe, verb: str, run: str, force: bool, display: Display) -> RunFolder:
    """`optimize`, `train` or `calibrate`: the verb's stage on the newest bundle of the run."""
    with session(recipe, verb, run, display) as work:
        work.drop_stale()
        work.ensure_untuned()
        work.finish_interrupted()
        work.make_again(VERB_STAGES[verb] if force else ())
        work.run_verb_stages(VERB_STAGES[verb], force)
        step = work.folder.done_steps()[-1]
        report = load(work.folder.bundle_path(step)).report
        numbers = ", ".join(f"{key} {value:.3f}" for key, value in report.items() if isinstance(value, (int, float)))
        display.say(f"{step['folder']}: dev {numbers}")
        display.say(f"bundle: {work.folder.bundle_path(step)}")
        following = {"optimize": "train", "train": "calibrate", "calibrate": "compare"}[verb]
        display.say(f"next: {make_command(following, recipe, work.folder.path)}")
        return work.folder


def compare(recipe: Recipe, run: str, force: bool, display: Display, candidate: str = "") -> RunFolder:
    """Score every candidate on test and write the report; with ``force`` again, with ``candidate`` that one."""
    # Of all verbs only this one has anybody learn what stands beside the splits.
    remarks = check_unlabelled(recipe.data)
    check_synthetic(recipe)
    with session(recipe, "compare", run, display) as work:
        work.rows.remarks += remarks
        for remark in remarks:
            display.say(remark)
        # Of what the run will have done it knows nothing yet, so it is another one than the one below.
        check_teacher(comparison_of(work.recipe, work.folder, work.rows, work.splits))
        if work.recipe.stages and not work.recipe.models.candidates:
            work.ensure_untuned()
        work.finish_interrupted()
        compare_step(work, comparison_of(work.recipe, work.folder, work.rows, work.splits), force, candidate)
        if report := read_report(work.folder):
            show_leaderboard(report, display)
        display.say(f"report: {work.folder.path / 'report.html'}")
        return work.folder


def export(recipe: Recipe, run: str, force: bool, display: Display, candidate: str = "") -> RunFolder:
    """Write, verify and register a bundle: the run's newest step, or what the recipe or ``candidate`` names."""
    if candidate:
        recipe = replace(recipe, export=replace(recipe.export, candidate=candidate))
    with session(recipe, "export", run, display) as work:
        if not recipe.export.candidate:
            work.ensure_untuned()
        work.finish_interrupted()
        export_step(work, force)
        display.say(f"bundle: {work.folder.path / 'bundle'}")
        display.say(f"try it: {try_it(work.folder.path / 'bundle', row_of(work.splits.dev[0].text, work.task.points))}")
        return work.folder


def convert(
    recipe: Recipe, run: str, to: str, quantise: str, force: bool, display: Display
) -> tuple[RunFolder, Certificate | None]:
    """The run's exported bundle for another runtime, certified on dev."""
    with session(recipe, "convert", run, display) as work:
        folder, certificate = convert_bundle(work, to, quantise, force)
        display.say(f"written: {folder}")
        return work.folder, certificate


def serve(recipe: Recipe, run: str, port: int) -> int:
    """Answer over HTTP on this machine with what ``predict`` would ask, until it is stopped; the exit status.

    ``make export`` again and SIGHUP put a newer bundle in its place.
    """
    from labelwright.serve.running import serve as serving

    where = answering_bundle(known_run(recipe, run))
    silence_libraries()

    def opened(folder: Path) -> tuple[Bundle, Engine]:
        bundle = load(folder)
        try:
            bundle.promise.ask()
        except DataError as error:
            raise DataError(f"{folder}: {error}") from error
        return bundle, open_engine(bundle.weights, recipe.model.settings, to_score=True)

    return serving([where], opened, "127.0.0.1", port, Limits())


def answering_bundle(folder: RunFolder) -> Path:
    """The bundle of a run that answers: the exported one, else the newest step's."""
    done = folder.done_steps()
    ready = exported(folder)
    if not done and not ready:
        raise RecipeError(f"run {folder.path} has no finished step yet: continue it with `make demo`")
    # A candidate that was exported by name stays what is asked; a step gives way to a later one.
    current = ready is not None and (ready.get("candidate") or not done or ready["step"] == folder.newest_step)
    return folder.path / "bundle" if current else folder.bundle_path(done[-1])


def predict(recipe: Recipe, run: str, text: str, display: Display) -> None:
    """Ask the run's bundle: the exported one, else the newest step's."""
    if not text.strip():
        raise RecipeError('predict needs a text: make predict TEXT="the pool is green"')
    where = answering_bundle(known_run(recipe, run))
    silence_libraries()
    from labelwright.classifier import Classifier

    bundle = load(where)
    classifier = Classifier.from_bundle(bundle, engine=Engines(recipe.model.settings)(bundle.weights))
    row = asking(bundle.task).typed(text)
    if bundle.task.points:
        (said,) = classifier.answered([text])
        for line in told(said):
            display.say(line)
        display.say(f"({where})")
        return
    text, names = row.texts[0], row.choices or tuple(map(str, classifier.classes_))
    probs = classifier.predict_proba([text])
    decided = bundle.decision.decide(probs, bundle.outside([text], probs))
    why, choice = decided.why[0], int(decided.choice[0])
    if why == NOTHING:
        display.say("no answer: what the model said is none of the labels")
    elif why:
        display.say(f"no label ({why}); it would have been {names[choice]}")
    elif bundle.decision.prices is not None:
        display.say(f"{names[choice]}, which is expected to cost least")
    ranked = sorted(zip(probs[0].tolist(), names, strict=False), reverse=True)
    for p, name in ranked[:3]:
        display.say(f"{p:6.1%}  {name}")
    display.say(f"({where})")


def review(recipe: Recipe, run: str, display: Display) -> None:
    """What people answered to the run's rows in doubt, as a corrected data file; the data itself stays."""
    folder = known_run(recipe, run)
    place = folder.path / ASKED
    asked = read_asked(place)
    if not asked:
        # Of these nothing is ever asked.
        if beyond := asking(task_of(recipe, read_rows(recipe))).beyond:
            raise RecipeError(f"review needs labels that all rows share, one a row; here {beyond}")
        display.say(
            f"run {folder.path.name} has no rows in doubt, or no comparison: {make_command('compare', recipe)} asks"
        )
        return
    rows = read_rows(recipe)
    silence_libraries()
    from workbench.tracking.answers import read_said

    changes, unanswered = decided(asked, read_said(recipe, folder, asked), task_of(recipe, rows).names)
    display.say(summary(changes, unanswered))
    if not changes:
        display.say(
            f"nothing is answered yet: {make_command('dashboard', recipe)}, then Review in the experiment's menu"
        )
        return
    written = write_review(changes, asked, recipe.data, read_records(recipe.data), recipe.name, place.parent)
    display.say(f"log of changes: {place.parent / f'{recipe.name}-changes.jsonl'}")
    for key, path in written:
        display.say(f"corrected: {path}; to use it, set in {recipe.path}, [data]: {key} = {json.dumps(str(path))}")
    told = [one for one in OF_FILES if getattr(recipe.data, one) != getattr(DataTable, one)]
    if written and told and not is_plain(recipe.data):
        display.say(f"and take out, as they say how the old one is read: {', '.join(told)}")
    if not written:
        display.say("no label changes and no row goes, so the data is right as it is")


def known_run(recipe: Recipe, run: str) -> RunFolder:
    """The run that is named, or the newest. Raises RecipeError where there is none."""
    parent = RUNS / recipe.name
    known = runs_of(parent)
    if not run and not known:
        raise RecipeError(f"no run of {recipe.name} under {parent} yet: begin one with `make demo`")
    return find_run(parent, run) if run else RunFolder(known[-1])


def dashboard(recipe: Recipe, port: int, display: Display) -> None:
    """Become MLflow's own UI on the recipe's store, so that whatever stops this process stops it."""
    uri = recipe.tracking.resolved_uri()
    _deliver_left(recipe, display)
    if uri.startswith(("http://", "https://", "databricks")):
        page = newest_run(experiment) if (experiment := _experiment_of(recipe, uri)) else ""
        display.say(f"the store is a server with a UI of its own: {without_passwords(uri).rstrip('/')}/{page}")
        return
    path = sqlite_path(uri)
    if path is not None and not (path.is_file() and path.stat().st_size):
        raise RecipeError(f"{path}: nothing is recorded yet; run `make demo` first")
    silence_libraries()
    prepare_store(uri, display.say)
    at = f"http://127.0.0.1:{port}/"
    display.say(f"MLflow on {at} (store {without_passwords(uri)}); Ctrl-C stops it")
    if experiment := _experiment_of(recipe, uri):
        display.say(f"the newest run, best first: {at}{newest_run(experiment)}")
    # An address may hold a password, which has no place in the list of processes.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # One person looks: every worker more is a second of starting and 300 MB.
    command = ["ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *command])


def _deliver_left(recipe: Recipe, display: Display) -> None:
    """What the store has not taken yet. MLflow takes seconds to import: only where there is something left."""
    if any((path / JOURNAL).is_file() for path in runs_of(RUNS / recipe.name)):
        from workbench.tracking.delivery import deliver_left
        from workbench.tracking.recorder import quiet

        quiet()
        deliver_left(recipe, display)


def _experiment_of(recipe: Recipe, uri: str) -> str:
    """The experiment of the recipe's newest run that the store knows; empty where none does."""
    for path in reversed(runs_of(RUNS / recipe.name)):
        known = read_made(RunFolder(path))
        if known.get("uri") == without_passwords(absolute(uri)) and known.get("experiment_id"):
            return str(known["experiment_id"])
    return ""


def compare_step(
    work: Session,
    comparison: Comparison,
    force: bool = False,
    candidate: str = "",
    verb: str = "compare",
    left_out: Mapping[str, str] = MappingProxyType({}),
    expected: Expected | None = None,
) -> None:
    """Score, compute, write. Done already if nothing that the report depends on has changed."""
    path = work.folder.path
    if candidate and candidate not in comparison.names:
        raise RecipeError(f"no candidate {candidate!r} in this comparison; it has {', '.join(comparison.names)}")
    forget = [candidate] if candidate else [*comparison.names] if force else []
    made_of = signature(comparison, left_out)
    # A report of another version has another signature, and is not read.
    is_same = (work.folder.state.get("compare") or {}).get("signature") == made_of
    known = is_same and read_report(work.folder) is not None
    # A candidate that failed for the moment is tried again.
    if not forget and known and not set(comparison.unfinished()) - set(left_out):
        work.display.say(f"compare is done, its report is {path / 'report.html'}; to do it again: --force")
        return
    with work.display.step("compare", work.n_steps - 1 if work.n_steps else 0, work.n_steps):
        # A candidate's process needs the memory.
        work.engines.close()
        if verb == "compare":
            warn_of_test(work)
        test = read_test(work.splits)
        work.tracking.dataset("test", test, split_digest(work.splits))
        candidates = score_candidates(comparison, work.display, work.tracking.write, forget, None, left_out, expected)
        if all(candidate.failed for candidate in candidates):
            raise LabelwrightError(f"no candidate could be scored; the first said: {candidates[0].failed}")
        work.display.progress(len(candidates), len(candidates), "statistics and report")
        write_report(work, comparison, candidates, test, make_command(verb, work.recipe, path))
        work.folder.keep_report(made_of, {name: comparison.key(comparison.jobs(name)[0]) for name in comparison.names})


def warn_of_test(work: Session) -> None:
    """Say what is wrong with the test rows before hours are spent on scoring them."""
    test, names = read_test(work.splits), work.task.names
    if warning := caution(len(test), names, labels_without_rows(test, names)):
        work.display.say(f"warning: {warning}")


def export_step(work: Session, force: bool) -> None:
    """Write, verify and register the bundle, unless it is there and made of the same."""
    target, known = work.folder.path / "bundle", exported(work.folder)
    same = known is not None and not force and known["step"] == work.folder.newest_step
    if same and known is not None and known["settings"] == export_settings(work, source_of_export(work)):
        work.display.say(f"export is done, the bundle is {target}; to do it again: --force")
        return
    with work.display.step("export", work.n_steps, work.n_steps):
        export_bundle(work)


def try_it(bundle: Path, text: str) -> str:
    """The command that asks a bundle about a row, to copy: whatever the row holds, it is one word and runs nothing."""
    return f".venv/bin/labelwright predict {shell_word(str(bundle))} {shell_word(text)}"


def make_command(verb: str, recipe: Recipe, run: Path | None = None) -> str:
    """The command a person types."""
    given = "" if recipe.path == Path("runs/homeowner.toml") else f" RECIPE={shell_word(str(recipe.path))}"
    return f"make {verb}{given}" + (f" RUN={run.name}" if run else "")
