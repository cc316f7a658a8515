"""A whole small run over rows with images: tuned, compared and exported on a tiny vision-language model, then asked."""

import json
import shutil

import pytest
import torch
import workbench_fakes
from shown import write_rows
from tiny_vision import tiny_vision_folder

from labelwright.bundle.store import load, verify
from labelwright.cli import main as labelwright
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError
from labelwright.serve.served import Served
from workbench.cli import main
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.run.folder import runs_of

RECIPE = """
name = "photos"
stages = ["gepa", "grpo", "calibrate"]
[data]
path = "photos.csv"
image = "photo"
image_read_by = "model"
text = ["question"]
[splits]
dev = 0.2
calib = 0.2
test = 0.2
[task]
instructions = "Name the colour that is shown."
labels = ["red", "green", "blue"]
[model]
name = "model"
device = "cpu"
dtype = "float32"
[gepa]
max_metric_calls = 60
minibatch_size = 4
num_threads = 1
confidence = 0.0
[grpo]
steps = 4
rows_per_step = 12
learning_rate = 2e-2
eval_every = 2
lora_rank = 4
lora_layers = 1.0
[sft]
steps = 4
rows_per_step = 12
learning_rate = 2e-2
eval_every = 2
lora_rank = 4
[baselines]
names = ["majority", "sgd-ngrams"]
[models]
candidates = ["untuned", "sft", "sft+grpo", "free"]
[ensemble]
most_members = 0
[cascade]
most_levels = 0
[compare]
seeds = 1
generate_rows = 3
latency_rows = 2
bootstrap = 200
[export]
golden_rows = 4
candidate = "sft"
[demo]
candidates = ["majority", "sgd-ngrams", "untuned", "sft"]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that ``make demo`` made."""
    folder = tmp_path_factory.mktemp("photos")
    write_rows(folder, 60)
    (folder / "photos.toml").write_text(RECIPE, encoding="utf-8")
    tiny_vision_folder(folder / "model", "qwen2_vl", seed=1, spread=0.2)
    n_threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LABELWRIGHT_CACHE", str(folder / "cache"))
        patch.setenv("LABELWRIGHT_LOCAL_MODELS", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("workbench.compare.processes.pool.Processes.run", workbench_fakes.run_candidate_here)
        patch.setattr("workbench.run.usage.LOOK_ON_S", 0.0)
        workbench_fakes.without_tracking(patch.setattr)
        workbench_fakes.without_plots(patch.setattr)
        torch.set_num_threads(1)
        try:
            assert main(["demo", "photos.toml"]) == 0
            assert main(["compare", "photos.toml"]) == 0
        finally:
            torch.set_num_threads(n_threads)
        yield runs_of(folder / "runs" / "photos")[0]


def test_every_candidate_answered(run):
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    failed = {one["name"]: one["failed"] for one in report["candidates"] if one["failed"]}
    names = {one["name"] for one in report["candidates"]}
    assert not failed
    assert {"majority", "sgd-ngrams", "untuned", "sft", "gepa+grpo", "sft+grpo", "free"} <= names


def test_no_hash_of_an_image_is_told_to_the_model(run):
    """GEPA's instructions are made of words; each row's image is put in its place by the engine."""
    for bundle in run.parent.rglob("bundle.json"):
        prompt = json.loads(bundle.read_text(encoding="utf-8"))["prompt"]
        assert "image " not in json.dumps([prompt["instructions"], prompt["demos"]])


def test_the_bundle_carries_the_images_of_its_golden_rows(run, monkeypatch, tmp_path):
    bundle_folder = run / "bundle"
    rows = [json.loads(line) for line in (bundle_folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(list((bundle_folder / "golden_images").iterdir())) == len(rows) == 4
    # On a machine that has never seen them.
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    bundle = load(bundle_folder)
    assert bundle.task.shows_images
    engine = open_engine(bundle.weights, EngineSettings(device="cpu", dtype="float32"))
    found = verify(bundle_folder, engine)
    assert found.ok, found.problems
    assert found.n_golden == 4


def test_a_golden_image_that_was_changed_is_told(run, tmp_path):
    copied = tmp_path / "bundle"
    shutil.copytree(run / "bundle", copied)
    image = next((copied / "golden_images").iterdir())
    image.write_bytes(image.read_bytes() + b"x")
    assert not verify(copied).ok
    image.unlink()
    with pytest.raises(BundleError, match="golden_images"):
        load(copied)


def test_predict_reads_a_file_and_goes_on_past_bad_images(run, tmp_path, capsys):
    path = write_rows(tmp_path, 6, "more.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    (tmp_path / "images" / "1.png").write_bytes(b"no image")
    lines[3] = "../outside.png,which colour is this,blue"
    lines[4] = "images/none.png,which colour is this,red"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = tmp_path / "answers.jsonl"
    status = labelwright(["predict", str(run / "bundle"), "--input", str(path), "--output", str(output)])
    said = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert status == 1
    assert [row["label"] is None for row in said] == [False, True, True, True, False, False]
    reasons = [row.get("error", "") for row in said]
    assert "of no known kind" in reasons[1]
    assert "leads out of the folder" in reasons[2]
    assert "is missing" in reasons[3]
    assert said[0]["photo"] == "images/0.png"
    capsys.readouterr()


def test_evaluate_measures_on_images(run, tmp_path, capsys):
    path = write_rows(tmp_path, 9, "more.csv")
    assert labelwright(["evaluate", str(run / "bundle"), "--input", str(path)]) == 0
    assert "9 rows, 3 labels" in capsys.readouterr().out


def test_a_typed_text_has_no_image(run, capsys):
    assert labelwright(["predict", str(run / "bundle"), "which colour is this"]) == 2
    assert "comes without its image" in capsys.readouterr().err


def test_a_server_says_that_it_cannot_bring_images(run):
    with pytest.raises(BundleError, match="looks at images"):
        Served.open("photos", run / "bundle", lambda folder: (load(folder), None))


def test_one_image_stays_on_one_side(run, monkeypatch):
    """Two questions about one image are one family, however they are worded."""
    folder = run.parents[2]
    monkeypatch.chdir(folder)
    recipe = read_recipe("photos.toml")
    rows = read_rows(recipe)
    image_of_first = rows[0].text.partition("\n")[0]
    twins = [*rows, rows[0].__class__("twin", f"{image_of_first}\nsomething else", rows[0].label)]
    splits = make_splits(twins, recipe.splits, recipe.seed)
    sides = [{row.id for row in side} for side in (splits.train, splits.dev, splits.calib, splits.test)]
    assert any({rows[0].id, "twin"} <= side for side in sides)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('text = ["question"]\n', "", "rows are images without words"),
        (
            'candidates = ["untuned", "sft", "sft+grpo", "free"]',
            'candidates = ["demos"]',
            "examples in a prompt have none",
        ),
        ('device = "cpu"', 'backend = "vllm"', "shows it"),
        ('image = "photo"\n', "", "goes with image"),
        ("[sft]\n", "[sft]\naugment = 0.2\n", "change words"),
    ],
)
def test_what_does_not_look_at_images_is_refused_when_the_recipe_is_read(run, tmp_path, old, new, told, capsys):
    assert old in RECIPE
    folder = run.parents[2]
    (folder / "other.toml").write_text(RECIPE.replace(old, new), encoding="utf-8")
    assert main(["compare", "other.toml"]) == 2
    assert told in capsys.readouterr().err
