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
from bench.training.judged import GOLD, HIGHEST, JUDGED, SPREAD, of_judge, runs_of
from bench.training.scales import UNTUNED, Steps, model_of
from optimizers.training.judge.rating import Rated

NAMES = toy_task().names


def rated_in_turn(setting) -> Rated:
    """Every third row wrongly, every third by two labels alike, every third rightly; the last one by nobody."""
    rows, rewards = setting.examples[:-1], []
    for number, row in enumerate(rows):
        gold = np.eye(len(NAMES))[setting.task.index(row.label)]
        rewards.append((0.2 + 0.6 * np.roll(gold, 1), 0.5 * (gold + np.roll(gold, 1)), 0.9 * gold)[number % 3])
    return Rated(rows, np.array(rewards), {})


def test_every_arm_is_taught_the_rows_it_can_learn_from_and_no_label_of_theirs(setting):
    rated = rated_in_turn(setting)
    ratings = dict(zip([row.id for row in rated.rows], rated.rewards.tolist(), strict=True))
    runs = {(run.setting, run.arm): run for run in runs_of(setting, rated, judged.ARMS, 1)}
    assert [*runs] == [*((JUDGED, arm) for arm in judged.ARMS), (GOLD, HIGHEST)]
    gold, group, sft = runs[GOLD, HIGHEST], runs[JUDGED, "group"], runs[JUDGED, HIGHEST]
    assert {row.id for row in (*gold.train, *gold.held_out)} <= {row.id for row in setting.examples}
    assert setting.examples[-1].id not in {row.id for row in gold.train}, "nobody rated it"
    assert [row.id for row in group.train] == [row.id for row in gold.train]
    assert group.objective(NAMES).row_rewards.tolist() == [ratings[row.id] for row in group.train]
    assert all(sum(one == max(ratings[row.id]) for one in ratings[row.id]) == 1 for row in sft.train)
    assert 0 < len(sft.train) < len(group.train)
    assert all(row.label == NAMES[int(np.argmax(ratings[row.id]))] for row in sft.train)
    right = {row.id: row.label for row in gold.train}
    assert any(row.label != right[row.id] for row in sft.train), "what the judge says, wrong as it is"
    targets = runs[JUDGED, SPREAD].targets()
    assert targets.sum(axis=1) == pytest.approx(1)
    assert sft.targets() is None
    assert len({run.held_out for run in runs.values()}) == 1


def test_a_row_whose_labels_are_rated_alike_teaches_neither_sft_nor_shares(setting):
    rows = setting.examples
    rewards = np.eye(len(NAMES))[[setting.task.index(row.label) for row in rows]]
    rewards[::2] = 0
    runs = {run.arm: run for run in runs_of(setting, Rated(rows, rewards, {}), judged.ARMS, 1) if run.setting == JUDGED}
    assert [row.id for row in runs[SPREAD].train] == [row.id for row in runs[HIGHEST].train]
    assert len(runs[SPREAD].train) < len(runs["mean"].train)
    assert np.isfinite(runs[SPREAD].targets()).all()


def test_other_ratings_are_other_runs_but_for_what_is_taught_by_labels(setting):
    rated = rated_in_turn(setting)
    other = Rated(rated.rows, rated.rewards[:, ::-1], {})
    keys, others = ([run.key(NAMES, "") for run in runs_of(setting, one, judged.ARMS, 1)] for one in (rated, other))
    assert len({*keys}) == len(keys)
    assert {*keys} & {*others} == {keys[-1]}, "the right labels are the same"


def test_the_judge_itself_is_right_by_the_share_of_labels_it_rates_highest(setting):
    (line,) = of_judge(setting, rated_in_turn(setting))
    n = len(setting.examples) - 1
    share = sum((0, 0.5, 1)[number % 3] for number in range(n)) / n
    assert f"the right label's: {100 * share:.1f} [" in line
    assert f"{n} of {n + 1} rows have ratings" in line


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
    assert "| judged | mean | 100.0 | +0.0 [+0.0, +0.0] |" in said.out
    assert "12 of 12 rows put to big" in said.err


def test_no_seeds_and_a_judge_that_is_not_there_are_one_line(setting, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        judged.main(["--url", "http://127.0.0.1:9/v1", "--model", "big", "--rows", "0"])
    assert "--rows 0: expected at least 1" in capsys.readouterr().err
    monkeypatch.setattr(judged, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    assert judged.main(["--url", "no address", "--model", "big"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'reward "judge": url' in said
