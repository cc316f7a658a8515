"""Every measurement runs on a tiny model and shows both its sides; no test here looks at how fast anything is."""

import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import toy_examples, toy_splits, toy_task
from rich.console import Console
from tiny import tiny_model_folder

from bench import __main__ as command
from bench import memory
from bench.labels import codes_151_vs_18
from bench.machine import machine_facts, product_rate
from bench.results_page import page
from bench.scoring.flops import attention_flops, count_flops, flop_share, only_needed
from bench.scoring.packing import expansion, latency, score_vs_generate
from bench.setting import Setting, open_setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from bench.training.grpo_step import grpo_step_growth, grpo_step_vs_trl, with_prefix
from bench.training.sft import sft_vs_trl
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import LabelwrightError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from workbench.recipe.recipe import read_recipe

RECIPE = """
name = "toy"
seed = 3
[data]
path = "{data}"
group = "group"
[task]
instructions = "Name the topic of the message."
labels = ["pool", "fence", "hvac"]
[model]
name = "{model}"
device = "cpu"
dtype = "float32"
[grpo] # the weights
steps = 90
mode = "exact"
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model_folder(folder)
    return folder


@pytest.fixture(scope="module")
def setting(model):
    engine = TransformersEngine.open(Base(str(model)), EngineSettings(device="cpu", dtype="float32"))
    prompt = Prompt.for_task(toy_task(), engine.template, style="code")
    return Setting(toy_task(), prompt, toy_splits().train, Base(str(model)), engine)


@pytest.fixture
def recipe(model, tmp_path):
    data = tmp_path / "rows.jsonl"
    rows = [{"text": row.text, "label": row.label, "group": row.group} for row in toy_examples()]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE.format(data=data, model=model), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("measure", "sides"),
    [
        (score_vs_generate, {"score", "generate"}),
        (latency, {"score", "generate"}),
        (expansion, {"bounded", "whole"}),
        (flop_share, {"scorer", "product"}),
    ],
)
def test_a_scoring_measurement_shows_both_sides_of_every_round(setting, measure, sides):
    check(measure(setting, n_rows=4, rounds=2), sides, n_rounds=2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_grpo_step_is_timed_in_all_three_trainers_and_leaves_the_engine_alone(setting, dtype):
    settings = EngineSettings(device="cpu", dtype=dtype)
    setting = replace(setting, engine=TransformersEngine.open(setting.weights, settings))
    prompts = setting.rendered(2)
    before = setting.engine.score(prompts, setting.prompt.options)
    measured = grpo_step_vs_trl(setting, n_rows=2, n_rollouts=2, rounds=2, prefix_tokens=0)
    check(measured, {"trl", "sampled", "exact"}, n_rounds=2)
    assert measured.facts["trl_over_exact"]["min"] > 0
    assert (setting.engine.score(prompts, setting.prompt.options) == before).all()


def check(measured: Measurement, sides, n_rounds):
    assert set(measured.sides) == sides
    for side in measured.sides.values():
        assert len(side.values) == n_rounds
        assert all(math.isfinite(value) and value > 0 for value in side.values)
    assert 0 < measured.low <= measured.value <= measured.high
    assert json.loads(json.dumps(measured.as_json()))["sides"].keys() == sides


def test_expansion_compares_the_two_ways_and_puts_the_setting_back(setting):
    default = setting.engine.unexpanded_mass
    assert expansion(setting, n_rows=4, rounds=1).facts["max_probability_difference"] < 1e-3
    assert setting.engine.unexpanded_mass == default > 0


def test_time_is_compared_between_many_and_few_labels(setting, monkeypatch):
    monkeypatch.setattr("bench.labels.N_CODES", 12)  # the tiny model reads 512 tokens
    measured = codes_151_vs_18(setting, n_rows=4, rounds=2)
    check(measured, {"many", "few"}, n_rounds=2)
    assert measured.at_most
    assert (measured.facts["many"]["labels"], measured.facts["few"]["labels"]) == (12, 18)


def test_our_own_step_is_timed_as_it_grows(setting, monkeypatch):
    monkeypatch.setattr("bench.training.grpo_step.PREFIX_TOKENS", 0)
    monkeypatch.setattr("bench.training.grpo_step.BANKING77", Path("not there"))
    measured = grpo_step_growth(setting, n_rows=2, rounds=1)
    assert {"4 rollouts", "16 rollouts", "exact", "exact, prefix 400"} <= set(measured.sides)


def test_fine_tuning_is_timed_and_scored_on_both_sides(setting):
    measured = sft_vs_trl(setting, n_rows=4, rounds=2, steps=2)
    check(measured, {"trl", "ours"}, n_rounds=2)
    facts = measured.facts
    assert facts["train_rows"] + facts["dev_rows"] == len(setting.examples)
    for side in ("untuned", "trl", "ours"):
        assert 0 <= facts[f"dev_{side}"]["accuracy"] <= 1
        assert math.isfinite(facts[f"dev_{side}"]["log_loss"])
    assert facts["dev_trl"] != facts["dev_untuned"] != facts["dev_ours"]


def test_a_prefix_is_lengthened_to_what_was_asked_for(setting):
    longer = with_prefix(setting, 120)
    n_tokens = len(longer.engine.tokens.prefix(longer.prompt.render("")))
    assert 120 <= n_tokens < 140


def test_the_page_shows_every_measurement():
    one = ratio("r", [2.9], goal=3.0, at_most=True, sides={"a": Side("s", (2.0,))})
    machine = {"cpu": "c", "threads": 2, "gpu": None, "torch": "t", "transformers": "f", "date": "d"}
    text = page({"machine": {**machine, "bf16_matmul_flops_per_s": 4e11}, "measurements": {"r": one.as_json()}})
    assert "| r | 2.90 x | 2.90 to 2.90 | at most 3 | yes | a 2.00 s |" in text
    assert "400 GFLOP/s" in text


# --- ratios ----------------------------------------------------------------------------------------------------------


def test_sides_take_turns_and_a_ratio_is_the_median_of_the_rounds():
    log = []

    def side(name, values):
        return lambda: log.append(name) or values.pop(0)

    taken = take_turns({"a": side("a", [2.0, 9.0, 4.0]), "b": side("b", [1.0, 3.0, 1.0])}, rounds=3)
    assert log == ["a", "b"] * 3
    measured = ratio("r", pairwise(taken["a"], taken["b"]), goal=3.0, sides={"a": Side("s", tuple(taken["a"]))})
    # Ratios 2, 3, 4: the ratio of the medians would be 4.
    assert (measured.low, measured.value, measured.high) == (2.0, 3.0, 4.0)
    assert measured.reached
    assert measured.as_json()["sides"]["a"] == {"unit": "s", "median": 4.0, "values": [2.0, 9.0, 4.0]}
    assert ratio("r", [2.9], goal=3.0, sides={}).reached is False
    assert ratio("r", [2.9], sides={}).reached is None
    assert ratio("r", [2.9], goal=3.0, at_most=True, sides={}).reached is True
    assert ratio("r", [3.1], goal=3.0, at_most=True, sides={}).reached is False


# --- arithmetic ------------------------------------------------------------------------------------------------------


def test_a_matrix_product_and_an_attention_call_count_as_by_hand():
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert count_flops(lambda: a @ b) == 2 * 3 * 5 * 7
    query, key = torch.zeros(2, 4, 3, 8), torch.zeros(2, 4, 6, 8)
    per_pair = 2 * 8 + 2 * 8
    assert attention_flops(query, key, key) == 2 * 4 * 3 * 6 * per_pair
    assert attention_flops(query, query, query, is_causal=True) == 2 * 4 * (1 + 2 + 3) * per_pair
    mask = torch.zeros(2, 1, 3, 6, dtype=torch.bool)
    mask[0, 0, 0, :2] = True
    assert attention_flops(query, key, key, attn_mask=mask) == 4 * 2 * per_pair
    assert attention_flops(query, key, key, attn_mask=torch.where(mask, 0.0, float("-inf"))) == 4 * 2 * per_pair


def test_the_kernel_that_the_processor_takes_is_counted():
    query = torch.zeros(1, 2, 3, 8)
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()
    attend = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        assert count_flops(lambda: attend(query, query, query, attn_mask=mask)) == 2 * 6 * 32


def test_scoring_counts_its_weights_its_logits_and_its_attention(setting, monkeypatch):
    """All options of two rows of equal length in one pass, added up by hand from the model's shape."""
    engine, options = setting.engine, setting.prompt.options
    monkeypatch.setattr(engine, "unexpanded_mass", 0.0)
    prompts = [setting.rendered(1)[0]] * 2
    tree = engine.tokens.tree(options)
    n_prefix, n_row = len(engine.tokens.prefix(prompts[0])), len(engine.tokens.row(prompts[0]))
    config = engine.model.config

    heads, width = config.num_attention_heads, config.head_dim
    into_attention = config.hidden_size * width * (heads + 2 * config.num_key_value_heads)
    after = config.hidden_size * width * heads + 3 * config.hidden_size * config.intermediate_size
    n_tokens = n_prefix + 2 * (n_row + tree.n_nodes)
    places = 2 * (1 + tree.n_nodes)
    # In the last layer only what is read goes on after the attention; of the prefix that is one token.
    weights = config.num_hidden_layers * into_attention * n_tokens
    weights += after * ((config.num_hidden_layers - 1) * n_tokens + places + 1)
    # A row's own block is counted whole, masked pairs and all.
    n_block = n_row + tree.n_nodes
    pairs = n_prefix**2 + 2 * n_block * (n_prefix + n_block)
    expected = (
        2 * weights
        + 2 * config.hidden_size * config.vocab_size * places
        + config.num_hidden_layers * heads * pairs * 4 * width
    )

    def score():
        engine.forget()
        engine.score(prompts, options)

    assert only_needed(lambda: count_flops(score)) == expected


