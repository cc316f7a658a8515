"""`python -m bench.scoring.label_memory`: peak memory of a training step as labels grow, in one pass and in chunks.

A Llama of random weights (6 layers, 256 wide), an adapter on every linear layer, 4 rows of 40 tokens, labels of three
tokens and an end: forward, cross-entropy, backward. Every number is of a process of its own, the kernel's mark of its
resident memory beyond what it was before the step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from workbench.run.usage import peak_memory_bytes

N_LABELS = (20, 200, 1000, 2000)
N_ROWS, ROW_TOKENS, PREFIX_TOKENS = 4, 40, 60
UNBOUNDED = 10**9
VOCABULARY = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a measurement; with ``--one``, which is for itself, be one."""
    from labelwright.engines.packed.chunks import CHUNK_TOKENS

    given = _parser().parse_args(arguments)
    if given.one:
        print(*measure(*given.one))
        return 0
    most_tokens = given.tokens or CHUNK_TOKENS["cpu"]
    chunks = f"chunks of {most_tokens}", most_tokens
    for n_labels in given.labels:
        for name, most in (chunks,) if given.chunks else (("one pass", UNBOUNDED), chunks):
            n_tokens, mebibytes, seconds = _in_a_process(n_labels, most)
            print(f"{n_labels:5} labels, {n_tokens:>6} tokens, {name:14}: {mebibytes:>6} MiB, {seconds} s", flush=True)
    return 0


def _in_a_process(n_labels: int, most_tokens: int) -> list[str]:
    """What ``measure`` says in a process of its own."""
    command = [sys.executable, "-m", "bench.scoring.label_memory", "--one", str(n_labels), str(most_tokens)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scoring.label_memory", description=__doc__)
    numbers = " ".join(map(str, N_LABELS))
    parser.add_argument("--labels", type=int, nargs="+", default=N_LABELS, metavar="N", help=f"(default: {numbers})")
    parser.add_argument("--chunks", action="store_true", help="not in one pass, whose memory grows with the labels")
    parser.add_argument("--tokens", type=int, metavar="N", help="of a chunk at most (default: the processor's)")
    parser.add_argument("--one", type=int, nargs=2, metavar=("LABELS", "TOKENS"), help=argparse.SUPPRESS)
    return parser


def measure(n_labels: int, most_tokens: int) -> tuple[int, int, float]:
    """Tokens of rows and trees, MiB at most beyond what was there before the step, and its seconds."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from labelwright.engines.options.tree import OptionTree
    from labelwright.engines.packed.chunks import log_probs_in_chunks
    from labelwright.engines.packed.interface import ATTENTION
    from labelwright.engines.packed.packing import Row

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=16, target_modules="all-linear"))
    plain: Any = model.get_base_model()
    plain.set_attn_implementation(ATTENTION)
    # The first two tokens tell labels apart, so the third may come again.
    options = [(10 + k // 50, 100 + k % 50, 200 + k % (VOCABULARY - 200), 2) for k in range(n_labels)]
    tree = OptionTree.build(options)
    rows = [Row(tuple(range(300 + row, 300 + row + ROW_TOKENS)), tree) for row in range(N_ROWS)]
    incidence = torch.as_tensor(tree.incidence, dtype=torch.float32)
    before, begun = peak_memory_bytes(), time.perf_counter()
    edges, _ = log_probs_in_chunks(plain, range(3, 3 + PREFIX_TOKENS), rows, most_tokens=most_tokens)
    scores = edges.reshape(N_ROWS, -1) @ incidence.T
    torch.nn.functional.cross_entropy(scores, torch.arange(N_ROWS)).backward()
    seconds = time.perf_counter() - begun
    return sum(row.n_new for row in rows), (peak_memory_bytes() - before) // 2**20, round(seconds, 1)


if __name__ == "__main__":
    sys.exit(main())
