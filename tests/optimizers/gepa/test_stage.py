import json
import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples, toy_splits
from gepa_search import QUICK, RecordingTracker, hard_splits, run
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import Example, Label, Task, group_keys
from labelwright.decide import log_scores, probabilities
from labelwright.decisions.decision import LIKELIEST
from labelwright.engines.one_hot import one_hot
from labelwright.errors import ModelError, RecipeError
from labelwright.prompt import Prompt
from labelwright.statistics.metrics import answers
from optimizers.calibration_choice import best_calibration
from optimizers.gepa import reflection
from optimizers.gepa.choice.confirmation import least_families
from optimizers.gepa.choice.objective import Objective
from optimizers.gepa.sampling import EXPECTED_REWARD, n_first
from optimizers.gepa.search import metric_of
from optimizers.gepa.stage import GepaStage, hold_back
from optimizers.scores import gold_of
from optimizers.stage import StageContext
from rewards.label_match import LabelMatch

NAMES = toy_bundle().task.names
ROOT = Path(__file__).parents[3]
# A search over so few rows finds what they confirm under some seeds; under this one it does.
CONFIRMED = 4


class FailingEngine(FakeEngine):
    """Stops working after some calls."""

    def __init__(self, n_calls):
        super().__init__()
        self.left = n_calls

    def score(self, prompts, options):
        self.left -= 1
        if self.left < 0:
            raise MemoryError("the machine is full")
        return super().score(prompts, options)


def dev_value(bundle, splits, seed=0):
    """The expected reward on dev, calibrated as the calibrate stage does it, cross-fitted."""
    scores = log_scores(bundle, FakeEngine(), [row.text for row in splits.dev])
    gold = gold_of(bundle, splits.dev)
    probs = best_calibration(scores, gold, group_keys(splits.dev), seed=seed).probs
    return float(probs[np.arange(len(gold)), gold].mean())


def test_dev_improves_and_the_history_says_by_how_much(tmp_path):
    splits = hard_splits()
    bundle, tracker, engine = run(tmp_path, splits, seed=CONFIRMED)
    (entry,) = bundle.history
    assert entry["improved"]
    assert entry["dev_before"] == pytest.approx(dev_value(toy_bundle(), splits, CONFIRMED))
    assert entry["dev_after"] == pytest.approx(dev_value(bundle, splits, CONFIRMED))
    assert entry["dev_after"] >= entry["dev_before"] + 0.15
    assert entry["note"].startswith("taken: program")
    told = entry["confirmation"][-1]
    assert told["held_back_gain"][0] == pytest.approx(entry["held_back_after"] - entry["held_back_before"])
    assert told["p_value"] <= 0.05
    assert entry["held_back_after"] > entry["held_back_before"]
    assert entry["overfitting"] == pytest.approx(entry["dev_after"] - entry["held_back_after"])
    assert entry["prompt_tokens_after"] == engine.count_tokens(bundle.prompt.system) > entry["prompt_tokens_before"]
    assert tracker.prompts == {"before": toy_bundle().prompt.shown, "after": bundle.prompt.shown}
    json.dumps(entry)


def test_the_stages_own_thread_makes_every_engine_call(tmp_path):
    threads = set()

    class Watched(FakeEngine):
        def score(self, prompts, options):
            threads.add(threading.current_thread())
            return super().score(prompts, options)

    run(tmp_path, engine=Watched(), max_metric_calls=100)
    assert threads == {threading.current_thread()}


def test_nothing_but_instructions_changes(tmp_path):
    bundle, _, _ = run(tmp_path)
    before = toy_bundle()
    assert bundle.prompt == before.prompt.with_instructions(bundle.prompt.instructions)
    assert (bundle.task, bundle.weights, bundle.calibration) == (before.task, before.weights, before.calibration)


