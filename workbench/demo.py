"""`make demo`: a story of some minutes, from a first table to a bundle, whatever of it is done already.

What is run is kept where the other verbs look for it. What is expected to take longer than a budget has left is left
out, by name.
"""

from __future__ import annotations

import math
from dataclasses import replace

from labelwright.data.asked.questions import row_of
from labelwright.decide import probabilities
from labelwright.errors import RecipeError
from labelwright.plain_text import shell_word
from workbench.budget import Budget, plan
from workbench.compare.expected import Expected
from workbench.compare.jobs import Comparison, comparison_of, shortened
from workbench.compare.score import read_test, score_candidates
from workbench.progress import Display, duration
from workbench.recipe.recipe import Recipe, distilled_candidates, synthetic_candidates
from workbench.recipe.rows import read_rows
from workbench.recipe.tables.candidates import DistilTable
from workbench.recipe.tables.search import SearchTable, searched_candidates
from workbench.report.files import make_report
from workbench.report.report import read_report
from workbench.report.terminal import show_leaderboard, terminal_table
from workbench.run.choose import new_run
from workbench.run.folder import Clock, RunFolder
from workbench.run.session import Session
from workbench.run.usage import peak_memory_bytes
from workbench.verbs import compare_step, export_step, make_command, session, warn_of_test

# The last step of a demo.
_EXPORT_S = 15.0


def demo(recipe: Recipe, run: str, force: bool, display: Display, minutes: float = 0) -> RunFolder:
    """A story of some minutes: a first table, the recipe's stages, a short comparison, the bundle.

    What is run is kept where the other verbs look for it: `make compare` adds the rest.

    Parameters
    ----------
    minutes : float
        A budget in place of ``[demo] minutes``; 0 keeps that.

    Raises
    ------
    RecipeError
        A budget that is none.
    """
    if not 0 <= minutes < math.inf:
        raise RecipeError(f"minutes = {minutes:g}: expected a number of minutes, or 0 for the recipe's")
    again = force and not run
    if again:
        new_run(recipe, read_rows(recipe), display)
    with session(recipe, "demo", run, display) as work:
        work.drop_stale()
        with Clock(work.folder.path / "clock.json") as clock:
            budget = Budget(minutes or recipe.demo.minutes, clock)
            warn_of_test(work)
            _first_table(work, budget)
            # Where nothing is tuned and a candidate is exported, nobody asks the untuned model, which may take long.
            asks_model = bool(recipe.stages) or not recipe.export.candidate
            # The untuned model is step 1, whether done or not; comparison and export are the last two.
            work.n_steps = max(len(work.folder.done_steps()), int(asks_model)) + len(work.remaining_stages()) + 2
            if asks_model:
                work.ensure_untuned()
            work.finish_interrupted()
            work.make_again()
            expected = _expected_of_stages(work, budget)
            for name in work.remaining_stages():
                if name in budget.left_out:
                    display.say(f"{name} is left out: {budget.left_out[name]}")
                    continue
                if again:
                    work.forget(name)
                work.extend(name)
            short = comparison_of(shortened(recipe), work.folder, work.rows, work.splits)
            _leave_out(short, expected, budget)
            compare_step(work, short, verb="demo", left_out=budget.left_out, expected=expected)
            _export_what_is_here(work, short, budget)
            export_step(work, force=False)
            work.folder.state["finished"] = True
            own = max(work.steps.peak_memory_bytes, peak_memory_bytes())
            work.folder.state["peak_memory_bytes"] = own
            work.folder.save()
        report = read_report(work.folder)
        assert report is not None
        show_leaderboard(report, display)
        peaks = [entry.cost["peak_memory_bytes"] or 0.0 for entry in report.candidates if entry.cost]
        # Whether a student is done hangs on the whole pool, which a demo neither needs nor reads.
        alone = replace(recipe, data=replace(recipe.data, unlabelled=""), distil=DistilTable())
        alone = replace(alone, synthetic=replace(recipe.synthetic, candidates=()), search=SearchTable())
        rest = comparison_of(alone, work.folder, work.rows, work.splits).unfinished()
        rest += [*distilled_candidates(recipe), *synthetic_candidates(recipe), *searched_candidates(recipe.search)]
        n_more = len(set(rest) - {entry.name for entry in report.candidates})
        more = ([f"{n_more} more candidates"] if n_more else []) + ["other seeds, learning curves"]
        _show_outputs(work, clock.seconds, max([own, *peaks]), ", ".join(more) if rest else "")
        return work.folder


