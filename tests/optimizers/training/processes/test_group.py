"""When the others are let go, and when they are not since they wait in the middle of a step."""

import os

import pytest
import torch

from labelwright.errors import ModelError
from optimizers.training.processes.group import END, Group

LOST = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5000")


@pytest.fixture
def heard(monkeypatch):
    """What the other process hears of the first."""
    words = []

    def broadcast(tensor, source, group):
        if tensor.dtype == torch.uint8:
            words.append(bytes(tensor.tolist()).decode())

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: words.append("(gone)"))
    return words


def first():
    return Group(0, 2, _environment={"WORLD_SIZE": "2"})


def test_what_is_sharded_trains_on_the_processes_devices_whatever_answers():
    assert Group(0, 2, kind="cuda").trains_on("cpu") == "cpu"
    assert Group(0, 2, sharded=True, kind="cuda").trains_on("cpu") == "cuda"


def test_who_was_not_told_to_begin_is_let_go_whatever_is_refused(heard, monkeypatch):
    """As where a trainer is opened, and its settings are refused."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    group = first()
    with pytest.raises(ModelError, match="in a group of 2"), group.as_member():
        raise ModelError(f"in a group of {os.environ['WORLD_SIZE']}")
    assert "WORLD_SIZE" not in os.environ, "what is started next would take itself for a member"
    group.leave()
    assert heard == [END, "(gone)"]


def test_who_waits_in_a_step_is_told_nothing(heard):
    group = first()
    with pytest.raises(ModelError, match="in folder: no memory"), group.as_member():
        raise ModelError(f"in {group.said_by_first('folder')}: no memory")
    group.leave()
    assert heard == ["folder"]


def test_after_a_whole_training_all_are_let_go(heard):
    group = first()
    with group.as_member():
        group.said_by_first("folder")
    group.leave()
    assert heard == ["folder", END, "(gone)"]


def test_a_lost_member_is_one_line_that_promises_nothing_and_needs_no_goodbye(monkeypatch):
    def broadcast(*_, **__):
        raise LOST

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    group = first()
    with pytest.raises(ModelError, match="another process of the training has ended") as told, group.as_member():
        group.said_by_first("folder")
    assert "same command" not in str(told.value)
    group.leave()