def test_counts_add_up(tmp_path):
    bundle, tracker, _ = run(tmp_path, hard_splits(), seed=CONFIRMED)
    entry = bundle.history[-1]
    assert entry["n_tried"] == entry["n_kept"] + entry["n_rejected"] + entry["n_failed"] > 4
    programs = json.loads((tmp_path / "programs.json").read_text())
    assert len(programs) == entry["n_kept"] + 1
    assert max(one["dev_score"] for one in programs) == pytest.approx(entry["dev_best"])
    assert [step for step, _ in tracker.curves] == list(range(len(programs)))
    assert tracker.curves[-1][1]["gepa/best_dev_score"] == pytest.approx(entry["dev_best"])
    names = ("programs.json", "programs-tree.png", "pareto-front.png")
    assert tracker.artifacts == [tmp_path / name for name in names]
    done, total, message = tracker.seen[-1]
    assert (done, total) == (300, 300)
    assert message == f"best {entry['dev_best']:.2f}, taken"
    assert 300 <= entry["metric_calls"] < 300 + 3 * 9 + len(hard_splits().dev)


def test_the_search_begins_with_several_programs_from_the_first(tmp_path):
    """Of twice as many proposals as may go on to dev, several do; later steps make two."""
    splits = hard_splits()
    n = n_first(300, len(splits.dev), 9, 2)
    run(tmp_path, splits, seed=CONFIRMED)
    steps = json.loads((tmp_path / "gepa" / "proposals.json").read_text())
    tried = [steps[key]["tried"] for key in sorted(steps, key=int)]
    assert tried[0] == 2 * n > 2
    assert set(tried[1:]) == {2}
    assert 1 < steps[min(steps, key=int)]["kept"] <= n


def test_rows_reach_the_engine_in_batches(tmp_path):
    splits = hard_splits()
    _, _, engine = run(tmp_path, splits)
    sizes = Counter(n for n, _ in engine.calls)
    held_back = {len(hold_back(splits.train, 0.3, 0)[1])}
    assert set(sizes) <= {len(splits.dev), 9} | held_back


def test_held_back_rows_take_no_part_in_the_search(tmp_path):
    class Listening(FakeEngine):
        def __init__(self):
            super().__init__()
            self.texts = []

        def score(self, prompts, options):
            self.texts.append([prompt.user for prompt in prompts])
            return super().score(prompts, options)

    splits, engine = hard_splits(), Listening()
    run(tmp_path, splits, engine)
    _, held_back = hold_back(splits.train, 0.3, 0)
    hidden = {row.text for row in held_back}
    # They are asked at the end: under the first instructions, and under those that are tried.
    search = [set(batch) for batch in engine.texts]
    while search and search[-1] == hidden:
        search.pop()
    assert 2 <= len(engine.texts) - len(search) <= 4
    assert not hidden & set().union(*search)


def test_the_same_bundle_where_the_rows_held_back_do_not_confirm_what_dev_says(tmp_path):
    """Their texts say nothing here, and instructions that read words cannot gain on them."""
    splits = hard_splits()
    hidden = {row.id for row in hold_back(splits.train, 0.3, CONFIRMED)[1]}
    # No two alike, or they would be one family, and other rows be held back.
    said = {row.id: sha256(row.id.encode()).hexdigest() for row in splits.train}
    mute = [replace(row, text=said[row.id]) if row.id in hidden else row for row in splits.train]
    splits = replace(splits, train=tuple(mute))
    assert {row.id for row in hold_back(splits.train, 0.3, CONFIRMED)[1]} == hidden
    bundle, _, _ = run(tmp_path, splits, seed=CONFIRMED)
    entry = bundle.history[-1]
    assert bundle.prompt == toy_bundle().prompt
    assert entry["improved"] is False
    assert entry["dev_before"] == entry["dev_after"] < entry["dev_best"]
    assert re.match(
        r"not taken: program \d+, on \d+ held-back rows \(\d+ families\) expected_reward gained", entry["note"]
    )
    sure, _, _ = run(tmp_path / "dev", splits, seed=CONFIRMED, confidence=0.0)
    assert sure.prompt != bundle.prompt
    assert sure.history[-1]["note"].startswith("taken on validation alone")


def test_ids_that_must_not_regress_and_are_of_no_row_are_named_at_once(tmp_path):
    splits = toy_splits()
    ids = ("pool-x", splits.dev[0].id, splits.calib[0].id)
    with pytest.raises(RecipeError) as caught:
        run(tmp_path, splits, must_not_regress=ids)
    assert str(caught.value).startswith(
        f"gepa.must_not_regress: no row of train or dev has the id 'pool-x', '{ids[2]}'; name rows"
    )


