"""A search over the fakes: what wins, that test is not read, that a killed one goes on, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import workbench_fakes
from small_comparison import edit_recipe, new_toy_run, opened

from labelwright.bundle.store import load
from labelwright.errors import MissingExtraError, ModelError, RecipeError
from workbench.compare import score
from workbench.compare.jobs import Comparison
from workbench.compare.kept.reading import read_candidate
from workbench.compare.processes.pool import CandidateFailedError, Processes
from workbench.compare.processes.work import Listener, OneByOne
from workbench.compare.searched import trials as trying
from workbench.compare.searched.choosing import SHARES, earlier_of, outcome
from workbench.compare.searched.found import Searched, Trial, read_found, read_steps, write_found
from workbench.compare.searched.search import search
from workbench.compare.searched.study import is_given_up
from workbench.compare.searched.trials import trial_place
from workbench.progress import Display
from workbench.run import identity
from workbench.run.folder import RunFolder

NAME = "searched-words"
SPACE = """
[search]
trials = 6
at_once = 2
[search.space.words]
alpha = {low = 1e-6, high = 1e-2, log = true}
longest = {low = 2, high = 3}
"""
LISTENER = Listener(lambda *_: None, lambda *_: None, lambda *_: None, lambda *_: None)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of the toy recipe in which the settings of ``words`` are searched."""
    workbench_fakes.install(monkeypatch.setattr)
    workbench_fakes.write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    edit_recipe('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    edit_recipe('"majority", "words", "absent"]', '"majority", "words"]')
    edit_recipe("[compare]\n", "[compare]\nseeds = 2\ncurves = []\nnoise = []\n")
    edit_recipe("[export]", f"{SPACE}[export]")
    return new_toy_run()


def searched(comparison: Comparison) -> Searched:
    with OneByOne(Processes(comparison.recipe.path, comparison.folder.path)) as runner:
        return search(comparison, NAME, runner, LISTENER)


def without_seconds(found: Searched) -> Searched:
    trials = tuple(replace(one, seconds=0.0) for one in found.trials)
    return replace(found, trials=trials, plain=replace(found.plain, seconds=0.0))


