"""Answers as traces: how often the store is asked for them."""

from __future__ import annotations

import functools
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from workbench.tracking.rows import CHUNK
from workbench.tracking.writes.evaluations import answers
from workbench.tracking.writes.opened_store import OpenedStore


@pytest.fixture
def opened(made_store: Path, tmp_path: Path) -> Any:
    """As ``OpenedStore``, with one run, ``run``, in an experiment of its own."""
    uri = f"sqlite:///{shutil.copy(made_store, tmp_path / 'mlflow.db')}"
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("rows", tmp_path.as_uri())
    run = client.create_run(experiment).info.run_id
    store = SimpleNamespace(uri=uri, client=client, state={"experiment_id": experiment}, _begun={}, run=run)
    store.run_id = lambda key: run
    store.begun_ms = functools.partial(OpenedStore.begun_ms, store)
    return store


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of a SQL store's methods from outside of it, by name."""
    counts: Counter[str] = Counter()
    inside = False

    def counted(name: str, method: Any) -> Any:
        @functools.wraps(method)
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal inside
            if inside:
                return method(*arguments, **more)
            counts[name] += 1
            inside = True
            try:
                return method(*arguments, **more)
            finally:
                inside = False

        return call

    for name in dir(SqlAlchemyStore):
        if not name.startswith("_") and callable(method := getattr(SqlAlchemyStore, name)) and name[0].islower():
            monkeypatch.setattr(SqlAlchemyStore, name, counted(name, method))
    return counts


def entry(first: int, n: int = CHUNK) -> dict[str, Any]:
    rows = [[f"row-{i}", f"text {i}", "pool", "fence" if i % 3 else "pool", 0.5] for i in range(first, first + n)]
    return {"op": "answers", "run": "evaluation", "candidate": "words", "rows": rows, "first": first}


def test_a_row_is_one_call_and_what_rows_have_in_common_one_for_all_of_them(opened: Any, calls: Counter[str]) -> None:
    n_chunks = 3
    for number in range(n_chunks):
        answers(opened, entry(number * CHUNK))
    assert calls == {"start_trace": n_chunks * CHUNK, "log_spans": n_chunks, "get_run": 1}
    found = opened.client.search_traces(
        locations=[opened.state["experiment_id"]], filter_string=f"run_id = '{opened.run}'", max_results=100
    )
    assert [one.info.tags["row"] for one in found] == [f"row-{i}" for i in range(n_chunks * CHUNK)]
    assert all(len(one.info.assessments) == 4 and len(one.data.spans) == 1 for one in found)


def test_rows_that_are_written_twice_stand_there_once(opened: Any) -> None:
    for _ in range(2):
        answers(opened, entry(0, 3))
    found = opened.client.search_traces(locations=[opened.state["experiment_id"]], max_results=100)
    assert sorted(one.info.tags["row"] for one in found) == ["row-0", "row-1", "row-2"]
    assert {len(one.info.assessments) for one in found} == {4}
