"""``report.md``: the report in words and tables, its first line the verdict. Reads what ``report.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, group_keys
from labelwright.statistics.metrics import ece_floor
from workbench.compare.board import QUALITY, Leaderboard
from workbench.report import markdown_tables as tables
from workbench.report.wording import megabytes, milliseconds, percent
from workbench.run.usage import DISTURBED_CORES

_LEGEND = """All candidates are calibrated on the same rows (calib); raw is what they say before. In brackets: 95 %
intervals; of accuracy and other shares Wilson's, of as many independent rows as the groups are worth, of other metrics
a bootstrap over groups. Against the best, by accuracy: as good is a candidate that loses at most {margin} points, its
whole interval over; worse is one told apart by the paired test; of the others the test rows are too few to tell, which
says nothing for them. Valid labels: share of answers that are a label when the model may write anything. Size counts
the base model."""
_PAIRED_LEGEND = """Intervals of differences hold for all candidates together with 95 % (Bonferroni). Accuracy: Bonett
and Price's interval, exact McNemar test, with groups the exact sign-flip test over them. Macro-F1 and log loss: paired
bootstrap, which cannot say less than 2 in its number of resamples, before Holm's correction over the candidates. Where
interval and corrected test differ, the interval's end is put on 0, so that both say the same."""
_CURVE_LEGEND = """Test accuracy in percent of a candidate that was shown that many training rows a label: mean over
draws of the rows, ± their standard deviation, number of draws in brackets."""
_SUSPECT_LEGEND = """Rows to which these candidates, which never learnt from them, all give one and the same other
label, and which confident learning (Northcutt et al. 2021) calls issues. Some will be right as they are: look before
changing."""
# A remark on the rows quotes texts and names files: longer than a cell.
_LONGEST_REMARK = 2000
_SEEDS_LEGEND = "Mean ± standard deviation over the trainings, the candidate itself being one of them."
_OUTSIDE_LEGEND = """Rows out of scope have no right label. AUROC: how often such a row gets less confidence than a test
row. Answered all the same: share of them above the confidence at which 95 % of the test rows are answered."""


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The leaderboard as text: column names and one list of cells a candidate."""
    raw = ("accuracy", "log_loss", "ece")
    columns = ["candidate", *tables.TITLES.values(), *(f"raw {tables.TITLES[name]}" for name in raw)]
    columns += ["valid labels %", "ms/row", "size", "against the best"]
    rows = []
    for candidate in report["candidates"]:
        if candidate["failed"]:
            rows.append([candidate["name"], *["–"] * (len(columns) - 1)])
            continue
        generation = candidate["generation"]
        rows.append(
            [
                candidate["name"],
                *(tables.cell(name, candidate["test"].get(name)) for name in QUALITY),
                *(tables.cell(name, candidate["raw"].get(name)).split(" ")[0] for name in raw),
                percent(tables.interval(generation["valid"])) if generation else "–",
                milliseconds(candidate["cost"].get("ms_p50")),
                megabytes(candidate["cost"].get("size_bytes")),
                candidate["standing"],
            ]
        )
    return columns, rows


def report_markdown(
    report: Mapping[str, Any],
    board: Leaderboard,
    test: Sequence[Example],
    bundle: Bundle | None,
    curves: Mapping[str, Any],
) -> str:
    """The report in words; its first line is the verdict.

    Parameters
    ----------
    bundle : Bundle, optional
        Whose prompt is shown.
    curves : mapping of step folder to metric name to (step, value) pairs
        Of the run's stages; those worth showing.
    """
    splits, candidates = report["splits"], tables.scored(report)
    parts = [
        tables.told(report["verdict"]["text"]),
        f"# {report['recipe']}, run {report['run']}",
        f"Rows: train {splits['train']}, dev {splits['dev']}, calib {splits['calib']}, test {splits['test']}; "
        f"{splits['n_labels']} labels; split digest {splits['digest']}. "
        f"Made by `{report['command']}` on {report['machine']}.",
        *(f"- {tables.escaped(remark, _LONGEST_REMARK)}" for remark in splits.get("remarks", ())),
        "## Leaderboard, on the test split",
        tables.table(*table(report)),
        _LEGEND.format(margin=f"{100 * report['verdict']['margin']:.3g}"),
        *(
            f"{tables.escaped(candidate['name'])} is left out: {tables.escaped(candidate['failed'])}"
            for candidate in report["candidates"]
            if candidate["failed"]
        ),
        _plots(report, curves),
        *tables.section("Paired tests against the best candidate", tables.paired(report), _PAIRED_LEGEND),
        *tables.section("Before calibration", tables.before(candidates)),
        *tables.section("Other seeds, other splits", tables.seeds(candidates), _SEEDS_LEGEND),
        *tables.section("Learning curves", tables.learning(candidates), _CURVE_LEGEND),
        *tables.section("What they cost", tables.costs(report), tables.frontier(report)),
        *tables.section("Rows out of scope", tables.outside(candidates), _OUTSIDE_LEGEND),
        *tables.section("Stages", tables.stages(report, curves)),
        *tables.section("Labels", tables.by_label(report), *tables.confused(report)),
        *tables.mistakes(report),
        *tables.section("Labels that may be wrong", tables.doubted(report), _SUSPECT_LEGEND),
    ]
    if bundle is not None:
        parts += ["## The prompt", _fenced(bundle.prompt.system)]
    return "\n\n".join([*parts, "## Limits", "\n".join(f"- {one}" for one in limits(report, board, test))]) + "\n"


def _plots(report: Mapping[str, Any], curves: Mapping[str, Any]) -> str:
    """Links to the pictures that ``workbench.report.plots.figures`` draws of such a report."""
    candidates, verdict = tables.scored(report), report["verdict"]
    names = {"accuracy": "accuracy", "cost": "accuracy against milliseconds a row"}
    if any(point["per_label"] for candidate in candidates for point in candidate["curve"]):
        names["learning-curve"] = "learning curves"
    names["confusion"] = "confusion of the best candidate"
    if verdict["ship"] != verdict["best"]:
        names["confusion-shipped"] = "confusion of the shipped candidate"
    names |= {"reliability": "reliability", "risk-coverage": "risk and coverage"}
    if curves:
        names["curves"] = "the stages' curves"
    return " ".join(f"![{title}](plots/{name}.png)" for name, title in names.items())


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _remarks(report: Mapping[str, Any], test: Sequence[Example]) -> list[str]:
    """What is particular about how some candidates answered."""
    remarks = []
    if any(row.choices for row in test):
        remarks.append(
            "Rows bring their own choices: labels here are the letters before them, so macro-F1 and the tables of "
            "labels speak of positions. What is uneven there is a liking for a place."
        )
    if any(candidate["kind"] == "free" for candidate in tables.scored(report)):
        remarks.append(
            "Candidates in free text may answer what is no label, which counts as wrong; they have no probabilities, "
            "are "
            "neither calibrated nor shipped, and are best only where nothing else was scored."
        )
    for candidate in report["candidates"]:
        name, cost = candidate["name"], candidate["cost"]
        if cost.get("scorings_shortened"):
            remarks.append(
                f"{name}: rows were shortened to fit the context, {cost['scorings_shortened']:.0f} scorings."
            )
        if cost.get("train_rows_shortened"):
            remarks.append(f"{name}: {cost['train_rows_shortened']:.0f} train rows were shortened for its encoder.")
        if cost.get("has_probabilities") == 0:
            remarks.append(f"{name}: its engine gives no probabilities; log loss, Brier and ECE are those of a guess.")
        if cost.get("n_invalid"):
            remarks.append(
                f"{name}: {cost['n_invalid']:.0f} test rows got no usable answer; they count as wrong and have no "
                f"probabilities."
            )
        if cost.get("thinking_tokens_mean"):
            remarks.append(
                f"{name}: thought {cost['thinking_tokens_mean']:.0f} tokens a row; "
                f"{100 * cost['thoughts_cut_share']:.0f} % of the thoughts were cut by the budget."
            )
    for what, key in (("timed", "others_busy_cores"), ("trained", "others_busy_cores_training")):
        loads = {candidate["name"]: candidate["cost"].get(key) or 0.0 for candidate in report["candidates"]}
        disturbed = [f"{name} {cores:.1f}" for name, cores in loads.items() if cores >= DISTURBED_CORES]
        if disturbed:
            remarks.append(
                f"Not alone on the machine while {what}, so the times may be too long; cores that other processes kept "
                f"busy: {', '.join(disturbed)}."
            )
    return remarks


def limits(report: Mapping[str, Any], board: Leaderboard, test: Sequence[Example]) -> list[str]:
    """What the numbers do not say, and what is particular about how some candidates answered."""
    n_groups = len(set(group_keys(test)))
    best = board.line(report["verdict"]["best"]).candidate
    spread = {side for candidate in report["candidates"] for side in candidate["spread"]}
    beyond = ["another split"] * ("split varied" not in spread) + ["another seed of training"] * (not spread)
    found = [
        f"{len(test)} test rows in {n_groups} groups: intervals and tests cover which rows were drawn, not "
        + ", ".join([*beyond, "or rows of another kind" if beyond else "rows of another kind"])
        + ("." if not spread else "; what other seeds and splits change is in the table of seeds."),
        "Not told apart is not the same as equal: the fewer the test rows, the fewer candidates are told apart, and "
        "the "
        "correction for many candidates adds to that. Only candidates shown to be as good are shipped in place of "
        "the best.",
        "The best candidate is the best on these test rows: its own value flatters it a little, and the paired tests "
        "against it share that. The tuned model and the baseline held against it are each the best of their kind on "
        "test.",
    ]
    if best.kind != "free":
        found.append(
            "ECE on few rows is biased upwards: the best candidate's confidences, exactly right, would show "
            f"{100 * ece_floor(best.probs):.1f} % on average."
        )
    found += [
        "Speeds are this machine's, with whatever else ran on it.",
        f"The test split was read by `{report['command']}` alone; choosing again after reading it spends it.",
    ]
    return [*found, *_remarks(report, test)]