def test_a_program_that_breaks_a_guarded_row_is_not_taken(tmp_path):
    """What a search took before is refused once the rows that it gave up are named."""
    splits = hard_splits()
    free, _, _ = run(tmp_path / "free", splits, holdout_share=0.0)
    texts = [row.text for row in (*splits.dev, *splits.train)]
    before, after = (answers(probabilities(bundle, FakeEngine(), texts)) for bundle in (toy_bundle(), free))
    gold = gold_of(free, [*splits.dev, *splits.train])
    (entry,) = free.history
    assert entry["improved"]
    every = [row.id for row in (*splits.dev, *splits.train)]
    guarded, _, _ = run(tmp_path / "guarded", splits, holdout_share=0.0, must_not_regress=tuple(every))
    entry = guarded.history[-1]
    assert ((before == gold) & (after != gold)).any()
    assert guarded.prompt != free.prompt
    assert any(one["regressed"] for one in entry["confirmation"])
    assert "(must_not_regress)" in entry["note"]


@pytest.mark.parametrize("n_calls", [0, 1, 4, 9])
def test_a_search_cut_short_ends_as_if_it_had_not_been(tmp_path, n_calls):
    splits = hard_splits()
    whole, whole_tracker, _ = run(tmp_path / "whole", splits)
    with pytest.raises(MemoryError, match="the machine is full"):
        run(tmp_path / "cut", splits, FailingEngine(n_calls))
    again, tracker, engine = run(tmp_path / "cut", splits)
    assert again == whole
    assert json.loads((tmp_path / "cut/programs.json").read_text()) == json.loads(
        (tmp_path / "whole/programs.json").read_text()
    )
    assert tracker.curves == whole_tracker.curves
    if n_calls == 9:
        assert len(engine.calls) < len(run(tmp_path / "third", splits)[2].calls)


def test_killed_and_started_again(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
        from gepa_search import FakeEngine, hard_splits, run

        class Deadly(FakeEngine):
            def score(self, prompts, options):
                if len(self.calls) == 8:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().score(prompts, options)

        run(Path(sys.argv[2]), hard_splits(), Deadly())
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(ROOT), str(tmp_path / "cut")], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert killed.returncode == -9
    assert run(tmp_path / "cut", hard_splits())[0] == run(tmp_path / "whole", hard_splits())[0]


def test_a_finished_search_is_not_repeated(tmp_path):
    splits = hard_splits()
    first, _, _ = run(tmp_path, splits)
    again, _, engine = run(tmp_path, splits)
    assert again == first
    assert engine.calls == []  # dev and the held-back rows are kept as well


def test_state_of_another_search_is_not_continued(tmp_path):
    splits = hard_splits()
    run(tmp_path / "a", splits, token_budget=60)
    changed, _, _ = run(tmp_path / "a", splits, token_budget=50)
    fresh, _, _ = run(tmp_path / "b", splits, token_budget=50)
    assert changed == fresh


class Runs:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("place", ["gepa_state.bin", "state.kept", "both"])
def test_state_that_a_stranger_left_is_not_run(tmp_path, place):
    """A run folder that somebody sent: its inputs are ours, its state is a pickle that would make a file."""
    splits = hard_splits()
    first, _, _ = run(tmp_path / "run", splits)
    state, kept = tmp_path / "run/gepa/gepa_state.bin", tmp_path / "run/gepa/state.kept"
    assert state.is_file()
    assert kept.is_file()
    payload = pickle.dumps(Runs(tmp_path / "made"))
    if place != "state.kept":
        state.write_bytes(payload)
    if place != "gepa_state.bin":
        kept.write_bytes(kept.read_bytes()[:32] + payload)
    again, _, engine = run(tmp_path / "run", splits)
    assert not (tmp_path / "made").exists()
    assert again == first
    # With the copy unharmed the search goes on; without it, it begins anew.
    assert (engine.calls == []) == (place == "gepa_state.bin")


