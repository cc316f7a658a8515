from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from workbench_fakes import environment


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_dashboard_serves_the_store_and_ends_with_its_process(demo_folder: Path, demo_run: Path) -> None:
    """Also with no network: MLflow's server then used to wait for ever on a price list that litellm fetches."""
    port = free_port()
    arguments = [sys.executable, "-m", "workbench", "dashboard", "toy.toml", "--port", str(port)]
    with (demo_folder / "dashboard.log").open("w") as log:
        server = subprocess.Popen(arguments, cwd=demo_folder, env=environment(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, (demo_folder / "dashboard.log").read_text()
            assert time.monotonic() < deadline, "the dashboard does not answer"
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                break
            except OSError:
                time.sleep(0.3)
        assert b"MLflow" in page
    finally:
        server.terminate()
        server.wait(timeout=20)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
