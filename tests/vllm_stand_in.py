"""In vLLM's place, in a process of its own: ``PYTHON -m MODULE OPTION …`` serves a tiny model at a Unix socket.

``python_with`` writes a command that is called as a Python is and runs this file. Behind ``--model`` a folder with a
file ``fails`` in it ends as vLLM does, with that file's text; with a file ``dies`` it starts, answers 500 when it is
first asked, and ends some moments later.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path


def python_with(folder: Path) -> Path:
    """A command in a folder, to be named as the Python that has vLLM."""
    command = folder / "python"
    words = shlex.join([sys.executable, __file__])
    command.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return command


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="module", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--uds", type=Path, required=True)
    parser.add_argument("--served-model-name", required=True)
    given, others = parser.parse_known_args()
    print("INFO starting", given.module, *others, flush=True)
    if (given.model / "fails").is_file():
        sys.exit((given.model / "fails").read_text(encoding="utf-8"))

    from model_server import ModelServer, serving

    from labelwright.engines.opening import open_engine
    from labelwright.engines.settings import EngineSettings
    from labelwright.models.weights import Base

    # As vLLM has processes of its own, which somebody has to end.
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (given.model / "processes").write_text(f"{child.pid}", encoding="utf-8")
    inner = open_engine(Base(str(given.model)), EngineSettings(device="cpu", dtype="float32"))
    server = ModelServer(inner, given.served_model_name)
    with serving(server, given.uds):
        if not (given.model / "dies").is_file():
            time.sleep(600)
        server.fail = 1000
        while not server.requests:
            time.sleep(0.05)
        print((given.model / "dies").read_text(encoding="utf-8"), flush=True)
        time.sleep(1)
        sys.exit(1)


if __name__ == "__main__":
    main()
