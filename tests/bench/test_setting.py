"""What every measurement runs on."""

from bench.setting import open_setting
from workbench.recipe.read import read_recipe


def test_rows_come_from_train_and_dev_only(recipe):
    from workbench.recipe.rows import make_splits, read_rows

    read = read_recipe(recipe)
    splits = make_splits(read_rows(read), read.splits, read.seed)
    setting = open_setting(recipe)
    assert sorted(row.id for row in setting.examples) == sorted(row.id for row in (*splits.train, *splits.dev))
    assert sorted(row.id for row in setting.on_dev().examples) == sorted(row.id for row in splits.dev)