def test_machine_facts_are_measured():
    facts = machine_facts()
    assert facts["cpu"]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["bf16_matmul_flops_per_s"] > 0
    assert product_rate(torch.float32, torch.device("cpu")) > 0


# --- setting and command ---------------------------------------------------------------------------------------------


def test_rows_come_from_train_and_dev_only(recipe):
    from workbench.recipe.rows import make_splits, read_rows

    read = read_recipe(recipe)
    splits = make_splits(read_rows(read), read.splits, read.seed)
    setting = open_setting(recipe)
    assert sorted(row.id for row in setting.examples) == sorted(row.id for row in (*splits.train, *splits.dev))


def test_the_command_writes_what_it_measured(recipe, tmp_path, capsys):
    out = tmp_path / "new" / "results.json"
    code = command.main(["--quick", "--only", "latency", "expansion", "--recipe", str(recipe), "--out", str(out)])
    assert code == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert list(written["measurements"]) == ["latency", "expansion"]
    assert written["quick"] is True
    assert written["machine"]["torch"] == torch.__version__
    assert "latency" in capsys.readouterr().err


def test_a_wrong_recipe_is_one_line(tmp_path, capsys):
    assert command.main(["--recipe", str(tmp_path / "none.toml"), "--only", "latency"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_read_off_the_newest_finished_run(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    states = {
        "20260101-000000": {"finished": True, "steps": [{"folder": "0-untuned", "peak_memory_bytes": 5}]},
        "20260102-000000": {
            "finished": True,
            "steps": [{"folder": "0-untuned", "peak_memory_bytes": 7}, {"folder": "1-grpo", "peak_memory_bytes": 9}],
        },
        "20260103-000000": {"steps": [{"folder": "0-untuned", "peak_memory_bytes": 11}]},
    }
    for stamp, state in states.items():
        folder = Path("runs/toy") / stamp
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    measured = memory.peak_memory_demo(recipe)
    assert measured.value == 9
    assert measured.facts["source"] == "finished run 20260102-000000"
    assert measured.facts["by_step"] == {"0-untuned": 7, "1-grpo": 9}


def test_without_a_finished_run_a_shortened_demo_is_watched(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        memory, "peak_of", lambda command, folder: seen.append(read_recipe(folder / "memory.toml")) or 3
    )
    measured = memory.peak_memory_demo(recipe)
    assert measured.value == 3
    assert measured.facts["source"] == "shortened demo"
    short = seen[0]
    assert short.stage("grpo").steps == 2
    assert short.stage("grpo").mode == "exact"
    assert short.data.path == read_recipe(recipe).data.path
    assert short.model == read_recipe(recipe).model


def test_the_recipe_that_ships_can_be_shortened(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(memory.shortened(Path("runs/homeowner.toml")), encoding="utf-8")
    short, whole = read_recipe(path), read_recipe("runs/homeowner.toml")
    assert short.stage("gepa").max_metric_calls < whole.stage("gepa").max_metric_calls
    assert short.stage("grpo").rows_per_step == whole.stage("grpo").rows_per_step
    assert Path(short.data.path).is_absolute()


def test_a_childs_peak_is_its_own(tmp_path):
    """The child's memory counts, this process's does not."""
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    small = memory.peak_of([sys.executable, "-c", "pass"], tmp_path)
    large = memory.peak_of([sys.executable, "-c", "b'x' * 100_000_000"], tmp_path)
    assert small < 60_000_000
    assert large - small > 80_000_000


def test_a_demo_that_fails_says_what_it_said(tmp_path):
    with pytest.raises(LabelwrightError, match="no such luck"):
        memory.peak_of([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path)


def test_the_table_has_a_line_for_every_measurement():
    console = Console(width=200, record=True, file=io.StringIO())
    measured = ratio("speed", [4.0, 5.0], goal=3.0, sides={"ours": Side("rows/s", (2500.0,))})
    console.print(command._table([measured]))
    text = console.export_text()
    assert "speed" in text
    assert "2500 rows/s" in text
    assert "yes" in text
