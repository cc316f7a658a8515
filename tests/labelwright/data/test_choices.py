import numpy as np
import pytest
from fakes import FakeEngine
from hypothesis import given
from hypothesis import strategies as st
from rows import as_letters

from labelwright.bundle.store import load, save, verify
from labelwright.bundle.types import Bundle
from labelwright.classifier import Classifier
from labelwright.cli import main
from labelwright.data.asked.classes import letters_of
from labelwright.data.choice_cells import choices_and_marks
from labelwright.data.choices import lettered, over_letters, rotations, split_lettered
from labelwright.data.task import Example, Label, Task, examples_from_records
from labelwright.decide import log_scores, probabilities
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

TASK = Task("quiz", "Answer the question.", max_choices=4)


class LikesLetters(FakeEngine):
    """Prefers choices whose words are in the question, and, much more, the letter A."""

    def _row(self, prompt, options):
        question, choices = split_lettered(prompt.user)
        asked = set(question.lower().split())
        values = np.full(len(options), 5.0)  # a letter that the row does not use must not win
        values[: len(choices)] = [2.0 * len(asked & set(choice.lower().split())) for choice in choices]
        values[0] += 3.0
        return values - np.logaddexp.reduce(values)


def bundle(**calibration):
    return Bundle(TASK, Prompt.for_task(TASK, FakeEngine().template), Base("fake"), Calibration(**calibration))


lines = st.text(min_size=1).map(lambda text: " ".join(text.split())).filter(bool)


@given(st.text().filter(lambda text: text.strip()), st.lists(lines, min_size=2, max_size=26))
def test_lettered_texts_come_apart_as_they_were(question, choices):
    text = lettered(question, choices)
    assert split_lettered(text) == (question.strip(), tuple(choices))
    assert letters_of([text], 26).sum() == len(choices)


@given(st.lists(lines, min_size=2, max_size=6, unique=True))
def test_every_choice_stands_behind_every_letter_once(choices):
    orders = [split_lettered(text)[1] for text in rotations(lettered("q", choices))]
    assert len(orders) == len(choices)
    for place in range(len(choices)):
        assert sorted(order[place] for order in orders) == sorted(choices)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ([], "0 choice"),
        (["a"], "1 choice"),
        (["x"] * 27, "27"),
    ],
)
def test_bad_choices_are_refused(choices, said):
    with pytest.raises(DataError, match=said):
        lettered("q", choices, "row 3")


def test_a_row_becomes_a_row_over_letters():
    row = as_letters(Example("1", "What floats?", "wood", choices=("stone", "wood")))
    assert (row.text, row.label, row.group) == ("What floats?\nA. stone\nB. wood", "B", "question: What floats?")
    with pytest.raises(DataError, match="none of its choices"):
        as_letters(Example("1", "What floats?", "cork", choices=("stone", "wood")))
    with pytest.raises(DataError, match="several of its choices"):
        as_letters(Example("1", "What floats?", "wood", choices=("wood", "wood")))
    with pytest.raises(DataError, match="row 1: the row has no choices"):
        as_letters(Example("1", "What floats?", "cork"))


def test_the_prompt_lists_no_labels_and_the_options_are_letters():
    prompt = bundle().prompt
    assert prompt.options == (" A", " B", " C", " D")
    assert "Labels" not in prompt.system
    assert prompt.render(lettered("What floats?", ["stone", "wood"])).user == "What floats?\nA. stone\nB. wood"


def test_letters_that_a_row_does_not_use_have_no_probability():
    texts = [lettered("wood floats", ["stone", "wood"]), lettered("is it red", ["red", "green", "blue", "grey"])]
    probs = probabilities(bundle(), LikesLetters(), texts)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (probs[0, 2:] == 0).all()
    assert (probs[1] > 0).all()


def test_rotations_cancel_a_liking_for_a_letter():
    engine, text = LikesLetters(), lettered("wood floats", ["stone", "brick", "wood"])
    assert probabilities(bundle(), engine, [text])[0].argmax() == 0
    turned = probabilities(bundle(rotations=True), engine, [text, lettered("wood floats", ["wood", "stone"])])
    assert turned.argmax(axis=1).tolist() == [2, 0]
    # What stands where no longer matters: the probabilities follow the choices.
    again = probabilities(bundle(rotations=True), engine, [lettered("wood floats", ["wood", "stone", "brick"])])
    np.testing.assert_allclose(again[0, :3], turned[0, [2, 0, 1]])


def test_rotations_change_nothing_for_shared_labels():
    task = Task("t", "Name it.", (Label("pool"), Label("fence")))
    one = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration(rotations=True))
    assert log_scores(one, FakeEngine(), ["the pool"]).shape == (1, 2)


def test_the_classifier_answers_with_the_choice(tmp_path):
    classifier = Classifier.from_bundle(bundle(rotations=True), engine=LikesLetters())
    rows = [("wood floats", ["stone", "brick", "wood"]), ("is it red", ["green", "red"])]
    assert classifier.predict(rows).tolist() == ["wood", "red"]
    with pytest.raises(DataError, match="pair"):
        classifier.predict([3])
    with pytest.raises(DataError, match="no lettered choices"):
        classifier.predict(["wood floats"])


