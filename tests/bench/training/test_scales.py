"""GRPO's scales against SFT: who is taught what, that killed runs are gone on with, and that differences are paired."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import toy_task

from bench.training import scales
from bench.training.arms import trainers
from bench.training.arms.run import DANGEROUS, FLIPPED, MISSED, TRADES, Run, rewards_of
from bench.training.kept import read_kept
from bench.training.scales import ARMS, flipped, main, pairs_within, price_table, runs_of, table, train_missing
from labelwright.data.task import group_keys
from labelwright.errors import DataError

TWO = ("clean", "flipped")


def test_within_a_seed_arms_differ_in_nothing_but_the_loss(setting):
    runs = runs_of(setting, TWO, 2)
    for seed in (0, 1):
        mine = [run for run in runs if run.seed == seed]
        assert [run.arm for run in mine] == [*ARMS["clean"], *ARMS["flipped"]]
        assert len({run.held_out for run in mine}) == 1
        assert len({run.train for run in mine if run.setting == "clean"}) == 1
        assert not {*group_keys(mine[0].held_out)} & {*group_keys(mine[0].train)}, "families stay on one side"
    assert not {*runs[0].held_out} & {*runs[-1].held_out}, "another fold a seed"
    keys = [run.key(toy_task().names, "settings") for run in runs]
    assert len({*keys}) == len(keys)


def test_only_train_labels_are_flipped_and_as_many_as_said(setting):
    clean, noisy = (runs_of(setting, [name], 1)[0] for name in TWO)
    changed = [a.label != b.label for a, b in zip(clean.train, noisy.train, strict=True)]
    assert sum(changed) == round(FLIPPED * len(changed))
    assert clean.held_out == noisy.held_out
    assert noisy.train == flipped(clean.train, toy_task().names, 0), "the same ones whoever trains"


def test_soft_rewards_and_prices_are_those_of_the_shipped_labels_only(setting):
    for name in ("soft", "prices"):
        with pytest.raises(DataError, match=f"{name}: .* leave out with --settings clean flipped"):
            runs_of(setting, ["clean", name], 1)
    names = [name for trade in TRADES for name in trade]
    rewards = rewards_of("soft", names)
    assert rewards[names.index("pool"), names.index("fountain")] == 0.5
    assert rewards[names.index("pool"), names.index("car")] == 0
    assert (np.diag(rewards) == 1).all()
    sft, mean = (Run("soft", arm, 0, (), ()) for arm in ("sft", "mean"))
    assert sft.key(names, "") == Run("clean", "sft", 0, (), ()).key(names, ""), "SFT hears nothing of soft rewards"
    assert mean.key(names, "") != Run("clean", "mean", 0, (), ()).key(names, "")
    prices = MISSED * (1 - rewards_of("prices", names))
    assert prices[names.index("hvac"), names.index("pool")] == MISSED
    others = [("hvac", "electric"), ("pool", "hvac"), ("pool", "car")]
    assert [prices[names.index(gold), names.index(said)] for gold, said in others] == pytest.approx([1, 1, 1])
    assert (np.diag(prices) == 0).all()
    assert {*DANGEROUS} < {*names}
    priced = Run("prices", "batch", 0, (), ())
    assert (priced.objective(names).rewards == rewards_of("prices", names)).all()


def test_a_row_costs_by_its_likeliest_and_by_its_cheapest_answer(setting, tmp_path):
    names, rows = toy_task().names, setting.examples
    gold = np.array([names.index(row.label) for row in rows])
    dangerous = gold == names.index("hvac")

    def fake(run):
        """By batch all is certain; SFT finds every row about hvac a little likelier to be about a pool."""
        certain = np.log(np.eye(3) + 1e-9)
        doubted = np.log([{"pool": 0.6, "fence": 1e-9, "hvac": 0.4}[name] for name in names])
        return certain[gold] if run.arm == "batch" else np.where(dangerous[:, None], doubted, certain[gold])

    wanted = [Run("prices", arm, 0, rows, rows) for arm in ("sft", "batch")]
    found = train_missing(setting, wanted, fake, "", tmp_path / "scales.jsonl")
    share = dangerous.mean()
    missed = f"{MISSED * share:.3f}"
    of_sft, cheapest, likeliest, _, _, _, _, of_two = (
        [cell.split(" [")[0] for cell in line.split(" | ")] for line in price_table(found)[3:]
    )
    assert of_sft == ["| sft", "likeliest", f"{100 * (1 - share):.1f}", missed, "–", f"+{missed}"]
    assert cheapest == ["| sft", "cheapest", "100.0", "0.000", f"-{missed}", "– |"]
    assert likeliest == ["| batch", "likeliest", "100.0", "0.000", f"-{missed}", "+0.000"]
    assert of_two == ["| batch", "sft", "+0.000", "+0.0"], "by price both answer every row alike"
    (worse,) = [
        {**one, "cheapest_price": [7.0] * len(rows), "cheapest_right": [False] * len(rows)} for one in found[1:]
    ]
    assert "| batch | sft | +7.000 [" in price_table([found[0], worse])[-1]
    assert " | -100.0 [" in price_table([found[0], worse])[-1]
    assert price_table([{**one, "setting": "clean"} for one in found]) == []


def test_what_is_kept_is_not_trained_again_and_half_a_line_is_passed_over(setting, tmp_path):
    wanted = runs_of(setting, ["clean"], 1)
    trained = []

    def fake(run):
        trained.append(run.arm)
        return np.eye(3)[[toy_task().index(row.label) for row in run.held_out]] * (1 if run.arm == "sft" else -1)

    out = tmp_path / "runs" / "scales.jsonl"
    first = train_missing(setting, wanted[:2], fake, "", out)
    out.write_text(out.read_text() + '{"key": "ha')
    again = train_missing(setting, wanted, fake, "", out)
    assert trained == [run.arm for run in wanted], "each once"
    assert again[:2] == json.loads(json.dumps(first))
    assert len(read_kept(out)) == len(wanted)
    lines = table(again)
    assert "| clean | sft | 100.0 | – |" in "\n".join(lines)
    assert "| clean | group | 0.0 | -100.0 [-100.0, -100.0] |" in "\n".join(lines)


def test_arms_of_a_setting_are_held_against_each_other_and_rewards_are_told_where_they_are_soft():
    def run(setting, arm, right):
        values = {"right": [right, right], "log_loss": [1.0, 1.0], "reward": [right / 2, right / 2]}
        return {"setting": setting, "arm": arm, "seed": 0, "families": ["a", "b"], **values}

    found = [run(*one) for one in (("clean", "sft", 1), ("clean", "group", 0), ("clean", "none", 1))]
    lines = pairs_within([*found, run("soft", "sft", 1), run("soft", "mean", 0)])
    same = "+0.00 [+0.00, +0.00] |"
    assert f"| clean none | clean group | +100.0 [+100.0, +100.0] | {same}" in lines
    assert f"| soft mean | soft sft | -100.0 [-100.0, -100.0] | {same} -50.0 [-50.0, -50.0] |" in lines
    assert len([line for line in lines if "[" in line]) == 3 + 1
    assert not any("clean" in line and "soft" in line for line in lines)


@pytest.fixture
def seen(setting, monkeypatch):
    """What runs depend on besides their own settings, of every command; nothing is trained."""
    abouts = []
    monkeypatch.setattr(scales, "open_setting", lambda path: setting)
    monkeypatch.setattr(scales, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    monkeypatch.setattr(
        scales, "train_missing", lambda setting, wanted, trainer, about, out: abouts.append(about) or []
    )
    monkeypatch.setattr(scales, "table", lambda found: [])
    monkeypatch.setattr(scales, "pairs_within", lambda found: [])
    return abouts


def test_runs_are_known_by_the_code_and_the_model_that_made_them(seen, tmp_path, monkeypatch):
    run = ["--settings", "clean", "--seeds", "1", "--out", str(tmp_path / "out")]
    assert main(run) == main(run) == 0
    monkeypatch.setattr(scales, "code_version", lambda entries: "another loss")
    main(run)
    monkeypatch.setattr(trainers, "content_of", lambda model: "other files")
    main(run)
    first, again, other_code, other_model = map(repr, seen)
    assert first == again
    assert len({first, other_code, other_model}) == 3


def test_the_command_prints_every_pair(setting, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scales, "open_setting", lambda path: setting)
    monkeypatch.setattr(scales, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    right = np.eye(3)
    learns = lambda run: right[[toy_task().index(row.label) for row in run.held_out]]  # noqa: E731
    monkeypatch.setattr(scales, "model_of", lambda setting, steps: (learns, []))
    assert main(["--settings", *TWO, "--seeds", "1", "--arms", "group", "none", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    for pair in ("clean group | clean sft", "clean none | clean group", "flipped none | flipped group"):
        assert f"| {pair} | +0.0 [+0.0, +0.0] | +0.00 [+0.00, +0.00] |" in said


def test_no_seeds_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--seeds", "0"])
    assert "--seeds 0: expected at least 1" in capsys.readouterr().err


def test_how_long_is_trained_can_be_asked_and_what_no_stage_can_do_is_one_line(seen, tmp_path, capsys):
    run = ["--settings", "clean", "--seeds", "1", "--out", str(tmp_path / "out")]
    assert main([*run, "--steps", "50", "--rows-per-step", "16", "--layers", "1"]) == 0
    asked = seen[0][0]
    assert [asked[key] for key in ("steps", "rows_per_step", "rows_per_forward", "lora_layers")] == [50, 16, 16, 1.0]
    assert main([*run, "--layers", "2"]) == 2
    said = capsys.readouterr().err
    assert "lora_layers" in said
    assert said.count("\n") == 1
