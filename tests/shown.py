"""Rows with images for tests: a task that only an image can answer, its rows, and where they are kept."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.data.task import Example, Label, Task
from labelwright.pictures.content import keep_image
from labelwright.pictures.imaged import imaged

COLOURS = {"red": (220, 40, 30), "green": (30, 180, 60), "blue": (40, 60, 210)}
TASK = Task(
    "colours",
    "Name the colour of the image.",
    tuple(map(Label, COLOURS)),
    text_columns=("photo_shown", "question"),
    image_column="photo",
)
QUESTIONS = ("which colour is this", "the colour of the water", "what do you see")


def picture(colour: str, seed: int, size: tuple[int, int] = (40, 40)) -> Any:
    """A noisy square of a colour (PIL)."""
    from PIL import Image

    noise = np.random.default_rng(seed).integers(-25, 26, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def write_rows(folder: Path, n_rows: int = 60, name: str = "photos.csv") -> Path:
    """A CSV file of rows with images in a folder beside it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "question", "label"])
        for n in range(n_rows):
            colour = list(COLOURS)[n % len(COLOURS)]
            picture(colour, n).save(folder / "images" / f"{n}.png")
            writer.writerow([f"images/{n}.png", QUESTIONS[n % 2], colour])
    return folder / name


def shown_examples(folder: Path, n_rows: int = 24) -> list[Example]:
    """The same as examples, their images kept."""
    path = write_rows(folder, n_rows)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Example(str(n), imaged(row["question"], keep_image((folder / row["photo"]).read_bytes())), row["label"])
        for n, row in enumerate(rows)
    ]
