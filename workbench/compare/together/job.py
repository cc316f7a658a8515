"""One job of a candidate that is made of others: chosen and measured on what its members' jobs left.

The members' probabilities of dev, calib and test rows are read, not computed again. The candidate itself is saved as
the bundle that ships, and a few test rows are asked of that: for its price, and to see that it answers as was measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.making import together_bundle
from labelwright.bundle.store import GOLDEN_TOLERANCE, load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, group_keys, texts_and_labels
from labelwright.decisions.decision import Decision
from labelwright.errors import BundleError, RecipeError
from labelwright.models.weights import Together as Weights
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import Floats, answers
from optimizers.calibrate import calibration_record
from optimizers.scope import Outside
from workbench.compare import measure
from workbench.compare.candidate import Hosted
from workbench.compare.hosted.asking import HostedModel
from workbench.compare.hosted.level import Side, hosted_level
from workbench.compare.jobs import Comparison, Job
from workbench.compare.steering.endings import steering
from workbench.compare.together.choosing import Chosen, in_turn, mixed, told
from workbench.compare.together.prices import Prices, encoder_of, size_bytes
from workbench.recipe.stages import CASCADE
from workbench.run.usage import Load, peak_memory_bytes

Arrays = dict[str, NDArray[np.float64]]


def measured_together(
    comparison: Comparison, job: Job, test: Sequence[Example]
) -> tuple[dict[str, Any], Arrays | None]:
    """A job's result, and its arrays where it is the candidate itself.

    Raises
    ------
    RecipeError
        Fewer than two members ran; no mean of several is better than one alone; or nothing cheaper than the best may
        answer any row.
    BundleError
        The bundle does not answer as its members did.
    """
    members = comparison.available(job)
    if len(members) < 2:
        ran = ", ".join(members) or "none"
        raise RecipeError(f"{job.candidate} needs two candidates that ran, of those it may be made of: {ran} did")
    splits, names = comparison.splits_of(job), comparison.task.names
    rows = {"dev": splits.dev, "calib": splits.calib, "test": test}
    gold = {side: np.array([names.index(str(row.label)) for row in rows[side]]) for side in rows}
    bundles = {name: load(comparison.place(comparison.jobs(name)[0])) for name in members}
    costs = {name: _main(comparison, name)["cost"] for name in members}
    encoders = {name: encoder_of(name, bundle) for name, bundle in bundles.items()}
    prices = Prices({name: float(cost["ms_p50"]) for name, cost in costs.items()}, encoders)

    kept = {name: _kept(comparison, comparison.of_member(name, job)) for name in members}
    chosen: Chosen | None = None
    table, seed = comparison.recipe.ensemble, comparison.recipe.seed
    if job.candidate != CASCADE or table.most_members:
        # What a cascade may end in is the candidate `ensemble`, so it is mixed of the same ones.
        allowed = {name: one for name, one in kept.items() if not table.members or name in table.members}
        if len(allowed) > 1:
            chosen = mixed(allowed, gold, group_keys(splits.dev), table.most_members, table.n_bags, seed)
    stage = replace(comparison.calibration(), rotations=False)  # members have turned their rows' choices themselves
    if job.candidate == CASCADE:
        # The rows kept apart for the promise choose nothing.
        fitted = stage.sides(splits.calib, seed)[0]
        groups = group_keys([splits.calib[row] for row in fitted.tolist()])
        on = {name: one | {"calib": one["calib"][fitted]} for name, one in kept.items()}
        of = gold | {"calib": gold["calib"][fitted]}
        decision = Decision.of(comparison.task.costs, names)
        chosen = in_turn(on, of, groups, prices, comparison.recipe.cascade.most_levels, chosen, decision)
    assert chosen is not None
    asks_hosted = job.candidate == CASCADE and bool(comparison.recipe.cascade.hosted_model)
    if comparison.is_main(job) and not asks_hosted:
        _refuse_one_alone(chosen)

    found, of_calib = chosen.answers(kept, "test"), chosen.answers(kept, "calib").log_probs
    bundle = _described(comparison, job.candidate, chosen)
    made = stage.calibrated(bundle, splits.calib, lambda _: of_calib, seed).bundle
    raw, probs = (one.calibration.apply(found.log_probs) for one in (bundle, made))
    result: dict[str, Any] = {
        "n_train": len(splits.train),
        "made_from": [],
        "members": members,
        "scores": measure.one_training(probs, raw, gold["test"], made.decision),
    }
    if not comparison.is_main(job):
        return result, None
    if comparison.recipe.data.out_of_scope:
        none = Outside()
        if (of_none := comparison.out_of_scope).calib:
            of_outside = made.calibration.apply(chosen.answers(kept, "calib_outside").log_probs)
            none = Outside(of_none.taught, of_none.calib, of_outside)
        made = measure.with_scope(made, splits, stage, seed, made.calibration.apply(of_calib), none)
    hosted: Hosted | None = None
    if asks_hosted:
        fitted = stage.sides(splits.calib, seed)[0]
        of_fitted, calib = made.calibration.apply(of_calib)[fitted], [splits.calib[row] for row in fitted]
        hosted = _asked_elsewhere(
            comparison,
            job,
            Side(calib, of_fitted, gold["calib"][fitted], made.outside(texts_and_labels(calib)[0], of_fitted)),
            Side(test, probs, gold["test"], made.outside(texts_and_labels(test)[0], probs)),
        )
        if not hosted.threshold:
            _refuse_one_alone(chosen)
    alone = made
    if hosted is not None and hosted.threshold:
        of_calib_now = made.calibration.apply(of_calib)
        made = measure.passing_on(made, hosted.threshold, splits, stage, seed, of_calib_now)
    final = _saved(comparison, job, chosen, made)
    seconds = sum(costs[name]["seconds_to_train"] for name in chosen.names)
    trained = measure.Trained(final, comparison.engines(final.weights), seconds, None)
    bulk = replace(prices, ms={name: 1000 / float(cost["rows_per_second"]) for name, cost in costs.items()})
    cost = _cost(trained, texts_and_labels(test)[0], probs, comparison.recipe.compare.latency_rows)
    cost["rows_per_second"] = 1000 / chosen.mean_ms(found, bulk)
    cost["size_bytes"] = size_bytes(
        {name: bundles[name] for name in chosen.names}, {name: one["size_bytes"] for name, one in costs.items()}
    )
    if len(chosen.plan.levels) > 1:
        cost["ms_mean"] = chosen.mean_ms(found, prices)
    result |= {
        "calibration": calibration_record(made),
        # As it is measured: answering every row itself.
        "promise": alone.promise.to_dict(),
        "said_from": list(made.said_from),
        "scoped": made.scope is not None,
        "generation": {},
        "cost": cost,
        "outside": measure.on_rows_out_of_scope(trained, comparison.out_of_scope.test, test, probs),
        "steering": steering(final, trained.engine, test, comparison.recipe.compare.steering_rows),
        "bundle": str(comparison.place(job)),
        "together": asdict(replace(told(chosen, found.levels, probs, gold["test"], encoders), hosted=hosted)),
    }
    return result, {"raw": raw, "probs": probs, **measure.turned_away(final, [row.text for row in test], probs)}


def _asked_elsewhere(comparison: Comparison, job: Job, calib: Side, test: Side) -> Hosted:
    """What the recipe's hosted model brings behind a cascade; its answers are kept beside the cascade's results."""
    table = comparison.recipe.cascade
    folder, rows = comparison.place(job).parent, [*calib.rows, *test.rows]
    model = HostedModel(table.elsewhere, comparison.task, folder, rows, "all calib and test rows")
    decision = Decision.of(comparison.task.costs, comparison.task.names)
    found = hosted_level(model.name, model.answer, calib, test, decision, table.hosted_calls // 2)
    n_in, n_out = model.tokens
    return replace(found, n_in=n_in, n_out=n_out, price=model.price)


def _refuse_one_alone(chosen: Chosen) -> None:
    """Raise RecipeError where what was chosen is another candidate. On other splits it may be."""
    if chosen.last and len(chosen.plan.levels) == 1:
        raise RecipeError(
            f"no cheaper candidate may answer a calib row in place of {chosen.last} and lose nothing by it"
        )
    if not chosen.last and len(chosen.names) == 1:
        raise RecipeError(f"no mean of several is better on dev than {chosen.names[0]} alone")


def _main(comparison: Comparison, name: str) -> dict[str, Any]:
    result = comparison.result(comparison.jobs(name)[0])
    assert result is not None, "members are available with their own job"
    return result


def _kept(comparison: Comparison, job: Job) -> dict[str, Floats]:
    """What a member answered: its calibrated probabilities by side."""
    with np.load(comparison.place(job).with_suffix(".npz"), allow_pickle=False) as kept:
        found = {"dev": kept["dev"], "calib": kept["calib"], "test": kept["probs"]}
        return found | ({"calib_outside": kept["calib_outside"]} if "calib_outside" in kept else {})


def _described(comparison: Comparison, name: str, chosen: Chosen) -> Bundle:
    """The candidate as a bundle that is not written yet, with what was decided."""
    task, levels = comparison.task, []
    for level in chosen.plan.levels:
        asked = {chosen.names[member]: level.weights[member] for member in level.members}
        levels.append({"weights": asked, "threshold": level.threshold})
    bundle = Bundle(task, Prompt.for_task(task, Template()), Weights(name, Path(name)), Calibration())
    return bundle.with_stage({"stage": name, "mean": chosen.plan.mean, "levels": levels})


def _saved(comparison: Comparison, job: Job, chosen: Chosen, made: Bundle) -> Bundle:
    """The bundle that ships, with its members in it, where the comparison keeps it."""
    folders = {name: comparison.place(comparison.jobs(name)[0]) for name in chosen.names}
    with tempfile.TemporaryDirectory() as scratch:
        staged = together_bundle(
            made.task, job.candidate, chosen.plan, folders, Path(scratch) / "members", made.calibration
        )
        entry = {"stage": "compare", "candidate": job.candidate}
        return save(
            replace(made, weights=staged.weights).with_stage(
                entry, promise=made.promise, scope=made.scope, pass_on=made.pass_on, said_from=made.said_from
            ),
            comparison.place(job),
        )


def _cost(trained: measure.Trained, texts: Sequence[str], probs: Floats, n_rows: int) -> dict[str, Any]:
    """What it costs to ask row by row, as any candidate is asked; what is asked must be what was measured."""
    with Load() as busy:
        times, asked = measure.one_by_one(trained, texts, n_rows)
    differences = np.abs(asked - probs[np.arange(n_rows + 1) % len(texts)]).max(axis=1)
    # Next to a threshold the last digit says which level of a cascade answers, so a few rows may differ by much.
    difference = float(np.quantile(differences, 0.9))
    if not difference <= GOLDEN_TOLERANCE:
        raise BundleError(
            f"{trained.bundle.weights.base}: asked again, its members answer otherwise than they did (in one row of "
            f"ten a probability differs by {difference:.3f} or more); run the comparison again with FORCE=1"
        )
    cost: dict[str, Any] = {
        "seconds_to_train": trained.seconds,
        **times,
        "peak_memory_bytes": peak_memory_bytes(),
        "prompt_tokens": None,
        "others_busy_cores": busy.others_busy_cores,
        "others_busy_cores_training": None,
    }
    if n_invalid := int((answers(probs) < 0).sum()):
        cost["n_invalid"] = n_invalid
    return cost
