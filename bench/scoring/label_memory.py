"""`python -m bench.scoring.label_memory`: peak memory of a training step as labels grow, in one pass and in chunks.

A Llama of random weights (6 layers, 256 wide), an adapter on every linear layer, 4 rows of 40 tokens, labels of three
tokens and an end: forward, cross-entropy, backward. Every number is of a process of its own, the kernel's mark of its
resident memory beyond what it was before the step.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from workbench.run.usage import peak_memory_bytes

N_LABELS = (20, 200, 1000)
N_ROWS, ROW_TOKENS, PREFIX_TOKENS = 4, 40, 60
UNBOUNDED = 10**9


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a measurement; with a number of labels and a bound, be one."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given:
        print(*measure(int(given[0]), int(given[1])))
        return 0
    from labelwright.engines.packed.chunks import CHUNK_TOKENS

    for n_labels in N_LABELS:
        for name, most in (("one pass", UNBOUNDED), (f"chunks of {CHUNK_TOKENS['cpu']}", CHUNK_TOKENS["cpu"])):
            command = [sys.executable, "-m", "bench.scoring.label_memory", str(n_labels), str(most)]
            n_tokens, mebibytes, seconds = subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.split()
            print(f"{n_labels:5} labels, {n_tokens:>6} tokens, {name:14}: {mebibytes:>6} MiB, {seconds} s", flush=True)
    return 0


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
        vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=16, target_modules="all-linear"))
    plain: Any = model.get_base_model()
    plain.set_attn_implementation(ATTENTION)
    tree = OptionTree.build([(10 + k // 50, 100 + k % 50, 200 + k, 2) for k in range(n_labels)])
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
