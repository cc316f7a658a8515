"""A server in this process over two small bundles, one with labels and one whose rows bring their own choices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_splits, toy_task
from fastapi import FastAPI
from starlette.testclient import TestClient

import baselines
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Task, texts_and_labels
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.serve.application import application
from labelwright.serve.limits import Limits
from labelwright.serve.served import Served
from labelwright.statistics.calibration import Calibration

LIMITS = Limits(rows=8)


def opened(folder: Path) -> tuple[Bundle, Engine]:
    bundle = load(folder)
    return bundle, open_engine(bundle.weights)


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of word counts, calibrated."""
    folder = tmp_path_factory.mktemp("toy")
    baselines.make("sgd-ngrams", toy_task(), 0).fit(*texts_and_labels(toy_splits().train)).save(folder / "estimator")
    calibration = Calibration(1.3, (0.1, 0.0, -0.1))
    save(predictor_bundle(toy_task(), "sgd-ngrams", folder / "estimator", calibration), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="session")
def quiz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose rows bring up to three choices; it looks at their places alone."""
    folder = tmp_path_factory.mktemp("quiz")
    task = Task("quiz", "Which?", (), max_choices=3)
    save_predictor(Prior(np.array([0.2, 0.3, 0.5])), task.names, folder / "prior")
    save(predictor_bundle(task, "majority", folder / "prior", Calibration()), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="session")
def app(toy_folder: Path, quiz_folder: Path) -> Iterator[FastAPI]:
    """Both bundles, ``toy`` first."""
    served = {id: Served.open(id, folder, opened) for id, folder in (("toy", toy_folder), ("quiz", quiz_folder))}
    yield application(served, LIMITS)
    for one in served.values():
        one.close()


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    """Asks the application without a socket."""
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="session")
def quiz_client(quiz_folder: Path) -> Iterator[TestClient]:
    """Asks an application whose first model is the one with choices."""
    served = Served.open("quiz", quiz_folder, opened)
    with TestClient(application({"quiz": served}, LIMITS)) as client:
        yield client
    served.close()