def _first_table(work: Session, budget: Budget) -> None:
    """What trains no transformer, scored and shown before the first long stage."""
    short = comparison_of(shortened(work.recipe), work.folder, work.rows, work.splits)
    expected = Expected(short)
    names = [name for name in short.names if name in work.recipe.baselines.names and not short.is_heavy(name)]
    names = [name for name in names if budget.holds(name, expected.candidate(name))]
    if not names:
        return
    with work.display.step("first table"):
        found = score_candidates(short, work.display, work.tracking.write, names=names)
        scored = [candidate for candidate in found if not candidate.failed]
        if scored:
            report = make_report(work, short, scored, read_test(work.splits), make_command("demo", work.recipe))
            work.display.console.print(terminal_table(report, work.display.console.width))


def _expected_of_stages(work: Session, budget: Budget) -> Expected:
    """Say how long what is left will take, and leave out the stages that do not fit in the budget."""
    expected = Expected(comparison_of(shortened(work.recipe), work.folder, work.rows, work.splits))
    left = work.remaining_stages()
    bundle = work.newest_bundle()
    if bundle is not None and left:
        kept = work.steps.scores()
        seconds = None if kept is None else kept.seconds_per_row(bundle, work.splits.dev)
        if seconds is None:
            engine = work.engines(bundle.weights)
            expected.look_at(lambda texts: probabilities(bundle, engine, texts), work.splits.dev)
        else:
            expected.take(seconds)
    times = {name: expected.stage(work.recipe.stage(name), work.splits) for name in left}
    scoring = expected.scoring()
    # The untuned model and what each stage makes of it are scored; a calibration is no candidate.
    n_scored = 1 + sum(name != "calibrate" for name in left)
    if left:
        work.display.say(plan({**times, "comparison": None if scoring is None else n_scored * scoring}))
    kept_s = _EXPORT_S + (scoring or 0.0) + (times.get("calibrate") or 0.0)
    for name in left:
        one = times[name]
        seconds = None if one is None else one + (scoring or 0.0)
        if name != "calibrate" and budget.holds(name, seconds, kept_s):
            kept_s += seconds or 0.0
    return expected


def _leave_out(comparison: Comparison, expected: Expected, budget: Budget) -> None:
    """Of the candidates that a demo compares those that do not fit in what is left of the budget."""
    kept_s = _EXPORT_S
    for name in comparison.unfinished():
        seconds = expected.candidate(name)
        if budget.holds(name, seconds, kept_s):
            kept_s += seconds or 0.0


def _export_what_is_here(work: Session, short: Comparison, budget: Budget) -> None:
    """A candidate that a demo leaves out is exported when it is compared; until then the one to ship is."""
    wanted = work.recipe.export.candidate
    if wanted in ("", "best", "ship") or (wanted in short.names and wanted not in budget.left_out):
        return
    work.display.say(
        f'[export] candidate = "{wanted}" was left out of this demo, so the bundle is the one to ship of those that '
        f"were not; {make_command('compare', work.recipe)}, then {make_command('export', work.recipe)} writes it"
    )
    work.recipe = replace(work.recipe, export=replace(work.recipe.export, candidate="ship"))


def _show_outputs(work: Session, seconds: float, peak_bytes: float, more: str) -> None:
    path, recipe = work.folder.path, work.recipe
    uri = (work.folder.state.get("export") or {}).get("model_uri")
    say = work.display.say
    say(f"\nfinished in {duration(seconds)}, peak memory {peak_bytes / 2**30:.1f} GiB")
    say(f"bundle:  {path / 'bundle'}" + (f"  (MLflow: {uri})" if uri else ""))
    say(f"report:  {path / 'report.html'}")
    say(f"MLflow:  {work.tracking.uri}")
    say("next:")
    if more:
        say(f"  {make_command('compare', recipe)}   # {more}")
    text = row_of(work.splits.dev[0].text, work.task.points)[:60]
    say(f"  {make_command('predict', recipe)} TEXT={shell_word(text)}")
    say(f"  {make_command('dashboard', recipe)}")
    say(f"  .venv/bin/labelwright check {shell_word(str(path / 'bundle'))}")
