"""MLflow's own UI on what a run left: what a person sees there, in a real browser where there is one.

``LABELWRIGHT_SCREENSHOTS=docs/mlflow python -m pytest tests/workbench/test_dashboard.py`` writes the pictures that
docs/mlflow/README.md shows. ``LABELWRIGHT_TRACKING_SERVER=1`` records at a server over HTTP and looks at its pages.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import workbench_fakes
from browser import Browser, BrowserError, find_browser
from fakes import toy_examples
from workbench_fakes import environment

from workbench.cli import main
from workbench.compare.details import DoubtedRow
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.run.folder import RunFolder, runs_of
from workbench.tracking.journal import read_made
from workbench.tracking.recorder import Tracking
from workbench.tracking.rows import DROP, KEEP, TAKE, review_trace

_SCREENSHOTS = os.environ.get("LABELWRIGHT_SCREENSHOTS", "")
# MLflow opens an assistant beside the first page that is ever shown.
_NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


class Dashboard(NamedTuple):
    """The address of a running dashboard, and what it said when it started."""

    address: str
    said: str


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def dashboard(demo_folder: Path, tracking_server: str) -> Iterator[Dashboard]:
    """Also with no network: MLflow's server then used to wait for ever on a price list that litellm fetches."""
    port = free_port()
    arguments = [sys.executable, "-m", "workbench", "dashboard", "toy.toml", "--port", str(port)]
    if tracking_server:
        where = {**environment(), "MLFLOW_TRACKING_URI": tracking_server}
        told = subprocess.run(arguments, cwd=demo_folder, env=where, capture_output=True, text=True, check=True)
        yield Dashboard(f"{tracking_server}/", told.stdout)
        return
    place = demo_folder / "dashboard.log"
    with place.open("w") as log:
        server = subprocess.Popen(arguments, cwd=demo_folder, env=environment(), stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 400  # a busy machine may take minutes; one that died is seen at once
        while True:
            assert server.poll() is None, place.read_text()
            assert time.monotonic() < deadline, "the dashboard does not answer"
            try:
                assert b"MLflow" in urllib.request.urlopen(address, timeout=60).read()
                break
            except OSError:
                time.sleep(0.2)
        yield Dashboard(address, place.read_text())
    finally:
        server.terminate()
        server.wait(timeout=60)
    # It ends with its process.
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=60)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, dashboard: Dashboard) -> Iterator[Browser]:
    """Closed before the dashboard ends, which waits for who is connected."""
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium or Chrome on this machine: MLflow's pages are not looked at")
    try:
        opened = Browser(executable, tmp_path_factory.mktemp("profile"))
    except BrowserError as error:
        pytest.skip(f"{executable} does not start here ({error}): MLflow's pages are not looked at")
    with opened:
        opened.call("Page.addScriptToEvaluateOnNewDocument", source=f"try {{ {_NO_ASSISTANT} }} catch {{}}")
        yield opened


@pytest.fixture
def known(demo_run: Path) -> dict[str, str]:
    """Ids of the demo's MLflow runs: of its parent as ``run``, of its stages and candidates by their names."""
    state = read_made(RunFolder(demo_run))
    of_names = {key.removeprefix("candidate ").rpartition("-")[0] or key: one for key, one in state["runs"].items()}
    plain = {key.removeprefix("candidate "): one for key, one in state["runs"].items() if key.startswith("candidate")}
    return {**of_names, **plain, "run": state["run_id"], "experiment": state["experiment_id"]}


def picture(browser: Browser, name: str) -> None:
    """Keep what the page shows, where pictures are asked for, in few colours, which is a quarter of the bytes."""
    if _SCREENSHOTS:
        from PIL import Image

        path = Path(_SCREENSHOTS) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        time.sleep(1)  # what fades in
        browser.screenshot(path)
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


def open_at(browser: Browser, dashboard: Dashboard, place: str, *shown: str) -> str:
    """A page's text; ``shown`` must be of that page alone, since the one before is there until then."""
    if browser.evaluate("location.href").startswith(dashboard.address):
        # Loading all of MLflow's scripts again would take seconds a page.
        browser.evaluate(f"location.hash = {json.dumps(place)}")
    else:
        browser.open(dashboard.address + place, 1300, 800)
    return browser.wait_for(*shown)