def test_the_least_log_loss_on_dev_wins_and_test_is_not_read(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(splits: Any) -> Any:
        raise AssertionError("a search read the test rows")

    monkeypatch.setattr(score, "read_test", never)
    comparison = opened(run)
    assert (comparison.names[-1], comparison.kind(NAME)) == (NAME, "searched")
    assert comparison.available(comparison.jobs(NAME)[0]) == {}
    found = searched(comparison)
    assert len(found.trials) == 6
    losses = [trial.log_loss for trial in found.trials]
    assert found.best == losses.index(min(losses))
    assert found.plain.settings == {}
    assert found.n_dev == len(comparison.splits_of(comparison.jobs(NAME)[0]).dev)
    assert found == read_found(comparison.search_place(NAME))
    assert comparison.baseline_settings(NAME) == found.trials[found.best].settings
    assert comparison.baseline_settings("words") == {}
    assert comparison.available(comparison.jobs(NAME)[0])


def test_a_search_that_was_killed_goes_on_as_it_would_have(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = without_seconds(searched(opened(run)))
    opened(run).forget(NAME)
    assert opened(run).found(NAME) is None
    real, done = trying.run_trial, []

    def dies(comparison: Comparison, job: Any, settings: Any, earlier: Any) -> None:
        if len(done) == 4:
            raise KeyboardInterrupt
        real(comparison, job, settings, earlier)
        done.append(dict(settings))

    monkeypatch.setattr(trying, "run_trial", dies)
    with pytest.raises(KeyboardInterrupt):
        searched(opened(run))
    assert opened(run).found(NAME) is None
    done.clear()

    def counts(comparison: Comparison, job: Any, settings: Any, earlier: Any) -> None:
        done.append(dict(settings))
        real(comparison, job, settings, earlier)

    monkeypatch.setattr(trying, "run_trial", counts)
    assert without_seconds(searched(opened(run))) == whole
    assert len(done) == 3, "the candidate as it is, and three of six, were there"
    # More trials begin with those that are there.
    done.clear()
    edit_recipe("trials = 6", "trials = 8")
    more = without_seconds(searched(opened(run)))
    assert more.trials[:6] == whole.trials
    assert len(done) == 2


def test_settings_that_cannot_be_cost_a_trial_and_no_more(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trying._tried

    def some(comparison: Comparison, job: Any, settings: Any, share: float) -> Trial:
        if settings.get("longest") == 3:
            raise RecipeError("no such\nthing")
        return real(comparison, job, settings, share)

    monkeypatch.setattr(trying, "_tried", some)
    found = searched(opened(run))
    failed = [trial for trial in found.trials if trial.failed]
    assert failed
    assert {trial.failed for trial in failed} == {"no such"}
    assert not found.trials[found.best].failed
    assert all(trial.loss("log_loss") is None for trial in failed)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no space left on device"),
        ModelError("cannot be fetched: offline"),
        torch.OutOfMemoryError("CUDA out of memory"),
        ValueError("nobody knows why"),
    ],
)
@pytest.mark.parametrize("is_behind", [False, True])
def test_what_is_of_the_moment_is_no_fact_about_settings(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, error: Exception, is_behind: bool
) -> None:
    def fails(*_: Any) -> Trial:
        if is_behind:
            raise RuntimeError("while writing") from error
        raise error

    monkeypatch.setattr(trying, "_tried", fails)
    comparison = opened(run)
    with pytest.raises(CandidateFailedError, match="while writing" if is_behind else str(error)) as told:
        searched(comparison)
    assert not told.value.lasting
    assert read_steps(trial_place(comparison, NAME, {})) == ()


def test_a_package_that_is_missing_is_none_either(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Trial:
        raise MissingExtraError("pip install it")

    monkeypatch.setattr(trying, "_tried", fails)
    comparison = opened(run)
    with pytest.raises(CandidateFailedError, match="pip install it") as told:
        searched(comparison)
    assert told.value.lasting, "the candidate has failed, while packages stay"
    assert read_steps(trial_place(comparison, NAME, {})) == ()


def test_where_every_trial_fails_the_candidate_has(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trying._tried

    def plain_alone(comparison: Comparison, job: Any, settings: Any, share: float) -> Trial:
        if settings:
            raise RecipeError("never")
        return real(comparison, job, settings, share)

    monkeypatch.setattr(trying, "_tried", plain_alone)
    with pytest.raises(CandidateFailedError, match="every trial of its search failed; the first said: never") as told:
        searched(opened(run))
    assert told.value.lasting


def test_the_winner_is_compared_kept_and_made_anew_where_another_one_wins(run: RunFolder) -> None:
    comparison = opened(run)
    by_name = {one.name: one for one in score.score_candidates(comparison, Display())}
    found = by_name[NAME].searched
    assert found is not None
    assert not by_name[NAME].failed
    # Another seed on the same split; dev rows that chose are test rows of other splits.
    assert [(one.split_seed, one.seed) for one in by_name[NAME].repeats] == [(3, 4)]
    bundle = load(by_name[NAME].folder)
    assert bundle.history[-1]["settings"] == dict(found.trials[found.best].settings)
    assert bundle.history[-1]["n_trials"] == 6
    assert opened(run).unfinished() == []
    # Its results are those of what was found, and of nothing else.
    other = next(n for n, one in enumerate(found.trials) if one.settings != found.trials[found.best].settings)
    write_found(comparison.search_place(NAME), replace(found, best=other))
    assert opened(run).unfinished() == [NAME]
    score.score_candidates(opened(run), Display())
    assert load(read_candidate(opened(run), NAME).folder).history[-1]["settings"] == dict(found.trials[other].settings)


def test_another_space_is_another_search_and_the_same_trials_count(run: RunFolder) -> None:
    first = opened(run)
    searched(first)
    edit_recipe("longest = {low = 2, high = 3}", "longest = [2, 3]")
    second = opened(run)
    assert second.found(NAME) is None
    assert second.search_place(NAME) != first.search_place(NAME)
    assert trial_place(second, NAME, {"longest": 2}) == trial_place(first, NAME, {"longest": 2})
    assert trial_place(second, NAME, {"longest": 2}) != trial_place(first, NAME, {"longest": 3})


def test_what_mistakes_cost_makes_another_trial(run: RunFolder) -> None:
    """They decide which answer is given, and so the accuracy on dev by which a search may choose."""
    before = opened(run)
    searched(before)
    edit_recipe("[export]", "[costs]\nmatrix = {pool = {fence = 20.0}}\n[export]")
    after = opened(run)
    assert after.task.costs is not None
    assert trial_place(after, NAME, {}) != trial_place(before, NAME, {})
    assert read_steps(trial_place(after, NAME, {})) == ()
    assert after.found(NAME) is None


@pytest.mark.parametrize("module", ["choosing", "dev", "study"])
def test_other_code_is_another_search(run: RunFolder, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    before = opened(run)
    place, trial = before.search_place(NAME), trial_place(before, NAME, {})
    real = identity._read

    def edited(path: Path, *rest: Any) -> Any:
        code = real(path, *rest)
        return code._replace(digest="edited") if path.match(f"searched/{module}.py") else code

    monkeypatch.setattr(identity, "_read", edited)
    after = opened(run)
    assert after.search_place(NAME) != place
    assert (trial_place(after, NAME, {}) != trial) is (module == "dev"), "who is drawn or wins changes no trial"


@pytest.fixture
def pruned(run: RunFolder) -> RunFolder:
    """The same, with trials that may be given up."""
    edit_recipe("trials = 6\nat_once = 2", 'trials = 12\nat_once = 4\npruning = "median"')
    return run


def learnt(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The shares of train that trials learn from now on, in their order."""
    shares: list[float] = []
    real = trying._tried

    def tried(comparison: Comparison, job: Any, settings: Any, share: float) -> Trial:
        shares.append(share)
        return real(comparison, job, settings, share)

    monkeypatch.setattr(trying, "_tried", tried)
    return shares


def test_a_trial_that_is_worse_than_most_is_given_up_costs_less_and_never_wins(
    pruned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = learnt(monkeypatch)
    found = searched(opened(pruned))
    given_up = [trial for trial in found.trials if trial.is_given_up]
    assert 0 < found.n_given_up == len(given_up) < 8
    assert not any(trial.is_given_up for trial in found.trials[:8]), "four are too few to tell, and rounds have four"
    whole = [trial for trial in found.trials if not trial.is_given_up]
    assert all(
        trial.way[-1] == trial.log_loss and len(trial.way) == 1 + SHARES.index(trial.share) for trial in given_up
    )
    assert all(len(trial.way) == len(SHARES) for trial in whole)
    assert (found.plain.way, found.plain.share) == ((), 1.0), "the candidate as it is learns once"
    drawn = {tuple(trial.settings.items()): len(trial.way) for trial in given_up}
    all_drawn = {tuple(trial.settings.items()) for trial in whole}
    assert len(shares) == 1 + sum(drawn.values()) + 3 * len(all_drawn)
    # Each is held against those that had ended before its round began.
    for number, trial in enumerate(found.trials):
        before = earlier_of(found.trials[: number - number % 4], "log_loss")
        assert is_given_up(trial.way, before) is trial.is_given_up
    assert found.trials[found.best] == min(whole, key=lambda trial: trial.log_loss or 0.0)
    assert found == read_found(opened(pruned).search_place(NAME))


def test_a_share_has_some_of_every_label_and_is_in_every_greater_one(pruned: RunFolder) -> None:
    comparison = opened(pruned)
    job = comparison.jobs(NAME)[0]
    whole, half, less = (comparison.splits_of(job, share) for share in (1.0, 0.5, 0.01))
    ids = [{row.id for row in one.train} for one in (whole, half, less)]
    assert ids[2] < ids[1] < ids[0]
    labels = {row.label for row in whole.train}
    assert len(ids[2]) == len(labels) == len({row.label for row in less.train})
    assert all((one.dev, one.calib) == (whole.dev, whole.calib) for one in (half, less))


def test_a_pruned_search_that_was_killed_goes_on_as_it_would_have(
    pruned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = without_seconds(searched(opened(pruned)))
    opened(pruned).forget(NAME)
    real, n_done = trying._tried, 0

    def dies(*asked: Any) -> Trial:
        nonlocal n_done
        n_done += 1
        # In a trial of the third round that has learnt a share: eight and the candidate as it is were through.
        if n_done == 1 + 8 * 3 + 2:
            raise KeyboardInterrupt
        return real(*asked)

    monkeypatch.setattr(trying, "_tried", dies)
    with pytest.raises(KeyboardInterrupt):
        searched(opened(pruned))
    assert opened(pruned).found(NAME) is None
    assert without_seconds(searched(opened(pruned))) == whole
    # All is there now: a search that is replayed trains nothing.
    opened(pruned).search_place(NAME).unlink()
    shares = learnt(monkeypatch)
    assert without_seconds(searched(opened(pruned))) == whole
    assert shares == []


def test_the_order_in_which_trials_of_a_round_end_changes_nothing(pruned: RunFolder) -> None:
    whole = without_seconds(searched(opened(pruned)))
    opened(pruned).forget(NAME)

    class Backwards(OneByOne):
        def run(self, names: Any, *how: Any) -> None:
            super().run(list(names)[::-1], *how)

    with Backwards(Processes(opened(pruned).recipe.path, pruned.path)) as runner:
        assert without_seconds(search(opened(pruned), NAME, runner, LISTENER)) == whole


def test_what_another_search_gave_up_is_tried_to_its_end_where_this_one_does_not(
    pruned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = opened(pruned)
    job, better = comparison.jobs(NAME)[0], [[0.0, 0.0, 0.0]] * 5
    found = searched(comparison)
    # The first round's, as if others had been before it.
    for trial in found.trials[:4]:
        place = trial_place(comparison, NAME, trial.settings, better)
        place.unlink()
        shares = learnt(monkeypatch)
        trying.run_trial(comparison, job, trial.settings, better)
        assert shares == [SHARES[0]]
        outcomes = [outcome(read_steps(place), "log_loss", earlier) for earlier in (better, [])]
        assert outcomes[0] is not None
        assert outcomes[0].is_given_up
        assert outcomes[1] is None, "nobody was before it, so it is not known how it ends"
    comparison.search_place(NAME).unlink()
    assert without_seconds(searched(opened(pruned))) == without_seconds(found)
    # And what is there beyond the share at which one is given up changes nothing.
    first = found.trials[0]
    again = outcome(read_steps(trial_place(comparison, NAME, first.settings, better)), "log_loss", better)
    assert again is not None
    assert again.share == SHARES[0]


def test_a_share_that_cannot_be_learnt_does_not_end_a_trial(pruned: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trying._tried

    def tried(comparison: Comparison, job: Any, settings: Any, share: float) -> Trial:
        if share == SHARES[0]:
            raise RecipeError("too few rows")
        return real(comparison, job, settings, share)

    monkeypatch.setattr(trying, "_tried", tried)
    found = searched(opened(pruned))
    assert not any(trial.failed for trial in found.trials)
    assert {trial.way[0] for trial in found.trials} == {None}
    assert {trial.share for trial in found.trials} == {SHARES[1], 1.0}


def test_pruning_is_another_search_and_no_pruning_is_the_one_before(run: RunFolder) -> None:
    def places() -> list[Path]:
        comparison = opened(run)
        return [comparison.search_place(NAME), trial_place(comparison, NAME, {})]

    before = places()
    edit_recipe("[search]\n", '[search]\npruning = "median"\n')
    assert places()[0] != before[0]
    assert places()[1] == before[1]
    edit_recipe('pruning = "median"', 'pruning = ""')
    assert places() == before
