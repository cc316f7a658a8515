"""Every kind of question through the whole chain, real stages on a tiny model: tuning, comparison, export, answers."""

import json
import random
from collections import Counter

import pytest
import workbench_fakes
from fakes import WORDS
from static_model import static_model_folder
from tiny import tiny_model_folder

from labelwright.bundle.store import load
from labelwright.cli import main as labelwright
from labelwright.conversion.targets import TARGETS
from workbench.cli import main
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.recipe.stages import TOGETHER
from workbench.report.report import read_report
from workbench.run.folder import RunFolder, runs_of

RECIPE = """
name = "asked"
seed = 3
stages = ["gepa", "grpo", "calibrate"]
[data]
path = "rows.jsonl"
group = "group"
id = "id"
label = "topics"
separator = ";"
[splits]
dev = 0.2
calib = 0.2
test = 0.25
[task]
instructions = "Name the topics of the message."
{asked}
[model]
name = "model"
device = "cpu"
dtype = "float32"
[gepa]
max_metric_calls = 90
minibatch_size = 8
confidence = 0.0
[prior]
source = "train"
[demos]
per_label = [1]
draws = 0
encoder = "model2vec:static"
[sft]
steps = 3
rows_per_step = 12
learning_rate = 1e-3
eval_every = 3
lora_rank = 4
[grpo]
steps = 3
rows_per_step = 12
learning_rate = 1e-2
eval_every = 3
lora_rank = 4
[baselines]
names = ["majority", "sgd-ngrams"]
[models]
candidates = ["untuned", "prior", "demos", "sft"]
[compare]
seeds = 1
curves = []
noise = []
generate_rows = 0
latency_rows = 4
bootstrap = 200
[export]
golden_rows = 4
[tracking]
system_metrics = false
"""
LABELS = 'labels = ["pool", "fence", "hvac"]'
KINDS = {
    "labels": f'kind = "labels"\n{LABELS}',
    "score": 'kind = "score"\nlabels = ["1", "2", "3"]',
    "yes_no": 'kind = "yes_no"',
    "several": f"""questions = [
        {{name = "topics", kind = "labels", {LABELS}}},
        {{name = "how many", kind = "score", labels = ["1", "2", "3"], column = "n"}},
        {{name = "urgent", kind = "yes_no"}},
    ]""",
}
COLUMNS = {"score": "n", "yes_no": "urgent"}


