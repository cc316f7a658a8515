"""The comparison over the fakes: what it writes, what it keeps, and that any candidate can be exported."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle

from baselines import BASELINES
from labelwright.bundle.store import load, verify
from labelwright.classifier import Classifier
from labelwright.data.task import Example
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.errors import BundleError
from labelwright.statistics.metrics import accuracy
from workbench import verbs
from workbench.cli import main
from workbench.compare import score as compare
from workbench.compare.board import FORMAT
from workbench.compare.jobs import open_comparison
from workbench.compare.kept.reading import read_candidate
from workbench.compare.measure import free_generation
from workbench.compare.score import read_test
from workbench.report.html import html
from workbench.report.markdown import markdown
from workbench.report.plots.figures import figures
from workbench.report.report import Report, read_report
from workbench.report.verdict_words import words
from workbench.run.folder import RunFolder, runs_of

ROOT = Path(__file__).parents[3]
CHANCE = BASELINES["chance"]


def read(run: Path) -> dict:
    return json.loads((run / "report.json").read_text())


def the_run(workspace: Path) -> Path:
    (run,) = runs_of(workspace / "runs" / "toy")
    return run


def test_the_report_is_read_back_and_its_faces_are_made_of_it(demo_run: Path) -> None:
    report = read_report(RunFolder(demo_run))
    assert report is not None
    assert report.to_json() == read(demo_run)
    assert (demo_run / "report.md").read_text() == markdown(report)
    assert (demo_run / "report.html").read_text() == html(report, figures(report))


def test_a_report_of_another_version_is_refused_in_a_line_and_compared_again(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", "toy.toml"])
    run = RunFolder(the_run(workspace))
    (run.path / "report.json").write_text(json.dumps({**read(run.path), "format": "labelwright-report-3"}))
    run.keep_report("of an older version", run.state["compare"]["candidates"])
    capsys.readouterr()
    assert main(["export", "toy.toml", "--candidate", "ship"]) == 2
    said = capsys.readouterr()
    assert f"only {FORMAT} can be read: run make compare again" in said.out + said.err
    assert main(["compare", "toy.toml"]) == 0
    assert read_report(RunFolder(run.path)) is not None


def test_every_candidate_is_there_in_their_order(demo_run: Path) -> None:
    names = [one["name"] for one in read(demo_run)["candidates"]]
    assert names == ["majority", "words", "absent", "untuned", "gepa", "gepa+grpo"]


def test_intervals_hold_their_values(demo_run: Path) -> None:
    for one in read(demo_run)["candidates"]:
        for side in ("test", "raw"):
            for name, interval in one[side].items():
                assert interval["low"] <= interval["value"] <= interval["high"], (one["name"], name)


def test_a_candidate_that_cannot_run_says_why_and_the_rest_go_on(demo_run: Path) -> None:
    (absent,) = (one for one in read(demo_run)["candidates"] if one["name"] == "absent")
    assert "absent needs a package" in absent["failed"]
    for name in ("report.md", "report.html"):
        assert "absent needs a package" in (demo_run / name).read_text(), name


def test_rows_hold_every_classifiers_probabilities(demo_run: Path) -> None:
    written = [json.loads(line) for line in (demo_run / "rows.jsonl").read_text().splitlines()]
    test_ids = json.loads((demo_run / "splits.json").read_text())["ids"]["test"]
    assert [row["id"] for row in written] == test_ids
    report = read(demo_run)
    for one in report["candidates"]:
        if one["failed"]:
            continue
        answers = [row["candidates"][one["name"]] for row in written]
        probs = np.array([[answer["probabilities"][name] for name in report["labels"]] for answer in answers])
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
        gold = np.array([report["labels"].index(row["label"]) for row in written])
        assert accuracy(probs, gold) == pytest.approx(one["test"]["accuracy"]["value"])
        assert [answer["label"] for answer in answers] == [report["labels"][k] for k in probs.argmax(axis=1)]


def test_the_first_line_of_the_report_is_the_verdict(demo_run: Path) -> None:
    report = Report.from_json(read(demo_run))
    assert (demo_run / "report.md").read_text().splitlines()[0] == words(report).text


def test_test_rows_of_one_label_are_said_before_anything_runs_and_in_the_first_lines(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_one_label = lambda splits: tuple(row for row in splits.test if row.label == "pool")  # noqa: E731
    monkeypatch.setattr(compare, "read_test", of_one_label)
    monkeypatch.setattr(verbs, "read_test", of_one_label)
    assert main(["compare", "toy.toml"]) == 0
    warning, said = 'test rows have the label "pool": accuracy here is', capsys.readouterr().out
    assert 0 <= said.index(warning) < said.index("absent is left out"), said
    run = the_run(workspace)
    assert warning in (run / "report.md").read_text().splitlines()[0]
    assert "test rows have the label" in (run / "report.html").read_text().split("<nav")[0]
    assert set(read(run)["test_rows"]["without_rows"]) == set(read(run)["labels"]) - {"pool"}
    assert "Ship nothing on the strength of these rows" in said


def test_what_ships_is_best_or_shown_to_be_as_good(demo_run: Path) -> None:
    verdict = read(demo_run)["verdict"]
    assert verdict["ship"] in (verdict["best"], *verdict["as_good"])
    standings = {one["name"]: one["standing"] for one in read(demo_run)["candidates"]}
    assert standings[verdict["best"]] == "best"
    assert [name for name, one in standings.items() if one == "as good"] == verdict["as_good"]
    assert [name for name, one in standings.items() if one == "not told apart"] == verdict["not_told_apart"]


def test_an_older_report_is_written_anew(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "toy.toml"])
    path = the_run(workspace) / "report.json"
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace("[compare]\n", "[compare]\nmargin = 0.3\n"))
    capsys.readouterr()
    assert main(["compare", "toy.toml"]) == 0
    assert "words: job" not in capsys.readouterr().out, "another margin scores no candidate again"
    assert json.loads(path.read_text())["verdict"]["margin"] == 0.3


def test_only_models_write_freely_and_have_prompt_tokens(demo_run: Path) -> None:
    for one in read(demo_run)["candidates"]:
        if not one["failed"]:
            is_model = one["kind"] == "llm"
            assert (one["generation"] is not None) == is_model
            assert (one["cost"]["prompt_tokens"] is not None) == is_model


def test_training_time_adds_up_over_the_stages(demo_run: Path) -> None:
    state = json.loads((demo_run / "state.json").read_text())
    seconds = {step["folder"]: step["seconds"] for step in state["steps"]}
    cost = {
        one["name"]: one["cost"]["seconds_to_train"] for one in read(demo_run)["candidates"] if one["kind"] == "llm"
    }
    assert cost["untuned"] == 0
    assert cost["gepa+grpo"] == pytest.approx(seconds["1-gepa"] + seconds["2-grpo"])


def test_every_candidate_is_calibrated_in_the_same_way(demo_run: Path) -> None:
    for one in read(demo_run)["candidates"]:
        if not one["failed"]:
            found = one["calibration"]
            assert found["variant"] in ("none", "temperature", "bias", "temperature+bias"), one["name"]
            assert found["log_loss_after"] <= found["log_loss_before"]


def test_an_unchanged_comparison_is_done(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "toy.toml"])
    before = (the_run(workspace) / "report.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["compare", "toy.toml"]) == 0
    assert "compare is done" in capsys.readouterr().out
    assert (the_run(workspace) / "report.json").stat().st_mtime_ns == before


def test_one_candidate_can_be_done_again(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "toy.toml"])
    capsys.readouterr()
    assert main(["compare", "toy.toml", "--candidate", "words"]) == 0
    said = capsys.readouterr().out
    assert "words: job 1 of 5" in said
    assert "majority: job" not in said
    assert main(["compare", "toy.toml", "--candidate", "magic"]) == 2
    assert "no candidate 'magic'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["compare", "export"])
def test_nothing_is_compared_by_a_wrong_name(workspace: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace('"words"', '"wrods"'))
    assert main([verb, "toy.toml"]) == 2
    assert "unknown baseline 'wrods'; did you mean 'words'?" in capsys.readouterr().err


def test_any_candidate_can_be_exported_and_answers_as_it_was_measured(workspace: Path) -> None:
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace("[model]", "[model]\nunexpanded_mass = 0.02\nlong_rows = 'head'"))
    main(["compare", "toy.toml"])
    run = the_run(workspace)
    for name in ("words", "untuned"):
        assert main(["export", "toy.toml", "--candidate", name]) == 0
        bundle = load(run / "bundle")
        kept = (bundle.unexpanded_mass, bundle.long_rows)
        assert kept == (0.02, "head"), "a bundle answers elsewhere as the recipe had it"
        assert bundle.history[-1]["candidate"] == name
        engine = FakeEngine() if name == "untuned" else None
        written = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
        classifier = Classifier.from_bundle(run / "bundle", engine=engine)
        probs = classifier.predict_proba([row["text"] for row in written])
        told = [[row["candidates"][name]["probabilities"][label] for label in bundle.task.names] for row in written]
        assert probs == pytest.approx(np.array(told), abs=1e-5)
        assert json.loads((run / "state.json").read_text())["export"]["candidate"] == name
        try:
            assert verify(run / "bundle").ok
        except BundleError as error:
            pytest.fail(str(error))


def test_what_is_to_ship_is_exported_by_that_word(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "toy.toml", "--candidate", "ship"]) == 2
    assert "run make compare first" in capsys.readouterr().err
    main(["compare", "toy.toml"])
    assert main(["export", "toy.toml", "--candidate", "ship"]) == 0
    run = the_run(workspace)
    assert load(run / "bundle").history[-1]["candidate"] == read(run)["verdict"]["ship"]
    capsys.readouterr()
    assert main(["predict", "toy.toml", "--text", "the skimmer is full of algae"]) == 0
    assert str(run.name) in capsys.readouterr().out
    assert main(["export", "toy.toml", "--candidate", "absent"]) == 2
    assert "expected best, ship, or one of majority, words, untuned" in capsys.readouterr().err


def test_only_one_function_reads_the_test_rows() -> None:
    readers = []
    for folder in ("labelwright", "workbench", "optimizers", "baselines", "programs", "rewards"):
        for path in (ROOT / folder).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    reads = [
                        node for node in ast.walk(function) if isinstance(node, ast.Attribute) and node.attr == "test"
                    ]
                    readers += [(path.name, function.name) for node in reads if "splits" in ast.unparse(node.value)]
    assert readers == [("score.py", "read_test")]


def test_free_generation_counts_valid_and_right_answers() -> None:
    class Says(FakeEngine):
        def generate(self, prompts: list, max_new_tokens: int = 8, stop: tuple = ()) -> list[str]:
            return [" pool\nLabel: fence", " Pool", " fence", " something"][: len(prompts)]

    rows = [Example(str(i), f"text {i}", label) for i, label in enumerate(["pool", "pool", "pool", "hvac"])]
    found = free_generation(Says(), toy_bundle().prompt, rows, 4)
    assert found == {"n_rows": 4, "valid": 0.5, "right": 0.25}
    assert free_generation(Says(), toy_bundle().prompt, rows, 0) == {}


class LikesPlaces(FakeEngine):
    """Answers choices by words and by their place, which rotations take out."""

    def score(self, prompts: list, options: list) -> np.ndarray:
        words = [[float(len(line)) for line in prompt.user.splitlines()[-4:]] for prompt in prompts]
        scores = np.array(words) * 0.3 + np.array([2.0, 1.0, 0.5, 0.0])
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def test_rotations_reach_the_comparison_and_what_ships(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    words = ["sun", "moonlight", "rain", "thunderstorm", "ice", "snowflakes"]
    rows = []
    for i in range(60):
        choices = [str(one) for one in chance.permutation(words)[:4]]
        label = max(choices, key=len) if i % 3 else choices[i % 4]
        rows.append({"id": str(i), "text": f"which one is it, number {i}?", "choices": choices, "label": label})
    (workspace / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = workspace / "toy.toml"
    text = recipe.read_text().replace('labels = ["pool", "fence", "hvac"]\n', "").replace('group = "group"\n', "")
    text = text.replace('id = "id"', 'id = "id"\nchoices = "choices"').replace(
        '"majority", "words", "absent"', '"chance"'
    )
    text = text.replace("generate_rows = 6", "generate_rows = 0\nseeds = 1").replace(
        '["gepa", "grpo", "calibrate"]', "[]"
    )
    recipe.write_text(text + '[models]\ncandidates = ["untuned"]\n[calibrate]\nrotations = true\n')
    monkeypatch.setattr("baselines.BASELINES", {"chance": CHANCE})
    monkeypatch.setattr("workbench_fakes.FakeEngine", LikesPlaces)
    assert main(["compare", "toy.toml"]) == 0
    (path,) = runs_of(workspace / "runs" / "toy")
    found = open_comparison(Path("toy.toml"), path)
    for name, turned in [("untuned", True), ("chance", False)]:
        candidate = read_candidate(found, name)
        assert not candidate.failed, candidate.failed
        bundle = load(candidate.folder)
        assert bundle.calibration.rotations is turned
        engine = LikesPlaces() if turned else open_engine(bundle.weights)
        texts = [row.text for row in read_test(found.splits_of(found.jobs(name)[0]))]
        assert (probabilities(bundle, engine, texts) == candidate.probs).all()
    assert main(["export", "toy.toml", "--candidate", "untuned"]) == 0
    assert load(path / "bundle").calibration == load(read_candidate(found, "untuned").folder).calibration