def test_it_prints_the_page_of_the_newest_run(dashboard: Dashboard, known: dict[str, str]) -> None:
    page = f"{dashboard.address}#/experiments/{known['experiment']}/runs?viewStateShareKey=labelwright"
    assert page in dashboard.said


def test_that_page_shows_the_run_best_first_with_the_numbers_that_matter(
    browser: Browser, dashboard: Dashboard, demo_run: Path
) -> None:
    (place,) = re.findall(r"http\S+/(#\S+)", dashboard.said)
    text = open_at(browser, dashboard, place, "7 matching runs", "gepa+grpo+calibrate", "33.3 [")
    verdict = (demo_run / "report.md").read_text().splitlines()[0]
    assert verdict.split(". ")[0] in text, "the experiment's description is the verdict"
    lines = text.splitlines()
    assert {"dev.accuracy", "test.accuracy", "test interval", "test.log_loss", "seconds", "what it is"} <= set(lines)
    assert not {"Source", "Dataset", "Models"} & set(lines), "MLflow's own choice of columns"
    names = [line for line in lines if line in ("gepa", "words", "untuned", "majority")]
    assert names == ["gepa", "words", "untuned", "majority"], "not the best first"
    (interval,) = re.findall(r"^33\.3 \[.+\]$", text, re.MULTILINE)
    assert interval in (demo_run / "report.md").read_text()
    picture(browser, "runs")


def test_the_run_shows_the_verdict_and_the_leaderboard_and_opens_the_prompts(
    browser: Browser, dashboard: Dashboard, known: dict[str, str]
) -> None:
    place = f"#/experiments/{known['experiment']}/runs/{known['run']}"
    open_at(browser, dashboard, place, "Description", "Show more", "toy-prompt (v1)", "toy-prompt (v2)")
    browser.click("Show more", until="Show less")
    text = browser.wait_for("against the best", "all runs, best first", "registered bundle")
    assert "wins: right on" in text
    assert "No description" not in text
    picture(browser, "run")
    # It opens a tab of its own, which nobody would look at here.
    _, _, place = browser.link("prompt: compare the first version with the newest").rpartition("/#")
    open_at(browser, dashboard, f"#{place}", "Viewing version 1", "Name the topic of the message.")
    browser.click("Compare", until="Comparing version 1 with version 2")
    browser.click("Text", until="chlorine")
    text = browser.wait_for("chlorine")
    assert "seed" in text
    assert "champion" in text
    picture(browser, "prompt")


def test_a_stage_says_what_it_did_before_and_after_and_shows_its_programs(
    browser: Browser, dashboard: Dashboard, known: dict[str, str]
) -> None:
    place = f"#/experiments/{known['experiment']}/runs/{known['gepa']}"
    text = open_at(browser, dashboard, place, "gepa: Writes the labels' words", "Prompt, version 2")
    (dev,) = re.findall(r"Dev: accuracy (\S+) % → (\S+) %", text)
    assert float(dev[0]) < float(dev[1])
    picture(browser, "stage")
    text = open_at(browser, dashboard, f"{place}/artifacts/programs-table.json", "dev_score", "Be brief.")
    assert "programs-tree.png" in text


def test_candidates_are_models_with_their_numbers_on_the_test_rows(
    browser: Browser, dashboard: Dashboard, known: dict[str, str]
) -> None:
    place = f"#/experiments/{known['experiment']}/models?workflowType=machine_learning"
    text = open_at(browser, dashboard, place, "Model attributes", "bundle of gepa+grpo", "majority", "toy.test")
    names = [line for line in text.splitlines() if line in ("bundle of gepa+grpo", "words", "untuned", "majority")]
    assert names[:4] == ["bundle of gepa+grpo", "words", "untuned", "majority"], "not the best first"
    picture(browser, "models")


def test_the_exported_bundle_is_registered_under_its_card(browser: Browser, dashboard: Dashboard) -> None:
    text = open_at(browser, dashboard, "#/models/toy", "champion", "A classifier of texts into 3 labels")
    assert "95 % interval" in text
    picture(browser, "registered")