def test_a_link_in_place_of_the_state_leads_nowhere(tmp_path):
    splits = hard_splits()
    first, _, _ = run(tmp_path / "run", splits)
    (tmp_path / "run/gepa").rename(tmp_path / "elsewhere")
    payload = pickle.dumps(Runs(tmp_path / "made"))
    (tmp_path / "elsewhere/gepa_state.bin").write_bytes(payload)
    (tmp_path / "elsewhere/state.kept").unlink()
    (tmp_path / "run/gepa").symlink_to(tmp_path / "elsewhere")
    again, _, _ = run(tmp_path / "run", splits)
    assert not (tmp_path / "made").exists()
    assert again == first
    assert (tmp_path / "elsewhere/gepa_state.bin").read_bytes() == payload


def test_state_of_another_user_is_not_read_and_that_is_said(tmp_path, monkeypatch):
    splits = hard_splits()
    first, _, _ = run(tmp_path / "run", splits)
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    again, tracker, _ = run(tmp_path / "run", splits)
    assert again == first
    assert any("state of another machine is not read: begins anew" in said for _, _, said in tracker.seen)
    key = tmp_path / "cache" / "key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_broken_tracker_is_not_silent(tmp_path):
    class Broken(RecordingTracker):
        def progress(self, done, total, message=""):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(tmp_path, tracker=Broken())


class FakeReflection:
    """Stands in for ``Reflection``: replies in turn, and raises what is an exception."""

    def __init__(self, *replies):
        self.replies, self.n_asked = replies, 0

    def __call__(self, instruction, rows, rng, token_budget):
        reply = self.replies[self.n_asked % len(self.replies)]
        self.n_asked += 1
        if isinstance(reply, Exception):
            raise reply
        return reply


def use(monkeypatch, reflect):
    monkeypatch.setattr(reflection, "Reflection", lambda *args: reflect)


@pytest.mark.parametrize(
    "reply", [ValueError("no JSON in the reply"), "", "word " * 400, toy_bundle().prompt.instructions]
)
def test_no_usable_proposal_is_an_error(tmp_path, monkeypatch, reply):
    reflect = FakeReflection(reply)
    use(monkeypatch, reflect)
    with pytest.raises(ModelError, match=r"none of \d+ proposals from fake/model could be used"):
        run(tmp_path, hard_splits(), reflection_model="fake/model")
    assert 10 <= reflect.n_asked < 14  # given up early, each asked once


def test_some_failures_are_counted(tmp_path, monkeypatch):
    good = "Name it.\npool: chlorine, skimmer, liner\nfence: post, panel, gate\nhvac: furnace, duct, vent"
    use(monkeypatch, FakeReflection(ValueError("bad"), good))
    entry = run(tmp_path, hard_splits(), reflection_model="fake/model")[0].history[-1]
    assert entry["n_failed"] > 0
    assert entry["n_tried"] == entry["n_kept"] + entry["n_rejected"] + entry["n_failed"]
    assert entry["improved"]
    assert entry["proposer"] == "fake/model"


def test_reflection_asks_the_language_model(monkeypatch):
    import random

    import dspy
    from dspy.lm15 import Message, Response, TextPart, Usage

    asked = []

    class Backend:
        def complete(self, request):
            asked.append(request)
            part = TextPart(json.dumps({"new_instruction": "Look for water."}))
            usage = Usage(input_tokens=0, output_tokens=0, total_tokens=0)
            return Response(id=None, model="fake", message=Message.assistant([part]), finish_reason="stop", usage=usage)

    monkeypatch.setattr(
        reflection, "open_reflection_lm",
        lambda model, url, temperature: dspy.LM(model, engine=Backend(), temperature=temperature, cache=False),
    )  # fmt: skip
    row = {"Inputs": {"text": "liner leaks"}, "Generated Outputs": {"label": "hvac"}, "Feedback": "Wrong: gold pool."}
    reflect = reflection.Reflection("fake/model", "", 1.0, lambda: None)
    assert reflect("Name it.", [row], random.Random(0), 300) == "Look for water."
    told = str(asked[0])
    assert all(part in told for part in ("Name it.", "liner leaks", "Wrong: gold pool.", "200 words"))


