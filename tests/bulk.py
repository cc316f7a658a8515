"""A small bundle that any process can open, rows, a store of them, and the plain command that a job must equal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import toy_examples, toy_task

from baselines.linear import sgd_ngrams
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.cli import main
from labelwright.data.formats.places import place_of
from labelwright.statistics.calibration import Calibration

ROOT = Path(__file__).resolve().parents[1]
_WORDS = ("pool", "fence", "hvac", "liner", "green", "broken", "heat", "water", "gate", "is", "not", "my", "filter")


def small_bundle(folder: Path, seed: int = 0) -> Path:
    """A bundle of n-grams and a linear model, saved."""
    classifier, examples = sgd_ngrams(toy_task(), seed), toy_examples(12)
    classifier.fit([one.text for one in examples], [one.label for one in examples])
    classifier.save(folder / "fitted")
    save(predictor_bundle(toy_task(), f"small-{seed}", folder / "fitted", Calibration()), folder / "bundle")
    return folder / "bundle"


def texts(n: int, seed: int = 0) -> list[str]:
    """Short texts, every 700th of them blank: a row that has no answer."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(_WORDS, k=draw.randint(3, 7))) if i % 700 else "  " for i in range(1, n + 1)]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@contextmanager
def s3() -> Iterator[str]:
    """moto's own S3 server with a bucket: what follows the ``?`` of ``s3://bucket/…?``."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    query = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "dont-tell")
            bucket = place_of(f"s3://bucket?{query}&allow_bucket_creation=true")
            bucket.filesystem.create_dir("bucket")
            yield query
    finally:
        server.stop()


def plain(bundle: Path, inputs: Sequence[Any], folder: Path, *options: str) -> bytes:
    """What the plain command writes for files, one after another."""
    written = b""
    for one in inputs:
        output = folder / "plain.jsonl"
        assert main(["predict", str(bundle), "--input", str(one), "--output", str(output), *options]) in (0, 1)
        written += output.read_bytes()
    return written


def parts(folder: Path) -> bytes:
    """The parts of a folder, in order."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("part-*.jsonl")))


def command(*arguments: Any, **given: Any) -> subprocess.Popen[str]:
    """The real program, begun."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **given}
    return subprocess.Popen(
        [sys.executable, "-m", "labelwright.cli", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
