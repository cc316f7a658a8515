"""The card of a bundle: what a reader needs before using it, as Markdown. ``store.save`` writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from labelwright.bundle.document import from_json
from labelwright.bundle.files import read_part
from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.columns import TEXT, image_text
from labelwright.data.costs import amount
from labelwright.data.records import listed
from labelwright.decisions.promise import NO_PROMISE
from labelwright.decisions.scope import Scope
from labelwright.engines.together.document import Members, read_plan
from labelwright.models.names import STATIC
from labelwright.models.weights import Adapter, Base, Full, Predictor, Together, Weights, is_language_model
from labelwright.plain_text import escaped
from labelwright.predictors import store as predictors
from labelwright.predictors.encoders.sentence_encoder import DEFAULT

_HEAD_ROWS = 40
# What a card states where nothing else is asked.
_SHOWN_ERROR = 0.05
_MADE_AS = {Base: "a prompt for", Adapter: "a LoRA adapter over", Full: "all weights, tuned from"}


def card(
    bundle: Bundle,
    n_golden: int = 0,
    test: Mapping[str, Any] | None = None,
    money: Mapping[str, float] | None = None,
) -> str:
    """The text of a bundle's ``README.md``.

    Parameters
    ----------
    n_golden : int
        Golden rows in the bundle.
    test : mapping, optional
        Test metrics by name: numbers, or value with low and high. ``passed_on`` is the share of rows that get no label
        since they are left to who comes after, and count in the others all the same.
    money : mapping, optional
        What answering costs, as ``labelwright.bundle.store.save`` has it.
    """
    parts = [
        _front_matter(bundle),
        f"# {escaped(bundle.task.name)}\n\n{_what(bundle)}",
        "## Use\n\n" + _use(bundle, n_golden),
        "## Labels\n\n" + _labels(bundle),
        "## Numbers\n\n" + _numbers(bundle.report, test),
        *([f"## Money\n\n{_money(money)}"] if money else []),
        *_decision(bundle),
        "## How it was made\n\n" + _history(bundle),
        "## Limits\n\n" + _limits(bundle),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(bundle: Bundle) -> str:
    # JSON strings are YAML strings, so names with colons or quotes stay one value.
    lines = ["library_name: labelwright", "pipeline_tag: text-classification"]
    if is_language_model(bundle.weights):
        lines.append(f"base_model: {json.dumps(bundle.weights.base)}")
    return "\n".join(["---", *lines, "---"])


def _what(bundle: Bundle) -> str:
    weights, kind = bundle.weights, asking(bundle.task)
    if isinstance(weights, Predictor):
        what = _kind(weights).what
        return (
            f"A classifier of texts into {kind.size}, `{weights.base}`: {what}. No language model is asked. "
            f"{kind.promise}"
        )
    if isinstance(weights, Together):
        return (
            f"A classifier of texts into {kind.size}, `{weights.base}`: {_plan(read_plan(weights.folder))}. "
            f"Each of them is a bundle under `together/`, which answers alone as well. {kind.promise}"
        )
    made = _MADE_AS[type(weights)]
    answer = {"name": "the name", "code": "a two-letter code", "letter": "the letter"}[bundle.prompt.style]
    return (
        f"A classifier of texts into {kind.size}: {made} the base model `{weights.base}`, which "
        f"is asked for {answer} of a label. {kind.promise}"
    )


def _use(bundle: Bundle, n_golden: int) -> str:
    checked = f"the hashes, and the {n_golden} golden rows" if n_golden else "the hashes"
    names = [escaped(name) for name in bundle.task.text_columns]
    below = ", one below the other" if len(names) > 1 else ""
    alone = " and nothing else" if len(names) > 1 and TEXT in names else ""
    columns = f"\n\nA row of a file has its text in {listed(names)}{below}; or whole, in text{alone}." if names else ""
    if image := bundle.task.image_column:
        columns += f" OCR reads {escaped(image_text(image))} in the image in {escaped(image)}."
    return (
        f"    pip install {needed_package(bundle)}\n"
        f"    labelwright check .                  # re-checks {checked}\n"
        f'    labelwright predict . "your text"    # or --input rows.jsonl --output out.jsonl{columns}'
    )


def needed_package(bundle: Bundle) -> str:
    """What ``pip install`` takes to answer with a bundle on the command line, quoted for a shell where it must be."""
    extras = dict.fromkeys(extra for weights in _each(bundle.weights) for extra in _extras(weights))
    if bundle.scope is not None and bundle.scope.encoder:
        extras["embeddings"] = None
    if bundle.task.image_column:
        extras["ocr"] = None
    return f'"labelwright[{",".join(extras)}]"' if extras else "labelwright"


def _extras(weights: Weights) -> list[str]:
    if not isinstance(weights, Predictor):
        return ["transformers"]
    model = predictors.external_model(weights.folder)
    if model.startswith(STATIC):
        # That of the embedded encoder is made where it is first opened.
        return ["distill"] if model == f"{STATIC}{DEFAULT}" else ["sklearn", "model2vec"]
    return [extra] if (extra := _kind(weights).extra) else []


def _each(weights: Weights) -> list[Weights]:
    """The weights of every bundle that answers."""
    if not isinstance(weights, Together):
        return [weights]
    folders = read_plan(weights.folder).folders
    return [from_json(read_part(one / "bundle.json"), one)["weights"] for one in folders]


def _plan(members: Members) -> str:
    """Who is asked, and what is made of the answers."""
    plan, names, _ = members
    told = []
    for level in plan.levels:
        shares = [weight / sum(level.chosen_weights) for weight in level.chosen_weights]
        asked = [f"{escaped(names[member])} ({share:.0%})" for member, share in zip(level.members, shares, strict=True)]
        mean = "log-probabilities" if plan.mean == "log" else "probabilities"
        alone = escaped(names[level.members[0]])
        told.append(f"a weighted mean of the {mean} of {', '.join(asked)}" if len(asked) > 1 else alone)
    if len(told) == 1:
        return told[0]
    thresholds = [level.threshold for level in plan.levels[:-1]]
    sure = [f"{one} where it is sure to {threshold:.1%}" for one, threshold in zip(told, thresholds, strict=False)]
    return f"asked in turn, the cheapest first: {', else '.join([*sure, told[-1]])}"


def _kind(weights: Predictor) -> predictors.Kind:
    return predictors.KINDS[predictors.kind_and_labels(weights.folder)[0]]


def _labels(bundle: Bundle) -> str:
    lines = [
        f"{number}. {escaped(label.name)}" + (f": {escaped(label.description)}" if label.description else "")
        for number, label in enumerate(bundle.prompt.labels[:_HEAD_ROWS], start=1)
    ]
    rest = len(bundle.prompt.labels) - len(lines)
    return "\n".join(lines) + (f"\n\nand {rest} more, in `bundle.json`." if rest > 0 else "")


def _numbers(report: Mapping[str, Any], test: Mapping[str, Any] | None) -> str:
    rows = [("dev", *row) for row in _metrics(report)] + [("test", *row) for row in _metrics(test or {})]
    if not rows:
        return "None recorded."
    table = ["| split | metric | value | 95 % interval |", "|---|---|---|---|"]
    table += [f"| {split} | {name} | {value} | {interval} |" for split, name, value, interval in rows]
    note = "Dev rows chose between candidates, so dev numbers are optimistic."
    if "passed_on" in (test or {}):
        note += (
            " Test numbers count what it would have said of every row; what it passes on, a share of `passed_on`, "
            "gets no label."
        )
    return "\n".join(table) + f"\n\n{note}" + ("" if test else " No test numbers were given.")


def _metrics(report: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, value and interval of each number in a report, nested names joined by dots."""
    for name, value in report.items():
        if hasattr(value, "_asdict"):
            value = value._asdict()
        if isinstance(value, Mapping) and {"value", "low", "high"} <= set(value):
            yield (
                escaped(f"{path}{name}"),
                _number(value["value"]),
                f"{_number(value['low'])} to {_number(value['high'])}",
            )
        elif isinstance(value, Mapping):
            yield from _metrics(value, f"{path}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield escaped(f"{path}{name}"), _number(value), ""


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else "-" if value is None else f"{value:.3f}"


def _money(money: Mapping[str, float]) -> str:
    n_texts = f"{money['rows']:,.0f} texts"
    told = [f"{n_texts} cost {amount(money['answered'])}, as the recipe that made this has its prices"]
    if "hosted" in money:
        told.append(f"with a larger model's answers to those that are passed on {amount(money['hosted'])}")
    if "person" in money:
        told.append(f"a person's answers to all of them {amount(money['person'])}")
    return "; ".join(told) + ". Where no price was given it is time on the machine that measured it."


def _decision(bundle: Bundle) -> list[str]:
    """What it promises, what labels are said from, and what mistakes cost; nothing where none of it is known."""
    sections, promise = [], bundle.promise
    if promise != NO_PROMISE:
        abstains = promise.asked.max_error < 1
        shown = promise if abstains else replace(promise, asked=replace(promise.asked, max_error=_SHOWN_ERROR))
        asked, fault, coverage = shown.asked, shown.fault(), shown.coverage()
        if fault or coverage is None:
            said = f"{fault[0].upper()}{fault[1:]}." if fault else f"{asked.said}, among the rows of each label."
        else:
            how = "it does so by itself" if abstains else f"ask for it with `--max-error {asked.max_error:g}`"
            said = (
                f"Answering {100 * coverage:.0f} % of the rows, {asked.said}; {how}. Tested on {shown.n_apart} calib "
                f"rows that nothing was fitted on; it holds for rows like those. Other errors can be asked for."
            )
        sections.append(f"## Promise\n\n{said}")
    if bundle.pass_on:
        sections.append(
            f"## Passed on\n\nA text of whose label it is less sure than {bundle.pass_on:.1%} gets none (`passed on`): "
            "whoever comes after has it, a larger model or a person. What it would have said is under `suggested`."
        )
    if bundle.said_from:
        points = zip(bundle.task.points, bundle.said_from, strict=True)
        told = [f"{escaped(point.name)} {share:.3g}" for point, share in points if point.label]
        more = f", and {len(told) - _HEAD_ROWS} more in `bundle.json`" if told[_HEAD_ROWS:] else ""
        sections.append(
            "## What labels are said from\n\nA row is given a label from this probability on, fitted on calib rows: "
            f"{', '.join(told[:_HEAD_ROWS])}{more}."
        )
    if (costs := bundle.task.costs) is not None:
        lines = [f"a mistake costs {costs.wrong:g}, a right answer {costs.right:g}"]
        lines += [f"giving no label {costs.abstain:g}"] if costs.abstain is not None else []
        shown_pairs = costs.pairs[:_HEAD_ROWS]
        lines += [f"{escaped(gold)} answered as {escaped(said)} {price:g}" for gold, said, price in shown_pairs]
        more = f"; {len(costs.pairs) - len(shown_pairs)} more in `bundle.json`" if costs.pairs[_HEAD_ROWS:] else ""
        sections.append(f"## Prices\n\nThe answer is what costs least on average: {'; '.join(lines)}{more}.")
    return sections


def _history(bundle: Bundle) -> str:
    if not bundle.history and not is_language_model(bundle.weights):
        return "Trained on the training rows."
    if not bundle.history:
        return "Untuned: the task's own instructions, the base model as it is."
    steps = [
        f"{number}. {escaped(str(entry.get('stage', entry.get('name', 'step'))))}"
        for number, entry in enumerate(bundle.history, 1)
    ]
    return "\n".join(steps) + "\n\nWhat each step decided, and on which numbers, is under `history` in `bundle.json`."


def _of_scope(bundle: Bundle) -> str:
    scope = bundle.scope
    if scope is None:
        return "A text that belongs to none of the labels still gets one: use the probability to abstain."
    score = "certainty x nearness^2" if scope.encoder else "certainty"
    score += ' x P(in scope) of a trained "none of these"' if scope.none.size else ""
    if not math.isfinite(scope.threshold):
        return f"{scope.n_rows} calib rows are too few to tell texts that belong to none of the labels: each gets one."
    return (
        f"A text whose {score} is below {scope.threshold:.3f} is out of scope and gets no label. The threshold keeps "
        f"{scope.kept:.0%} of rows in scope, of {scope.n_rows} calib rows; for other texts than those it keeps fewer."
        + _preferred(scope)
    )


def _preferred(scope: Scope) -> str:
    """Whether a trained "none of these" is used, and why; nothing where no rows could teach one."""
    if (found := scope.preference) is None:
        return ""
    used = "used" if scope.none.size else "not used"
    return (
        f' A "none of these" trained on {found.n_taught} texts out of scope is {used}: with it {found.trained:.3f} is '
        f"the AUROC on {found.n_calib} others and the calib rows, without it {found.score:.3f}."
    )


def _limits(bundle: Bundle) -> str:
    calibrated = bundle.calibration.temperature != 1.0 or bool(bundle.calibration.bias)
    limits = [
        _of_scope(bundle),
        "Probabilities are calibrated on rows like the training data, and hold for texts like those."
        if calibrated
        else "Probabilities are not calibrated: they rank well, but are not frequencies.",
    ]
    each = _each(bundle.weights)
    if any(not isinstance(one, Predictor) or _kind(one).extra in ("transformers", "gliclass") for one in each):
        limits.append(
            "Probabilities can differ by some hundredths between machines and number formats (bfloat16, float32)."
        )
    for one in each:
        if isinstance(one, Base | Adapter):
            limits.append(f"The base model is not in this folder: `{one.base}` is fetched, or found, by name.")
        if isinstance(one, Predictor) and (external := predictors.external_model(one.folder)):
            name = "all-MiniLM-L6-v2" if external == "minilm" else external
            limits.append(
                f"The model that reads the texts is not in this folder: `{name}` is fetched, or found, by name."
            )
    return "\n".join(f"- {limit}" for limit in dict.fromkeys(limits))