def write_rows(path, n_groups=36):
    """Two rows a group, of one to three topics; every fifth group has no answer to how urgent it is."""
    chance = random.Random(5)
    lines = []
    for g in range(n_groups):
        topics = sorted(chance.sample(list(WORDS), 1 + g % 3))
        urgent = None if g % 5 == 4 else ("yes", "no")[g % 2]
        for part in "ab":
            said = " and ".join(f"the {chance.choice(WORDS[topic])}" for topic in topics)
            text = f"{'please, now:' if g % 2 == 0 else 'some day'} {said} broke {g}{part}"
            row = {"id": f"{g}{part}", "group": f"g{g}", "text": text, "topics": ";".join(topics), "n": len(topics)}
            lines.append(json.dumps(row | {"urgent": urgent}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_of(place, kind):
    """A whole demo and comparison of that kind of question, exported."""
    column = COLUMNS.get(kind, "topics")
    text = RECIPE.replace("{asked}", KINDS[kind]).replace('label = "topics"', f'label = "{column}"')
    if kind == "yes_no":
        # One question alone is the label, and a row without one is a fault.
        text = text.replace("[splits]", 'leave_out = ["empty"]\n[splits]')
    if kind == "several":
        # Of nine classes one example each is more than the tiny model reads.
        text = text.replace('"demos", ', "")
    (place / "asked.toml").write_text(text, encoding="utf-8")
    for verb in ("demo", "compare", "export"):
        assert main([verb, "asked.toml"]) == 0
    (run,) = runs_of(place / "runs" / "asked")
    return run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("workbench.compare.processes.pool.Processes.run", workbench_fakes.run_candidate_here)
    monkeypatch.setattr("workbench.run.usage.LOOK_ON_S", 0.0)
    workbench_fakes.without_tracking(monkeypatch.setattr)
    workbench_fakes.without_plots(monkeypatch.setattr)
    write_rows(tmp_path / "rows.jsonl")
    tiny_model_folder(tmp_path / "model", seed=5, spread=0.2)
    static_model_folder(tmp_path / "static")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_question_goes_through_the_whole_chain(place, kind, capsys):
    run = run_of(place, kind)
    report = read_report(RunFolder(run))
    failed = {one.name: one.failed for one in report.candidates if one.failed and one.name not in TOGETHER}
    assert not failed
    learnt = {entry.name for entry in report.scored}
    assert {"majority", "sgd-ngrams", "untuned", "prior", "sft", "gepa", "gepa+grpo"} <= learnt
    task = load(run / "bundle").task
    assert task.questions[0].kind == ("labels" if kind == "several" else kind)
    capsys.readouterr()
    assert (
        labelwright(["predict", str(run / "bundle"), "--json", "please, now: the chlorine and the picket broke"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    if kind == "several":
        assert set(said["label"]) == {"topics", "how many", "urgent"}
        assert said["label"]["urgent"] in ("yes", "no")
        assert 1 <= said["expected"]["how many"] <= 3
    elif kind == "labels":
        assert set(said["label"]) <= set(WORDS)
        assert list(said["probabilities"]) == ["pool", "fence", "hvac"]
    else:
        assert said["label"] in task.names
    assert labelwright(["check", str(run / "bundle")]) == 0


def test_rows_stay_together_and_what_is_not_answered_is_not_asked(place):
    text = RECIPE.replace("{asked}", KINDS["several"])
    (place / "asked.toml").write_text(text, encoding="utf-8")
    recipe = read_recipe("asked.toml")
    rows = read_rows(recipe)
    n_urgent = sum(row.label.startswith("urgent") for row in rows)
    assert (len(rows), n_urgent) == (72 * 4 + 58, 58)
    splits = make_splits(rows, recipe.splits, recipe.seed)
    sides = {}
    for side in ("train", "dev", "calib", "test"):
        for row in getattr(splits, side):
            assert sides.setdefault(row.group, side) == side


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('kind = "some"', "kind"),
        ('kind = "labels"', "question 'topics' has 0 label"),
        ('kind = "yes_no"\nlabels = ["a", "b"]', "is answered yes or no: leave its labels out"),
        ('questions = [{name = "a", kind = "yes_no"}, {name = "a", kind = "yes_no"}]', "question 'a' is there more"),
        ('questions = [{name = "a", kinds = "yes_no"}]', "question 1: unknown key 'kinds'; did you mean 'kind'"),
        ("questions = [1]", "questions must be a list of tables"),
        (f"{LABELS}\n" + 'questions = [{name = "a", kind = "yes_no"}]', "questions and labels or kind"),
        (f'{KINDS["labels"]}\nstyle = "code"', 'style = "code": several points are asked of a row'),
    ],
)
def test_what_a_recipe_cannot_ask_is_one_line(place, change, said, capsys):
    (place / "asked.toml").write_text(RECIPE.replace("{asked}", change), encoding="utf-8")
    assert main(["compare", "asked.toml"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_stages_that_take_one_label_a_row_say_so_together(place, capsys):
    text = RECIPE.replace("{asked}", KINDS["labels"]).replace('stages = ["gepa"', 'stages = ["neighbours", "gepa"')
    text = text.replace("steps = 3", "steps = 3\nsteering_share = 0.2", 1).replace(
        '"majority"', '"majority", "encoder-ce"'
    )
    (place / "asked.toml").write_text(text, encoding="utf-8")
    assert main(["compare", "asked.toml"]) == 2
    told = capsys.readouterr().err
    for said in ("[neighbours]: several points", "[sft]: steering_share", "encoder-ce needs one label a row"):
        assert said in told


def test_verbs_work_with_several_answers_a_row_or_say_in_a_line_that_they_do_not(place, capsys):
    """Before anything is asked, trained or converted."""
    text = RECIPE.replace("{asked}", KINDS["several"]).replace('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    text = text.replace('["untuned", "prior", "demos", "sft"]', "[]").replace('name = "model"', 'name = "nowhere"')
    (place / "asked.toml").write_text(text + '[synthetic]\nmodel = "openai/nobody"\n', encoding="utf-8")
    assert main(["compare", "asked.toml"]) == 0
    assert main(["export", "asked.toml", "--candidate", "sgd-ngrams"]) == 0
    capsys.readouterr()
    assert main(["predict", "asked.toml", "--text", "please, now: the chlorine and the picket broke"]) == 0
    told = capsys.readouterr().out
    for said in ("topics: ", "how many: ", "urgent: "):
        assert said in told
    (run,) = runs_of(place / "runs" / "asked")
    why = "several points are asked of each row"
    for verb in (
        ["review", "asked.toml"],
        ["synthesize", "asked.toml"],
        ["next-rows", "asked.toml", "--pool", "rows.jsonl"],
        ["convert", "asked.toml", "--to", "onnx"],
    ):
        assert main(verb) == 2, verb
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line, verb
    for command in (
        *(["convert", str(run / "bundle"), "--to", to] for to in TARGETS),
        ["certify", str(run / "bundle"), "http://127.0.0.1:1/v1"],
        ["watch", str(run / "bundle"), "rows.jsonl"],
    ):
        assert labelwright(command) == 2, command
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line, command


def test_what_is_told_of_whole_rows_is_what_the_bundle_says(place, capsys):
    """Labels said from fitted thresholds: the report's numbers are those of the exported bundle on the test rows."""
    text = RECIPE.replace("{asked}", KINDS["labels"]).replace('"gepa", "grpo", "calibrate"', "")
    text = text.replace('["untuned", "prior", "demos", "sft"]', "[]")
    text = text.replace("[export]", '[calibrate]\nmaximise = "micro_f1"\n[export]\ncandidate = "majority"')
    (place / "asked.toml").write_text(text, encoding="utf-8")
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    one_topic = [json.dumps(row | {"topics": list(WORDS)[int(row["group"][1:]) % 3]}) for row in rows]
    (place / "rows.jsonl").write_text("\n".join(one_topic), encoding="utf-8")
    for verb in ("compare", "export"):
        assert main([verb, "asked.toml"]) == 0
    (run,) = runs_of(place / "runs" / "asked")
    report = read_report(RunFolder(run))
    assert (report.several.wanted, report.test_rows.n_rows) == ("micro_f1", 3 * report.several.n_rows)
    # Nobody reads the row, so that every label must be said from what it is frequent: below a half.
    assert max(load(run / "bundle").said_from) < 0.5
    recipe = read_recipe("asked.toml")
    tested = {row.id.partition(" ? ")[0] for row in make_splits(read_rows(recipe), recipe.splits, recipe.seed).test}
    lines = [line for line in one_topic if json.loads(line)["id"] in tested]
    (place / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    capsys.readouterr()
    evaluate = ["evaluate", str(run / "bundle"), "--input", "test.jsonl", "--group-column", "group", "--json"]
    assert labelwright(evaluate) == 0
    found, joint = json.loads(capsys.readouterr().out), report.entry("majority").joint
    assert (found["n_rows"], found["n_answers"]) == (report.several.n_rows, report.test_rows.n_rows)
    assert found["rows"]["exact_match"]["value"] == pytest.approx(joint.exact.value)
    for name, interval in joint.questions["topics"].items():
        assert found["rows"]["questions"]["topics"][name]["value"] == pytest.approx(interval.value), name
    accuracy = report.entry("majority").test["accuracy"].value
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert labelwright(["check", str(run / "bundle")]) == 0


def test_a_part_of_the_rows_keeps_all_that_is_known_of_each(place):
    text = RECIPE.replace("{asked}", KINDS["several"]).replace('separator = ";"', 'separator = ";"\nmax_rows = 20')
    (place / "asked.toml").write_text(text, encoding="utf-8")
    rows = read_rows(read_recipe("asked.toml"))
    answers = Counter(row.row_text for row in rows)
    # Some more than were asked for, so that no answer is without rows.
    assert 20 <= len(answers) < 60
    assert set(answers.values()) <= {4, 5}


def test_equal_texts_stay_together_whoever_they_are_from_and_whatever_is_known_of_them(place):
    lines = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        twin = line | {"id": f"twin {number}", "group": f"others {number}", "topics": None, "n": None, "urgent": "yes"}
        lines[number] = json.dumps(line | {"urgent": None}) + "\n" + json.dumps(twin)
    (place / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (place / "asked.toml").write_text(RECIPE.replace("{asked}", KINDS["several"]), encoding="utf-8")
    recipe = read_recipe("asked.toml")
    splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
    sides = {}
    for side in ("train", "dev", "calib", "test"):
        for row in getattr(splits, side):
            assert sides.setdefault(row.row_text, side) == side
