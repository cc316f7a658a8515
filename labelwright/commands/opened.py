"""A bundle and its engine, opened as a command's options say."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.data.columns import TextColumns, image_shown, image_text
from labelwright.data.formats.places import shown
from labelwright.data.records import Fault, Row
from labelwright.engines.settings import BACKENDS, EngineSettings
from labelwright.errors import DataError, RecipeError
from labelwright.models.weights import is_language_model
from labelwright.pictures.rows import CHUNK_ROWS as PICTURES_CHUNK_ROWS
from labelwright.pictures.rows import with_texts

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.data.task import Task
    from labelwright.engines.protocol import Engine
    from labelwright.models.weights import Weights

_IN_PROCESS = EngineSettings.backend


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Where a bundle's model runs, and how it reads."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps, ... (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    parser.add_argument("--backend", default=_IN_PROCESS, help=f"one of {', '.join(BACKENDS)} (default: {_IN_PROCESS})")
    parser.add_argument("--url", default="", help="of the server that a backend asks; ends in /v1")
    parser.add_argument(
        "--long-rows",
        default="",
        help="rows longer than the model reads: refuse them, keep their head, or head_tail (default: the bundle's)",
    )
    parser.add_argument(
        "--unexpanded-mass",
        type=float,
        metavar="SHARE",
        help="of a row's probability that options left unexpanded may hold; 0 expands all (default: the bundle's)",
    )


def add_text_option(parser: argparse.ArgumentParser) -> None:
    """Which columns of a file's rows are the text, where they are not the bundle's."""
    parser.add_argument(
        "--text-column",
        action="append",
        metavar="NAME",
        help="column of the text; once for each where it is several (default: the bundle's, or text)",
    )
    parser.add_argument(
        "--image-column",
        metavar="NAME",
        help="column of images, read by OCR or shown to the model as the bundle has it, beside --text-column or alone "
        "(default: the bundle's, if it has one)",
    )


def named_text(arguments: argparse.Namespace, task: Task) -> TextColumns:
    """The columns that were named, or the task's; an image's text behind the former, in its place in the latter."""
    image = _image_column(arguments, task)
    if not image:
        return TextColumns.of(arguments.text_column) if arguments.text_column else task.text
    if image == task.image_column and not arguments.text_column:
        return task.text
    if task.shows_images:
        return TextColumns.of([image_shown(image), *(arguments.text_column or task.text_columns[1:])])
    if arguments.text_column or not task.image_column:
        return TextColumns.of([*(arguments.text_column or []), image_text(image)])
    own = image_text(task.image_column)
    return TextColumns.of([image_text(image) if name == own else name for name in task.text_columns])


def reading(arguments: argparse.Namespace, bundle: Bundle, source: str) -> dict[str, Any]:
    """How ``label_rows`` is to read the rows of a file, or of whatever ``source`` names."""
    from labelwright.labelling import CHUNK_ROWS

    is_pictures = bool(arguments.image_column or bundle.task.image_column)
    return {
        "text": named_text(arguments, bundle.task),
        "choices": arguments.choices_column,
        "source": shown(source),
        "chunk_rows": PICTURES_CHUNK_ROWS if is_pictures else CHUNK_ROWS,
        "top": arguments.top,
    }


def with_image_texts(
    rows: Iterable[Row | Fault], arguments: argparse.Namespace, task: Task, folder: Path | None
) -> Iterator[Row | Fault]:
    """The rows, each with the text of its image where rows have images.

    ``folder`` is that of their file; without one, as on stdin, an image comes with its row.
    """
    return with_texts(rows, named_text(arguments, task), _image_column(arguments, task), folder)


def _image_column(arguments: argparse.Namespace, task: Task) -> str:
    """The column of images; other columns of text may do without the text of an image, and never without the image."""
    is_left = arguments.text_column and not task.shows_images
    return arguments.image_column or ("" if is_left else task.image_column)


def add_promise_options(parser: argparse.ArgumentParser) -> None:
    """Which answers are given at all, and what is promised of them."""
    parser.add_argument(
        "--max-error",
        type=float,
        metavar="SHARE",
        help="give no label where more of the answered rows might be wrong; 1 answers all (default: the bundle's)",
    )
    parser.add_argument(
        "--confidence", type=float, metavar="SHARE", help="with which that is promised (default: the bundle's, 0.95)"
    )
    parser.add_argument(
        "--by-label",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="promise it for the rows of each answered label",
    )
    parser.add_argument(
        "--sets", type=float, metavar="SHARE", help="with each answer a set of labels that so often holds the right one"
    )


def open_bundle(arguments: argparse.Namespace, folder: Path | None = None) -> tuple[Bundle, Engine]:
    """The bundle in a folder, by default the command's own, and what scores its rows.

    Raises
    ------
    RecipeError
        Options that mean nothing for this bundle.
    DataError
        A promise that it cannot keep.
    """
    from labelwright.engines.opening import open_engine

    bundle, _ = asked_bundle(arguments, folder)
    settings = EngineSettings(
        backend=arguments.backend,
        device=arguments.device,
        dtype=arguments.dtype,
        url=arguments.url,
        long_rows=arguments.long_rows or bundle.long_rows,
        unexpanded_mass=bundle.unexpanded_mass if arguments.unexpanded_mass is None else arguments.unexpanded_mass,
        thinking_tokens=bundle.prompt.template.thinking_tokens,
    )
    if bundle.scope is not None:
        bundle.scope.open()
    return bundle, open_engine(bundle.weights, settings, to_score=True)


def asked_bundle(arguments: argparse.Namespace, folder: Path | None = None) -> tuple[Bundle, list[Weights]]:
    """The bundle alone, with what is asked of its promise, and all weights that answer: its members', or its own.

    Raises as above.
    """
    from labelwright.bundle.store import load, members_of

    folder = folder or arguments.bundle
    bundle = load(folder)
    each = [member.weights for member in members_of(bundle.weights)] or [bundle.weights]
    if not any(map(is_language_model, each)):
        _refuse_model_options(arguments, folder, bundle.weights.base, len(each))
    return (_asked(bundle, arguments, folder) if hasattr(arguments, "max_error") else bundle), each


def _asked(bundle: Bundle, arguments: argparse.Namespace, folder: Path) -> Bundle:
    """The bundle with what is asked of its promise; what it cannot keep is refused before a model is loaded."""
    wanted = {name: getattr(arguments, name) for name in ("max_error", "confidence", "by_label", "sets")}
    try:
        return replace(bundle, promise=bundle.promise.ask(**wanted))
    except (DataError, RecipeError) as error:
        raise type(error)(f"{folder}: {error}") from error


def _refuse_model_options(arguments: argparse.Namespace, folder: Path, name: str, n_members: int) -> None:
    """Nobody should believe that a server, or a GPU, gave answers which it did not."""
    given = {
        "--backend": arguments.backend != _IN_PROCESS,
        "--url": bool(arguments.url),
        "--device": arguments.device not in ("auto", "cpu"),
    }
    if any(given.values()):
        what = "a small classifier that runs" if n_members == 1 else f"{n_members} small classifiers that run"
        options = " and ".join(option for option, is_given in given.items() if is_given)
        raise RecipeError(
            f"{folder} holds {name}, {what} in this process without a language model: leave out {options}"
        )
