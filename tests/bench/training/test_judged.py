"""Learning from a judge: who is taught which rows and what of them, and that the judge is asked once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from chat_server import ChatServer, serving_chat
from fakes import toy_task

from bench.training import judged
from bench.training.arms.run import UNTUNED
from bench.training.arms.trainers import TEMPERATURE, Steps, head_of, model_of
from bench.training.judged import GOLD, HIGHEST, JUDGED, SPREAD, of_judge, runs_of
from labelwright.errors import DataError
from optimizers.training.judge.rating import Rated

NAMES = toy_task().names


def rated_in_turn(setting) -> Rated:
    """Every third row wrongly, every third by two labels alike, every third rightly; the last one by nobody."""
    rows, rewards = setting.examples[:-1], []
    for number, row in enumerate(rows):
        gold = np.eye(len(NAMES))[setting.task.index(row.label)]
        rewards.append((0.2 + 0.6 * np.roll(gold, 1), 0.5 * (gold + np.roll(gold, 1)), 0.9 * gold)[number % 3])
    return Rated(rows, np.array(rewards), {})


def test_every_arm_is_taught_the_same_rows_and_no_label_of_theirs(setting):
    rated = rated_in_turn(setting)
    ratings = dict(zip([row.id for row in rated.rows], rated.rewards.tolist(), strict=True))
    runs = {(run.setting, run.arm): run for run in runs_of(setting, rated, judged.ARMS, 1)}
    assert [*runs] == [*((JUDGED, arm) for arm in judged.ARMS), (GOLD, HIGHEST)]
    gold, group, sft = runs[GOLD, HIGHEST], runs[JUDGED, "group"], runs[JUDGED, HIGHEST]
    ids = [row.id for row in gold.train]
    assert all([row.id for row in run.train] == ids for run in runs.values())
    assert setting.examples[-1].id not in ids, "nobody rated it"
    assert not {*ids} & {row.id for row in gold.held_out}
    assert group.objective(NAMES).row_rewards.tolist() == [ratings[row.id] for row in group.train]
    assert all(ratings[row.id][NAMES.index(row.label)] == max(ratings[row.id]) for row in sft.train)
    right = {row.id: row.label for row in gold.train}
    assert right == {row.id: row.label for row in setting.examples if row.id in right}
    assert any(row.label != right[row.id] for row in sft.train), "what the judge says, wrong as it is"
    targets = runs[JUDGED, SPREAD].targets()
    assert targets.sum(axis=1) == pytest.approx(1)
    assert sft.targets() is None
    assert len({run.held_out for run in runs.values()}) == 1


def test_a_row_whose_labels_are_rated_alike_teaches_nobody_and_where_none_is_left_that_is_said(setting):
    rows = setting.examples
    rewards = np.eye(len(NAMES))[[setting.task.index(row.label) for row in rows]]
    rewards[::2] = 0.5
    taught = {row.id for run in runs_of(setting, Rated(rows, rewards, {}), judged.ARMS, 2) for row in run.train}
    assert taught <= {row.id for row in rows[1::2]}
    with pytest.raises(DataError, match=r"seed 0: the judge tells no labels apart .*; ask about more rows"):
        runs_of(setting, Rated(rows, np.zeros_like(rewards), {}), judged.ARMS, 2)


def test_other_ratings_are_other_runs_but_for_what_is_taught_by_labels(setting):
    rated = rated_in_turn(setting)
    other = Rated(rated.rows, rated.rewards[:, ::-1], {})
    keys, others = ([run.key(NAMES, "") for run in runs_of(setting, one, judged.ARMS, 1)] for one in (rated, other))
    assert len({*keys}) == len(keys)
    assert {*keys} & {*others} == {keys[-1]}, "the right labels are the same"


def test_the_judge_itself_is_right_by_the_share_of_labels_it_rates_highest(setting):
    rated = rated_in_turn(setting)
    rewards = np.concatenate([rated.rewards[:-1], np.zeros((1, len(NAMES)))])
    n = len(rewards) - 1
    lines = of_judge(setting, Rated(rated.rows, rewards, {}))
    alone = [number % 3 for number in range(n) if number % 3 != 1]
    assert f"{n + 1} of {n + 2} rows have ratings; in {n} of these labels are told apart" in lines[0]
    assert f"in {len(alone)} one label alone" in lines[0]
    assert f"0.9 {sum(one == 2 for one in alone)} times" in lines[1]
    share = sum((0, 0.5, 1)[number % 3] for number in range(n)) / n
    assert lines[2].startswith(f"Where labels are told apart, the highest is right: {100 * share:.1f} [")
    assert lines[3].startswith(f"Where one label is highest alone, the highest is right: {50 * np.mean(alone):.1f} [")


def test_by_the_mean_of_all_or_nothing_is_sft_on_what_is_rated_highest(setting, monkeypatch):
    """What the head learns as well, whose encoder is one of random vectors here."""
    vectors: dict[str, np.ndarray] = {}
    chance = np.random.default_rng(0)

    class Encoder:
        def embed(self, texts, **_):
            return np.stack([vectors.setdefault(text, chance.normal(size=8) / 3) for text in texts]).astype(np.float32)

    monkeypatch.setattr("bench.training.arms.trainers.open_encoder", Encoder)
    rows = setting.examples
    one_hot = Rated(rows, np.roll(np.eye(len(NAMES)), 1, axis=1)[[setting.task.index(row.label) for row in rows]], {})
    trainer, _ = head_of(setting)
    runs = {run.arm: run for run in runs_of(setting, one_hot, judged.ARMS, 1) if run.setting == JUDGED}
    found = {arm: trainer(run) for arm, run in runs.items()}
    assert found["mean"] == pytest.approx(found[HIGHEST], abs=1e-4)
    assert found[SPREAD] == pytest.approx(found[HIGHEST], abs=1e-4)
    assert not np.allclose(found["group"], found[HIGHEST], atol=1e-2)
    names = Encoder().embed(NAMES)
    asked = Encoder().embed([row.text for row in runs[UNTUNED].held_out])
    assert found[UNTUNED] == pytest.approx(asked @ names.T / TEMPERATURE, abs=1e-4)
    graded = Rated(rows, rated_in_turn(setting).rewards[np.arange(len(rows)) % (len(rows) - 1)], {})
    runs = {run.arm: run for run in runs_of(setting, graded, judged.ARMS, 1) if run.setting == JUDGED}
    assert not np.allclose(trainer(runs["mean"]), trainer(runs[HIGHEST]), atol=1e-2)


def test_the_model_learns_from_ratings_and_shares_and_untuned_learns_nothing(setting):
    runs = {run.arm: run for run in runs_of(setting, rated_in_turn(setting), judged.ARMS, 1)}
    trainer, _ = model_of(setting, Steps(steps=1, rows_per_step=4, rows_per_forward=4, learning_rate=5e-2))
    first, group, spread = (trainer(runs[arm]) for arm in (UNTUNED, "group", SPREAD))
    texts = [row.text for row in runs[UNTUNED].held_out]
    rendered = [setting.prompt.render(text) for text in texts]
    assert first == pytest.approx(setting.engine.score(rendered, setting.prompt.options), abs=1e-4)
    assert not np.allclose(first, group)
    assert not np.allclose(group, spread)


def test_the_command_asks_once_and_prints_what_was_learnt(setting, tmp_path, monkeypatch, capsys):
    def says(system: str, turns: Sequence[str]) -> str:
        return json.dumps({name: 9 if name in turns[0].rsplit("message:", 1)[1] else 2 for name in NAMES})

    monkeypatch.setattr(judged, "open_setting", lambda path: setting)
    monkeypatch.setattr(judged, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    monkeypatch.setattr(judged, "RUNS", tmp_path)
    right = np.eye(len(NAMES))
    learns = lambda run: right[[setting.task.index(row.label) for row in run.held_out]]  # noqa: E731
    monkeypatch.setattr(judged, "model_of", lambda setting, steps: (learns, []))
    server = ChatServer(says)
    with serving_chat(server) as url:
        command = ["--url", url, "--model", "big", "--rows", "12", "--seeds", "1", "--arms", "mean"]
        assert judged.main(command) == judged.main(command) == 0
    assert len(server.requests) == 12
    said = capsys.readouterr()
    assert f"12 of {len(setting.examples)} rows have ratings" in said.out
    assert "| judged mean | judged sft |" in said.out
    assert "| judged | mean | 100.0 | +0.0 [+0.0, +0.0] |" in said.out
    assert "12 of 12 rows put to big" in said.err


@pytest.mark.parametrize("option", ["--rows", "--seeds"])
def test_no_rows_and_no_seeds_are_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        judged.main(["--url", "http://127.0.0.1:9/v1", "--model", "big", option, "0"])
    assert f"{option} 0: expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(("url", "said"), [("no address", 'reward "judge": url'), ("http://127.0.0.1:9/v1", "big: ")])
def test_a_judge_that_is_not_there_is_one_line(setting, monkeypatch, tmp_path, capsys, url, said):
    monkeypatch.setattr("programs.asking._RETRIES", 0)
    monkeypatch.setattr(judged, "open_setting", lambda path: setting)
    monkeypatch.setattr(judged, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    monkeypatch.setattr(judged, "RUNS", tmp_path)
    assert judged.main(["--url", url, "--model", "big"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