def test_a_bundle_keeps_choices_and_rotations(tmp_path, monkeypatch, capsys):
    engine = LikesLetters()
    golden = [as_letters(Example("1", "wood floats", "wood", choices=("stone", "wood")))]
    saved = save(bundle(rotations=True), tmp_path / "b", engine=engine, golden=golden)
    assert (saved.task, saved.prompt, saved.calibration) == (TASK, bundle().prompt, Calibration(rotations=True))
    assert verify(tmp_path / "b", engine).ok
    assert load(tmp_path / "b").task.by_row

    import labelwright.engines.opening

    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda weights, settings, **_: engine)
    folder = str(tmp_path / "b")
    assert main(["predict", folder, "wood floats", "--json", "--choices", "stone", "wood"]) == 0
    assert '"label": "wood"' in capsys.readouterr().out
    assert main(["predict", folder, "wood floats"]) == 2
    assert "no choices" in capsys.readouterr().err
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "wood floats", "choices": ["stone", "wood"], "label": "wood"}\n' * 3)
    assert main(["predict", folder, "--input", str(rows)]) == 0
    assert '"probabilities": {"stone": ' in capsys.readouterr().out
    assert main(["evaluate", folder, "--input", str(rows)]) == 0
    assert "accuracy     1.000" in capsys.readouterr().out


# ------------------------------------------------------------------------------------- choices as datasets have them

ARC = {"text": ["stone", "wood", "iron"], "label": ["A", "B", "C"]}


@pytest.mark.parametrize(
    ("choices", "gold"),
    [
        (ARC, "B"),
        (ARC, "wood"),
        ({"text": ["stone", "wood", "iron"], "label": ["1", "2", "3"]}, "2"),
        ({"A": "stone", "B": "wood", "C": "iron"}, "B"),
        ([{"text": "stone", "label": "A"}, {"text": "wood", "label": "B"}, {"text": "iron", "label": "C"}], "B"),
        ([{"text": "stone"}, {"text": "wood"}, {"text": "iron"}], "wood"),
        ('{"text": ["stone", "wood", "iron"], "label": ["A", "B", "C"]}', "B"),
        ("['stone', 'wood', 'iron']", "wood"),
        (np.array(["stone", "wood", "iron"]), "wood"),
        ({"text": np.array(["stone", "wood", "iron"]), "label": np.array(["A", "B", "C"])}, "B"),
        (["stone", "wood", "iron"], "B"),
        (["stone", "wood", "iron"], "b"),
        (["stone", "wood", "iron"], "(B)"),
    ],
)
def test_choices_and_labels_in_the_forms_of_datasets(choices, gold):
    columns = {"text": "q", "label": "answer", "choices": "choices"}
    rows = examples_from_records([{"q": "What floats?", "answer": gold, "choices": choices}], columns, "data")
    assert over_letters(rows)[0].label == "B"
    assert over_letters(rows)[0].choices == ("stone", "wood", "iron")


def golds(*labels, n=3):
    choices = ("stone", "wood", "iron", "cork")[:n]
    return [Example(str(i), f"q {i}", str(label), choices=choices) for i, label in enumerate(labels)]


def letters(*labels, **how):
    return "".join(row.label for row in over_letters(golds(*labels), "quiz.csv", **how))


def test_numbers_are_counted_as_all_rows_together_say():
    assert letters(0, 1, 2) == "ABC"
    assert letters(1, 2, 3) == "ABC"
    assert letters("0.0", "1.0") == "AB"
    with pytest.raises(
        DataError, match=r"quiz.csv: the labels can be read as numbers from 0 or as numbers from 1"
    ) as error:
        letters(1, 2)
    assert "[data] choice_label = 'index0' or 'index1'" in str(error.value)
    assert letters(1, 2, label_as="index0") == "BC"
    assert letters(1, 2, label_as="index1") == "AB"


def test_readings_that_mean_different_choices_are_refused():
    rows = [Example("1", "q", "A", choices=("B", "A"))]
    with pytest.raises(DataError, match="texts of choices or as letters, and mean different"):
        over_letters(rows)
    assert over_letters(rows, label_as="text")[0].label == "B"
    assert over_letters(rows, label_as="letter")[0].label == "A"
    # One row that is no letter settles it.
    assert [row.label for row in over_letters([*rows, Example("2", "q", "cork", choices=("A", "cork"))])] == ["B", "B"]


def test_every_label_that_is_no_choice_is_named():
    with pytest.raises(DataError) as error:
        letters("wood", "steel", "stone", "steel", "iron")
    assert str(error.value).startswith("quiz.csv, rows 2 and 4: the label 'steel' is none of its choices")
    with pytest.raises(DataError, match=r"rows 1 and 2: the row has no choices; .*; row 3: the row has 1 choice"):
        over_letters([*[Example("1", "q", "a")] * 2, Example("3", "q", "a", choices=("a",))])


@pytest.mark.parametrize(
    "choices", [7, "a or b", {"text": "a"}, ["a", ["b"]], {"text": ["a", "b"], "label": ["A"]}, "[" * 9999]
)
def test_cells_that_are_no_choices(choices):
    with pytest.raises(DataError, match=r"data, row 1: (the choices are not a list|2 choices have 1 labels)"):
        examples_from_records([{"q": "?", "a": "a", "c": choices}], {"text": "q", "label": "a", "choices": "c"}, "data")
    with pytest.raises(DataError, match="the choice holds half a character"):
        examples_from_records(
            [{"q": "?", "a": "a", "c": ["a", "\ud83d"]}], {"text": "q", "label": "a", "choices": "c"}, "data"
        )


@pytest.mark.parametrize(
    "value",
    [
        {"text": ["a", "b"], "label": 5},
        {"text": ["a", "b"], "label": "AB"},
        {"a", "b"},
        "{'a', 'b'}",
        b"ab",
    ],
)
def test_choices_without_an_order_or_with_half_their_labels_are_refused(value) -> None:
    with pytest.raises(DataError, match="the choices"):
        choices_and_marks(value)


def test_choices_whose_labels_are_missing_have_none() -> None:
    assert choices_and_marks({"text": ["a", "b"], "label": None}) == (("a", "b"), ())