def test_secrets_are_taken_out_of_what_is_said_of_proposals(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-12345678")
    use(monkeypatch, FakeReflection(ValueError("bad key\nsk-12345678 \x1b[31m given")))
    with pytest.raises(ModelError, match=r"ValueError: bad key \*\*\* .x1b\[31m given"):
        run(tmp_path, hard_splits(), reflection_model="fake/model")


def test_nothing_is_printed(tmp_path, capfd):
    run(tmp_path, hard_splits())
    out, err = capfd.readouterr()
    assert out == err == ""
    assert logging.getLogger("dspy").level == logging.INFO  # and the log is back afterwards


@pytest.mark.parametrize(
    "settings",
    [
        {"max_metric_calls": 0},
        {"minibatch_size": 2.5},
        {"holdout_share": 0.9},
        {"token_budget": True},
        {"candidate_selection": "best"},
        {"reflection_temperature": -1},
        {"objective": "hits"},
        {"confidence": 1.0},
        {"confidence": 0.9999},
        {"validation_share": 0.9},
        {"must_not_regress": ("",)},
    ],
)
def test_settings_out_of_range(settings):
    (name,) = settings
    with pytest.raises(RecipeError, match=rf"gepa\.{name}"):
        GepaStage(**settings)


def test_descriptions_that_are_read_as_another_label_s_are_refused_before_the_search(tmp_path):
    task = Task("t", "Name it.", (Label("a", "b: foo"), Label("a: b")))
    bundle = replace(toy_bundle(), task=task, prompt=Prompt.for_task(task, toy_bundle().prompt.template))
    context = StageContext(tmp_path, RecordingTracker(), lambda weights: FakeEngine(), 0)
    stage = GepaStage(components=("descriptions",))
    with pytest.raises(RecipeError, match=r"gepa\.components: .*'a: b' is described twice.*\[\"instructions\"\]") as no:
        stage.run(bundle, toy_splits(), context)
    assert "\n" not in str(no.value)


def test_a_budget_below_the_instructions(tmp_path):
    with pytest.raises(RecipeError, match="raise the budget"):
        run(tmp_path, token_budget=3)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 0.5), seed=st.integers(0, 99), n_groups=st.integers(1, 9))
def test_hold_back_keeps_groups_and_labels(share, seed, n_groups):
    rows = toy_examples(n_groups)
    kept, out = hold_back(rows, share, seed)
    assert sorted([*kept, *out], key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)
    assert not {row.group for row in kept} & {row.group for row in out}
    assert {row.label for row in kept} == {row.label for row in rows}
    assert {row.label for row in out} == ({row.label for row in rows} if share > 0 and n_groups > 1 else set())


def test_near_copies_are_not_parted_and_guarded_families_not_held_back():
    rows = [replace(row, group=None) for row in toy_examples(6)]
    copies = [replace(row, id=f"{row.id} again", text=f"{row.text.upper()}!") for row in rows]
    for seed in range(4):
        kept, out = hold_back([*rows, *copies], 0.4, seed)
        assert not {row.text.lower() for row in kept} & {row.text.lower().rstrip("!") for row in out}
        assert len(out) == 2 * len({row.id.split()[0] for row in out}) > 0
        _, without = hold_back([*rows, *copies], 0.4, seed, never=out[:3])
        assert without
        assert not {row.id.split()[0] for row in without} & {row.id.split()[0] for row in out[:3]}


@pytest.mark.parametrize("n_groups", [2, 4, 9, 30])
def test_of_a_small_train_so_many_families_are_held_back_as_can_confirm(n_groups):
    rows = toy_examples(n_groups)
    kept, out = hold_back(rows, 0.15, 0, least=6)
    groups = {name: ({row.group for row in kept if row.label == name}, {row.group for row in out if row.label == name})
              for name in NAMES}  # fmt: skip
    assert all(len(held) <= len(searched) for searched, held in groups.values())
    assert sum(len(held) for _, held in groups.values()) == {2: 3, 4: 6, 9: 6, 30: 12}[n_groups]
    assert set(hold_back(rows, 0.15, 0)[1]) <= set(out)
    assert hold_back(rows, 0.0, 0)[1] == ()


def test_a_search_that_nothing_could_confirm_is_not_paid_for(tmp_path):
    splits = hard_splits()
    few = replace(splits, train=tuple(row for row in splits.train if row.group in ("pool-1", "fence-1", "pool-2")))
    bundle, tracker, engine = run(tmp_path, few)
    (entry,) = bundle.history
    assert engine.calls == []
    assert bundle.prompt == toy_bundle().prompt
    assert re.match(
        r"not searched: \d families of train rows can be held back, .* takes 6; add train rows", entry["note"]
    )
    assert tracker.seen[-1][2] == entry["note"]


