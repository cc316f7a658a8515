"""What the numbers were measured on is measured."""

import torch

from bench.machine import machine_facts, product_rate


def test_machine_facts_are_measured():
    facts = machine_facts()
    assert facts["cpu"]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["bf16_matmul_flops_per_s"] > 0
    assert product_rate(torch.float32, torch.device("cpu")) > 0
