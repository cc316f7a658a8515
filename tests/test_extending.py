"""docs/extending.md does what it says: each file and each line, written into a copy of the project and used."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import workbench_fakes

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("labelwright", "programs", "rewards", "optimizers", "baselines", "workbench")
# "`path`:" or "`path`, in `NAME`:", and the block below it.
_ADDED = re.compile(r"^`(?P<path>[\w./]+)`(?:, in `(?P<into>\w+)`)?:\n\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
# The workbench over the engine that reads words, with the stages and baselines that there are.
_RUN = """
import sys, workbench_fakes
def put(place, name, value):
    if name not in ("STAGES", "BASELINES"):
        setattr(place, name, value)
workbench_fakes.install(put)
workbench_fakes.without_tracking(put)
workbench_fakes.without_plots(put)
from workbench.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Added(NamedTuple):
    """A file, or one line in the mapping or tuple of that name in a file."""

    path: str
    into: str | None
    text: str


def chapters() -> dict[str, str]:
    """The page's parts by their heading."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return {part.split("\n")[0]: part for part in page.split("\n## ")[1:]}


def added(chapter: str) -> list[Added]:
    return [Added(found["path"], found["into"], found["text"]) for found in _ADDED.finditer(chapter)]


def with_line(source: str, into: str, line: str) -> str:
    """The source with a line more at the end of the mapping or tuple."""
    found = re.findall(rf"^{into}\b[^\n]*[{{(]\n.*?(?=^[}})])", source, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{into} begins {len(found)} times"
    return source.replace(found[0], found[0] + line)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with everything added that the page adds."""
    copy = tmp_path_factory.mktemp("project")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").mkdir()
    for helper in (ROOT / "tests").glob("*.py"):
        shutil.copy(helper, copy / "tests")
    for chapter in chapters().values():
        for path, into, text in added(chapter):
            place = copy / path
            assert place.is_file() is bool(into), f"{path}: a file is new, a line goes into one that is there"
            place.write_text(with_line(place.read_text(encoding="utf-8"), into, text) if into else text, "utf-8")
    return copy


def run(project: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of the copy."""
    path = f"{project}:{project / 'tests'}"
    environment = workbench_fakes.environment(PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def compared(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a demo whose recipe is what the page's own blocks say."""
    folder = tmp_path_factory.mktemp("work")
    workbench_fakes.write_workspace(folder)
    shown = [block for part in chapters().values() for block in re.findall(r"```toml\n(.*?)```", part, re.S)]
    least = re.search(r"\[data\].*?(?=\[baselines\])", workbench_fakes.RECIPE, re.S)
    assert least is not None
    more = '[compare]\nlatency_rows = 2\nbootstrap = 200\ngenerate_rows = 2\n[models]\ncandidates = ["hint"]\n'
    (folder / "toy.toml").write_text("\n".join([*shown, least[0], more]), encoding="utf-8")
    done = run(project, folder, "-c", _RUN, "demo", "toy.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (folder / "runs" / "toy").glob("2*")
    return found


def test_one_file_and_one_line_each():
    for heading, chapter in chapters().items():
        parts = added(chapter)
        assert [bool(part.into) for part in parts] == [False, True], heading
        assert parts[1].text.count("\n") == 1, heading
        assert len(parts[1].text) <= 121, heading


def test_what_is_added_is_clean(project: Path):
    new = [path for part in chapters().values() for path, into, _ in added(part) if not into]
    changed = [path for part in chapters().values() for path, into, _ in added(part) if into]
    for command in (["check"], ["format", "--check"]):
        asked = ["-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), *new, *changed]
        done = run(project, project, *asked)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_stage_improves_the_bundle(compared: Path):
    bundle = json.loads((compared / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    entry = next(one for one in bundle["history"] if one["stage"] == "hint")
    assert entry["kept"]
    assert entry["dev_after"]["log_loss_prior_removed"] < entry["dev_before"]["log_loss_prior_removed"]
    assert "pool: chlorine" in bundle["prompt"]["instructions"]


def test_the_stage_and_the_baseline_are_compared(compared: Path):
    report = (compared / "report.md").read_text(encoding="utf-8")
    table = {line.split("|")[1].strip(): line for line in report.splitlines() if line.startswith("| ")}
    assert {"majority", "naive-bayes", "hint", "untuned"} <= set(table)
    assert "failed" not in table["naive-bayes"]


@pytest.mark.parametrize(("right", "wrong"), [("lines =", "line ="), ("alpha = 0.5", 'alpha = "much"')])
def test_a_wrong_setting_of_either_is_refused(project: Path, compared: Path, right: str, wrong: str):
    work = compared.parents[2]
    text = (work / "toy.toml").read_text(encoding="utf-8")
    (work / "wrong.toml").write_text(text.replace(right, wrong), encoding="utf-8")
    done = run(project, work, "-m", "workbench", "compare", "wrong.toml")
    assert done.returncode == 2
    assert re.search(r"\[(hint|baselines.settings.naive-bayes)\]: .*(lines|alpha)", done.stderr)


@pytest.fixture
def scores_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that finds the options likelier whose words are in the prompt's end; and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            ends = [prompt.rstrip().splitlines()[-2:] for prompt in body["prompts"]]
            scores = [[-0.1 if one.strip() in " ".join(end) else -3.0 for one in body["options"]] for end in ends]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"scores": scores}).encode())

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_wire_answers(project: Path, compared: Path, scores_server: tuple[str, list[dict[str, Any]]]):
    url, asked = scores_server
    texts = ["the fence by the road", "a pool of mine"]
    ask = ["-m", "labelwright.cli", "predict", str(compared / "bundle"), "--json", "--backend", "scores", "--url"]
    done = run(project, project, *ask, url, *texts)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["fence", "pool"]
    assert "by the road" in asked[0]["prompts"][0]
    done = run(project, project, *ask, "http://127.0.0.1:9", *texts)
    assert done.returncode == 2
    assert "gives no scores" in done.stderr
    assert "Traceback" not in done.stderr


def scored(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The candidates that have answered; of so few rows nothing can be made of several together."""
    found = [entry for entry in report["candidates"] if not entry["failed"]]
    assert {"ensemble", "ensemble-light", "cascade"} >= {
        entry["name"] for entry in report["candidates"] if entry not in found
    }
    return found


def test_the_metric_is_measured_and_shown(
    project: Path, compared: Path, scores_server: tuple[str, list[dict[str, Any]]]
):
    report = json.loads((compared / "report.json").read_text(encoding="utf-8"))
    for entry in scored(report):
        found = entry["test"]["spherical"]
        assert 0 < found["low"] <= found["value"] <= found["high"] <= 1
    for face in ("report.md", "report.html"):
        assert "spherical" in (compared / face).read_text(encoding="utf-8")
    ask = ["-m", "labelwright.cli", "evaluate", str(compared / "bundle"), "--backend", "scores"]
    done = run(project, compared.parents[2], *ask, "--url", scores_server[0], "--input", "rows.jsonl")
    assert "spherical" in done.stdout, done.stderr


def test_the_table_is_on_every_face(compared: Path):
    report = json.loads((compared / "report.json").read_text(encoding="utf-8"))
    n_rows = report["test_rows"]["n_rows"]
    page = (compared / "report.md").read_text(encoding="utf-8")
    table = page.split("## Errors\n")[1].split("\n## ")[0]
    for entry in scored(report):
        assert f"| {entry['name']} | {round(n_rows * (1 - entry['test']['accuracy']['value']))} | {n_rows} |" in table
    assert 'id="errors"' in (compared / "report.html").read_text(encoding="utf-8")
