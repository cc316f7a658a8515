"""What the numbers do not say, and what is particular about how some candidates answered: a list of sentences."""

from __future__ import annotations

from workbench.report.report import Report
from workbench.report.verdict_words import rows_words
from workbench.run.usage import DISTURBED_CORES

# What a candidate's cost may tell of how it answered, with the sentence; the key's own value is ``n``.
_PARTICULAR = {
    "scorings_shortened": "rows were shortened to fit the context, {n:.0f} scorings",
    "train_rows_shortened": "{n:.0f} train rows were shortened for its encoder",
    "n_invalid": "{n:.0f} test rows got no usable answer; they count as wrong and have no probabilities",
    "thinking_tokens_mean": "thought {n:.0f} tokens a row; {thoughts_cut_percent:.0f} % of the thoughts were cut by "
    "the budget",
}


def limits(report: Report) -> list[str]:
    """Of this comparison, the general ones first."""
    rows, spread = report.test_rows, {side for entry in report.candidates for side in entry.spread}
    beyond = ["another split"] * ("split varied" not in spread) + ["another seed of training"] * (not spread)
    kind = "or rows of another kind" if beyond else "rows of another kind"
    found = [
        f"{rows_words(report)} in {rows.n_groups} groups: intervals and tests cover which rows were drawn, not "
        + ", ".join([*beyond, kind])
        + ("." if not spread else "; what other seeds and splits change is in the table of seeds."),
        "Not told apart is not the same as equal: the fewer the test rows, the fewer candidates are told apart, and "
        "the correction for many candidates adds to that. Only candidates shown to be as good are shipped in place of "
        "the best.",
        "The best candidate is the best on these test rows: its own value flatters it a little, and the paired tests "
        "against it share that. The tuned model and the baseline held against it are each the best of their kind on "
        "test.",
    ]
    if report.ece_floor is not None:
        found.append(
            "ECE on few rows is biased upwards: the best candidate's confidences, exactly right, would show "
            f"{100 * report.ece_floor:.1f} % on average."
        )
    found += [
        "Speeds are this machine's, with whatever else ran on it.",
        f"The test split was read by {report.command} alone; choosing again after reading it spends it.",
    ]
    if rows.own_choices:
        found.append(
            "Rows bring their own choices: labels here are the letters before them, so macro-F1 and the tables of "
            "labels speak of positions. What is uneven there is a liking for a place."
        )
    if any(entry.kind == "free" for entry in report.scored):
        found.append(
            "Candidates in free text may answer what is no label, which counts as wrong; they have no probabilities, "
            "are neither calibrated nor shipped, and are best only where nothing else was scored."
        )
    return found + _particular(report)


def _particular(report: Report) -> list[str]:
    found = []
    for entry in report.candidates:
        cut = 100 * (entry.cost.get("thoughts_cut_share") or 0.0)
        for key, said in _PARTICULAR.items():
            if n := entry.cost.get(key):
                found.append(f"{entry.name}: {said.format(n=n, thoughts_cut_percent=cut)}.")
        if entry.cost.get("has_probabilities") == 0:
            found.append(
                f"{entry.name}: its engine gives no probabilities; log loss, Brier and ECE are those of a guess."
            )
    for what, key in (("timed", "others_busy_cores"), ("trained", "others_busy_cores_training")):
        loads = {entry.name: entry.cost.get(key) or 0.0 for entry in report.candidates}
        disturbed = [f"{name} {cores:.1f}" for name, cores in loads.items() if cores >= DISTURBED_CORES]
        if disturbed:
            found.append(
                f"Not alone on the machine while {what}, so the times may be too long; cores that other processes kept "
                f"busy: {', '.join(disturbed)}."
            )
    return found