def test_two_candidates_answers_stand_side_by_side(
    browser: Browser, dashboard: Dashboard, demo_run: Path, known: dict[str, str]
) -> None:
    state = read_made(RunFolder(demo_run))
    runs = {key.split()[1]: run for key, run in state["runs"].items() if key.startswith("evaluation ")}
    best, other = runs["gepa"], runs["words"]
    page = f"#/experiments/{known['experiment']}/evaluation-runs"
    browser.open(f"{dashboard.address}{page}?selectedRunUuid={best}&compareToRunUuid={other}", 2000, 800)
    wrong = next(
        row
        for row in map(json.loads, (demo_run / "rows.jsonl").read_text().splitlines())
        if row["candidates"]["words"]["label"] != row["label"]
    )
    shown = (wrong["text"], "gepa, rows", "words, rows", "toy.test", "gold", "confidence", "12 of 12")
    text = browser.wait_for("Comparing", *shown)
    first = next(line for line in text.splitlines() if '"text": ' in line)
    assert wrong["text"] in first, "the row that one of them has wrong is not the first"
    answers = [wrong["candidates"][name]["label"] for name in ("gepa", "words")]
    assert re.search("\n".join(answers), text), "both answers to it, one above the other"
    picture(browser, "evaluation")


MARKUP = "![pool](http://127.0.0.1:9/tracked.png) **pool** <img src=http://127.0.0.1:9/x.png>"


@pytest.fixture(scope="module")
def asked(demo_folder: Path, tracking_server: str) -> list[DoubtedRow]:
    """Rows that the demo's run asks people about; the first is none of the data's and full of markup."""
    rows = toy_examples()
    found = [DoubtedRow("train", "markup", MARKUP, "pool", "fence", 0.9, "majority and words agree on another label")]
    found += [DoubtedRow("train", row.id, row.text, row.label, "hvac", 0.8, "words doubts it") for row in rows[:3]]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo_folder)
        workbench_fakes.track_at(patch, tracking_server)
        workbench_fakes.install(patch.setattr)
        (folder,) = runs_of(demo_folder / "runs" / "toy")
        with Tracking(read_recipe("toy.toml"), RunFolder(folder), Display()).opened() as tracking:
            tracking.review(found, ["pool", "fence", "hvac"])
    return found


def test_what_a_person_answers_in_the_browser_comes_back(
    browser: Browser,
    dashboard: Dashboard,
    asked: list[DoubtedRow],
    demo_folder: Path,
    demo_run: Path,
    known: dict[str, str],
    tracking_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue = f"toy: rows in doubt, run {demo_run.name}"
    open_at(browser, dashboard, f"#/experiments/{known['experiment']}/review-queue", queue)
    browser.click(queue, until="Start review")
    browser.wait_for("Start review", "Needs review (4)")
    here = browser.evaluate("location.href").replace(dashboard.address, "")
    for number, (row, word) in enumerate(zip(asked, (None, TAKE, DROP), strict=False)):
        trace = review_trace(known["run"], {"id": row.id, "label": row.label})
        text = open_at(browser, dashboard, f"{here}&selectedItemId={trace}", row.why, "Select an option", "Submit")
        assert {"decision", "other label of toy"} <= set(text.splitlines())
        if word is None:
            assert "![pool](http://127.0.0.1:9/tracked.png)" in text, "a row is shown as it is"
            assert not [one for one in browser.requests if ":9/" in one], "a row has loaded something from elsewhere"
            continue
        if number == 1:
            picture(browser, "review")
        browser.click("Select an option", until=KEEP)
        browser.click(word, gone=KEEP)
        browser.click("Submit", until=f"{number} of 4 reviewed")
    monkeypatch.chdir(demo_folder)
    workbench_fakes.track_at(monkeypatch, tracking_server)
    workbench_fakes.install(monkeypatch.setattr)
    capsys.readouterr()
    assert main(["review", "toy.toml"]) == 0
    said = capsys.readouterr().out
    assert "4 rows asked: 0 confirmed, 1 relabelled, 1 dropped, 2 unanswered" in said
    log = [json.loads(line) for line in (demo_run / "review" / "toy-changes.jsonl").read_text().splitlines()]
    assert [(one["row"], one["new"], one["who"]) for one in log] == [
        (asked[1].id, "hvac", "default"), (asked[2].id, None, "default"),
    ]  # fmt: skip
