from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import fake_target
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.store import save
from labelwright.cli import main
from labelwright.conversion import converting, folder, targets
from labelwright.conversion.certificate import read_certificate
from labelwright.conversion.folder import read
from labelwright.data.task import Task
from labelwright.errors import BundleError, MissingExtraError


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Path:
    """A bundle with golden rows, and fakes for its engine and for a target."""
    for name, target in {"fake": fake_target.TARGET, "served": fake_target.SERVED}.items():
        monkeypatch.setitem(targets.TARGETS, name, target)
    monkeypatch.setattr(converting, "open_engine", lambda weights, settings: FakeEngine())
    save(toy_bundle(), tmp_path / "b", engine=FakeEngine(), golden=toy_splits().dev)
    return tmp_path / "b"


def test_a_folder_appears_certified_with_a_card_that_says_so(bundle, capsys):
    closed = fake_target.Runtime.closed
    assert main(["convert", str(bundle), "--to", "fake", "--quantise", "near"]) == 0
    written = read(bundle.with_name("b-fake-near"))
    assert (written.target, written.quantise, written.names) == ("fake", "near", toy_bundle().task.names)
    assert written.bundle_sha256 == bundle_identity(bundle)
    certificate = read_certificate(written.folder / "certificate.json")
    assert certificate.target_sha256 == written.identity
    assert 0 < certificate.max_difference <= 0.01
    card = (written.folder / "README.md").read_text(encoding="utf-8")
    assert f"Within the tolerance: the largest difference of a probability is {certificate.max_difference:.4f}" in card
    assert "Run the *fake*." in card
    assert fake_target.Runtime.closed == closed + 1
    assert "written:" in capsys.readouterr().out


def test_outside_the_tolerance_is_status_1_and_the_card_says_it(bundle, capsys):
    assert main(["convert", str(bundle), "--to", "fake", "--quantise", "far"]) == 1
    assert "OUTSIDE the tolerance" in capsys.readouterr().out
    assert "OUTSIDE" in (bundle.with_name("b-fake-far") / "README.md").read_text(encoding="utf-8")
    assert main(["convert", str(bundle), "--to", "fake", "--quantise", "far", "--tolerance", "0.5", "--force"]) == 0


def test_what_only_a_server_opens_is_written_and_not_certified(bundle, capsys):
    assert main(["convert", str(bundle), "--to", "served"]) == 0
    assert "not certified yet" in capsys.readouterr().out
    place = bundle.with_name("b-served")
    assert not (place / "certificate.json").exists()
    assert "None yet" in (place / "README.md").read_text(encoding="utf-8")


def test_a_target_that_fails_half_way_leaves_nothing(bundle, capsys):
    assert main(["convert", str(bundle), "--to", "fake", "--quantise", "broken"]) == 3
    assert [one.name for one in bundle.parent.iterdir()] == ["b"]


def test_nothing_is_replaced_but_a_converted_folder_and_that_only_where_it_is_said(bundle, capsys):
    mine = bundle.with_name("mine")
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    command = ["convert", str(bundle), "--to", "fake", "--output", str(mine)]
    for more in ([], ["--force"]):
        assert main([*command, *more]) == 2
        assert "is no converted folder" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "years of work"
    command[-1] = str(bundle.with_name("out"))
    assert [main(command), main(command), main([*command, "--force"])] == [0, 2, 0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "abacus"], "no such target; expected one of huggingface,"),
        (["--to", "fake", "--quantise", "q9"], "expected one of near, far, broken"),
        (["--to", "served", "--quantise", "q9"], "leave it out"),
        (["--to", "fake", "--tolerance", "2"], "0 to 1"),
        (["--to", "fake", "--input", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_line(bundle, arguments, said, capsys):
    assert main(["convert", str(bundle), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_missing_package_is_named_with_its_extra(bundle, monkeypatch):
    gone = fake_target.TARGET._replace(module="nowhere_to_be_found")
    monkeypatch.setitem(targets.TARGETS, "fake", gone)
    with pytest.raises(MissingExtraError, match=re.escape('pip install "labelwright[fake]"')):
        targets.fill(toy_bundle(), "fake", bundle, "")


def test_rows_with_choices_of_their_own_do_not_leave(bundle):
    by_row = Task("quiz", "Answer.", (), max_choices=3)
    with pytest.raises(BundleError, match="bring their own choices"):
        targets.check(replace(toy_bundle(), task=by_row), "fake", "")


def test_certify_a_folder_again_and_write_the_certificate(bundle, tmp_path, capsys):
    assert main(["convert", str(bundle), "--to", "fake", "--quantise", "near"]) == 0
    place = str(bundle.with_name("b-fake-near"))
    assert main(["certify", str(bundle), place, "--output", str(tmp_path / "c.json")]) == 0
    assert main(["certify", str(bundle), place, "--tolerance", "0.001"]) == 1
    assert read_certificate(tmp_path / "c.json").target_sha256 == read(Path(place)).identity
    assert main(["certify", str(bundle), place, "--output", "c.txt"]) == 2
    assert main(["certify", str(bundle), str(tmp_path / "nowhere")]) == 2
    assert "or a server's URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda place: (place / "inner/bundle.json").write_text("{}"), "inner/bundle.json: altered"),
        (lambda place: (place / "inner/hashes.json").unlink(), "inner/hashes.json: missing"),
        (lambda place: (place / "more.py").write_text("1"), "more.py: extra"),
        (lambda place: (place / "conversion.json").write_text("[]"), "expected a JSON object"),
        (lambda place: (place / "link").symlink_to("/etc/passwd"), "link: extra"),
    ],
)
def test_a_folder_that_somebody_changed_is_not_opened(bundle, harm, said, capsys):
    assert main(["convert", str(bundle), "--to", "fake"]) == 0
    place = bundle.with_name("b-fake")
    harm(place)
    assert main(["certify", str(bundle), str(place)]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_other_labels_is_refused(bundle, capsys):
    assert main(["convert", str(bundle), "--to", "fake"]) == 0
    about = bundle.with_name("b-fake") / folder.FILE
    about.write_text(json.dumps(json.loads(about.read_text()) | {"labels": ["pool", "fence", "gate"]}))
    assert main(["certify", str(bundle), str(about.parent)]) == 2
    assert "has other labels" in capsys.readouterr().err


def test_a_label_cannot_write_into_the_card(bundle, tmp_path):
    task = replace(toy_bundle().task, name="a\n# b")
    shown = replace(toy_bundle(), task=task)
    save(shown, tmp_path / "named", engine=FakeEngine(), golden=toy_splits().dev)
    assert main(["convert", str(tmp_path / "named"), "--to", "fake"]) == 0
    lines = (tmp_path / "named-fake/README.md").read_text(encoding="utf-8").splitlines()
    assert "# b" not in lines
