"""Images for tests: some with nothing to see, and an OCR that reads what was written into them without any model."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from labelwright.pictures.layout import Page, Piece

# As the text of a PNG chunk, so that it survives the way through files.
_COLOURS = 16


def png(text: str = "", size: tuple[int, int] = (64, 32)) -> bytes:
    """A small image that stands for one with this text; ``FakeOcr`` reads it."""
    buffer = io.BytesIO()
    about = PngInfo()
    about.add_text("written", text)
    image = Image.new("RGB", size, "white")
    for place, byte in enumerate(text.encode()[: size[0] * size[1]]):
        image.putpixel((place % size[0], place // size[0]), (byte, 0, 0))
    image.save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


def data_address(content: bytes) -> str:
    """Bytes as ``data:`` addresses have them."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


class FakeOcr:
    """Reads the text that ``png`` wrote into the pixels; counts what it reads."""

    version = "fake-1"

    def __init__(self, *_: object) -> None:
        self.n_read = 0

    def read(self, image: Image.Image) -> Page:
        self.n_read += 1
        pixels = [image.getpixel((x, y)) for y in range(image.height) for x in range(image.width)]
        text = bytes(red for red, green, _ in pixels if green == 0).decode()
        lines = [line for line in text.split("\n") if line]
        found = [Piece(line, 0, 14.0 * i, 6.0 * len(line), 14.0 * i + 10) for i, line in enumerate(lines)]
        return Page(tuple(found), *image.size)


def folder_of_images(folder: Path, texts: dict[str, str]) -> None:
    """Images by name, each with its text."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(text))