def test_a_group_is_no_row_of_its_name():
    """Row "1" has no group, and the other two are the group "1": two groups, of which one is held back."""
    rows = [Example("1", "the liner", "pool"), *(Example(id, "a post", "pool", group="1") for id in "23")]
    parts = [hold_back(rows, 0.5, seed) for seed in range(9)]
    assert {len(out) for _, out in parts} == {1, 2}


def test_the_metric_scores_the_answer_and_the_distribution():
    import dspy

    hits = Objective("reward", np.eye(2), LIKELIEST)
    metric = metric_of(LabelMatch(), hits, ("pool", "fence"))
    gold = dspy.Example(text="liner", label="pool").with_inputs("text")
    said = dspy.Prediction(label="fence", probabilities={"pool": 0.4, "fence": 0.6})
    sure = metric(gold, said)
    assert (sure.score, sure.objective_scores) == (0.0, {EXPECTED_REWARD: pytest.approx(0.4)})
    assert "gold is pool 0.40" in sure.feedback
    smooth = metric_of(LabelMatch(), replace(hits, name="log_loss"), ("pool", "fence"))(gold, said)
    assert smooth.score == smooth.objective_scores[EXPECTED_REWARD] == pytest.approx(1 + np.log2(0.4))
    text_only = metric(gold, dspy.Prediction(label="pool", probabilities={}))
    assert (text_only.score, text_only.objective_scores) == (1.0, {EXPECTED_REWARD: 1.0})


def test_the_module_is_light_to_import():
    code = (
        "import sys, optimizers.gepa.stage; print([m for m in ('dspy', 'gepa', 'torch', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert GepaStage.name == "gepa"


def test_the_search_scores_as_the_classifier_that_ships_will_answer(tmp_path):
    """A liking for a label, here one that drowns everything else, is calibrated away before anything is compared."""
    engine, splits = FakeEngine(), hard_splits()

    class Biased(FakeEngine):
        def score(self, prompts, options):
            return super().score(prompts, options) + 4.0 * np.eye(len(options))[0]

    context = StageContext(tmp_path, RecordingTracker(), lambda weights: Biased(), 0)
    entry = GepaStage(**QUICK).run(toy_bundle(engine), splits, context).history[-1]
    share = sum(row.label == "pool" for row in splits.dev) / len(splits.dev)
    assert entry["dev_before"] > share
    assert entry["dev_before"] == pytest.approx(dev_value(toy_bundle(), splits), abs=0.03)


def test_rows_without_a_usable_answer_are_wrong_for_the_search_too(tmp_path):
    class Mute(FakeEngine):
        """A server: names winners, and says nothing usable where the row has the word broke."""

        has_probabilities = False

        def score(self, prompts, options):
            winners = super().score(prompts, options).argmax(axis=1)
            return one_hot(np.where(["broke" in prompt.user for prompt in prompts], -1, winners), len(options))

    engine, splits = Mute(), toy_splits()
    context = StageContext(tmp_path, RecordingTracker(), lambda weights: engine, 0)
    bundle = GepaStage(**QUICK).run(toy_bundle(), splits, context)
    probs = probabilities(toy_bundle(), engine, [row.text for row in splits.dev])
    right = [k >= 0 and NAMES[k] == row.label for k, row in zip(answers(probs), splits.dev, strict=True)]
    assert (answers(probs) < 0).any()
    assert bundle.history[-1]["dev_before"] == pytest.approx(sum(right) / len(right))
    assert bundle.history[-1]["held_back_before"] <= 0.5


def test_guarded_rows_do_not_confirm_what_they_chose(tmp_path):
    splits = hard_splits()
    _, out = hold_back(splits.train, 0.3, 0)
    _, tracker, _ = run(tmp_path, splits, must_not_regress=tuple(row.id for row in out))
    held = hold_back(splits.train, 0.3, 0, least_families(0.95), out)[1]
    assert tracker.values["n_held_back"] == len(held) > 0
    assert not {row.group for row in held} & {row.group for row in out}
