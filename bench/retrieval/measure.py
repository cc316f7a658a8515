"""`python -m bench.retrieval.measure`: a bundle is trained and exported, and searches are measured with its labels.

The bundle is MiniLM with logistic regression, compared and exported as `make compare` and `make export` do, on rows
that are neither documents nor queries; then `make retrieval` measures. ``--kind`` says what a category is
(``bench.retrieval.corpora``), ``--taught`` how few rows teach, for a bundle that is often wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from bench.comparisons.compared import NOTHING_BESIDE
from bench.retrieval.corpora import KINDS, write_corpus
from labelwright.errors import LabelwrightError
from workbench.cli import main as workbench_main

DATA = Path("../shared/data")
ROOT = Path(__file__).parents[2]
CANDIDATE = "minilm-logreg"
RECIPE = f"""
stages = []
[data]
path = "taught.jsonl"
[splits]
dev = 0.1
calib = 0.2
test = 0.1
[task]
instructions = "A customer writes a message. What is it about?"
style = "code"
[baselines]
names = ["{CANDIDATE}"]
[compare]
seeds = 1
curves = []
noise = []
{NOTHING_BESIDE}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0, or what a command of the workbench that failed gave."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval.measure", description=(__doc__ or "")[:90])
    parser.add_argument("--kind", choices=KINDS, default="domains", help="(default: %(default)s)")
    parser.add_argument("--data", type=Path, default=DATA, help="(default: %(default)s)")
    parser.add_argument("--taught", type=int, default=0, help="rows an intent that teach (default: a third)")
    parser.add_argument("--k", type=int, default=50, help="of recall (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="deals rows and queries")
    parser.add_argument("--folder", type=Path, help="where all is kept, to go on after a kill; by default nowhere")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (given.folder or Path(scratch)).resolve()
            write_corpus(KINDS[given.kind], given.data, folder, given.seed, given.taught)
            (folder / "corpus.toml").write_text(f"seed = {given.seed}\n{RECIPE}", encoding="utf-8")
            status = measured(folder, given.k)
            if not status:
                print((folder / "runs" / "corpus" / "retrieval" / "report.md").read_text(encoding="utf-8"))
            return status
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measured(folder: Path, k: int) -> int:
    """Train, export and measure in a folder, as far as that is not done; the exit status of what failed, or 0."""
    known = os.environ.get("PYTHONPATH")
    # Candidates run in processes of their own, which begin in that folder.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), known]))
    files = ["--documents=documents.jsonl", "--queries=queries.jsonl", "--relevant=pairs.txt", f"--k={k}"]
    with chdir(folder):
        for command in (
            ["compare", "corpus.toml"],
            ["export", "corpus.toml", f"--candidate={CANDIDATE}"],
            ["retrieval", "corpus.toml", *files],
        ):
            if status := workbench_main(command):
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
