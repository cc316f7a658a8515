"""Which bundles are asked what plain text in a row does to them."""

from __future__ import annotations

from bench import persuasion


def test_the_newest_bundle_of_every_candidate_is_found(tmp_path) -> None:
    import os

    for candidate, key, at in [("a", "1", 1), ("a", "2", 2), ("b", "3", 3)]:
        (tmp_path / candidate / key).mkdir(parents=True)
        (tmp_path / candidate / key / "bundle.json").touch()
        os.utime(tmp_path / candidate / key / "bundle.json", (at, at))
    (tmp_path / "steps").mkdir()
    assert [(name, folder.name) for name, folder in persuasion.kept_bundles(tmp_path)] == [("a", "2"), ("b", "3")]
    assert list(persuasion.kept_bundles(tmp_path / "absent")) == []


def test_rows_with_their_own_choices_are_refused(tmp_path, capsys) -> None:
    recipe = tmp_path / "quiz.toml"
    recipe.write_text('[data]\npath = "rows.jsonl"\nchoices = "choices"\n[task]\ninstructions = "Choose."\n')
    assert persuasion.main(["--recipe", str(recipe)]) == 2
    assert "rows bring their own choices" in capsys.readouterr().err
