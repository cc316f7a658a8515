"""What is measured against vLLM in process, with a vLLM that answers from the scorer's own probabilities."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from bench.scoring import vllm
from labelwright.statistics.calibration import UNCALIBRATED

ROWS, ROUNDS = 4, 2


@pytest.fixture
def fake(monkeypatch, setting):
    """A vllm that gives every row its likeliest option; what it was told, what it was fed, and whether it was ended."""
    seen = SimpleNamespace(told=None, fed=[], ended=0)
    options = setting.prompt.options

    class LLM:
        def __init__(self, **told):
            seen.told = told
            self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self.end))

        def end(self):
            seen.ended += 1

        def generate(self, fed, asked, use_tqdm):
            assert asked.structured_outputs.choice == list(options)
            seen.fed.append([tuple(one["prompt_token_ids"]) for one in fed])
            return [SimpleNamespace(outputs=[SimpleNamespace(text=self.likeliest(one))]) for one in seen.fed[-1]]

        def likeliest(self, sequence):
            rows = setting.rendered(ROWS * (ROUNDS + 1))
            (row,) = [row for row in rows if setting.engine.tokens.sequences([row], 0)[0] == sequence][:1]
            return options[setting.engine.score([row], options, UNCALIBRATED)[0].argmax()]

    module, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    module.LLM, module.SamplingParams = LLM, lambda **told: SimpleNamespace(**told)
    params.StructuredOutputsParams = lambda **told: SimpleNamespace(**told)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    return seen


def test_it_reads_what_the_scorer_reads_and_is_ended(setting, shows_both_sides, fake):
    measured = vllm.score_vs_vllm_in_process(setting, ROWS, ROUNDS, {"gpu_memory_utilization": 0.2})
    shows_both_sides(measured, {"score", "vLLM, choice"}, ROUNDS)
    assert measured.facts["choice_agrees_with_argmax"] == 1
    assert measured.goal is None
    assert fake.told["gpu_memory_utilization"] == 0.2
    assert fake.told["trust_remote_code"] is False
    assert fake.ended == 1
    assert {len(rows) for rows in fake.fed} == {ROWS}
    assert fake.fed[1] != fake.fed[0], "each round has rows of its own"
