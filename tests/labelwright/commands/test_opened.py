"""What a command's options make of the columns of a bundle's text."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import pytest
from fakes import toy_task

from labelwright.commands.opened import named_text

OWN = replace(toy_task(), text_columns=("note", "shot_text", "place"), image_column="shot")


@pytest.mark.parametrize(
    ("task", "image", "text", "names"),
    [
        (OWN, None, None, ("note", "shot_text", "place")),
        (OWN, "photo", None, ("note", "photo_text", "place")),
        (OWN, "photo", ["body"], ("body", "photo_text")),
        (OWN, None, ["body"], ("body",)),
        (toy_task(), "photo", None, ("photo_text",)),
    ],
)
def test_another_column_of_images_takes_the_place_of_the_bundle_s(task, image, text, names):
    assert named_text(Namespace(image_column=image, text_column=text), task).names == names
