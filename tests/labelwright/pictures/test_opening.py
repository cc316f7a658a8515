"""Images of every kind come out as a person sees them; what is no image, or too much of one, is refused in a line."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelwright.errors import DataError
from labelwright.pictures.opening import KINDS, ImageLimits, open_image, read_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def left_red(mode="RGB", size=(8, 4)) -> Image.Image:
    """Red on its left half, white on the right."""
    image = Image.new("RGB", size, WHITE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def near(pixel, colour, by=12) -> bool:
    return all(abs(one - other) <= by for one, other in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_opened_as_rgb(kind, tmp_path):
    path = tmp_path / "image"  # what it holds counts, not what it is called
    path.write_bytes(saved(left_red(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    for source in (path, str(path), path.read_bytes()):
        image = open_image(source)
        assert (image.mode, image.size) == ("RGB", (8, 4))
        assert near(image.getpixel((0, 0)), RED, 40)
        assert near(image.getpixel((7, 3)), WHITE, 40)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (left_red("CMYK"), {"format": "TIFF"}),
        (left_red("CMYK"), {"format": "JPEG", "quality": 100, "subsampling": 0}),
        (left_red("P"), {"format": "PNG"}),
        (left_red("P"), {"format": "GIF"}),
        (left_red("RGBA"), {"format": "PNG"}),
    ],
    ids=["cmyk-tiff", "cmyk-jpeg", "palette-png", "palette-gif", "alpha"],
)
def test_colours_are_those_that_were_saved(image, options):
    opened = open_image(saved(image, options.pop("format"), **options))
    assert near(opened.getpixel((1, 1)), RED, 25)
    assert near(opened.getpixel((6, 1)), WHITE)


def test_what_is_transparent_is_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    assert [open_image(saved(image)).getpixel((x, 0)) for x in (0, 1)] == [WHITE, (0, 0, 0)]
    grey = open_image(saved(image.convert("LA")))
    assert grey.getpixel((0, 0)) == WHITE
    keyed = Image.new("P", (2, 1))
    keyed.putpalette([0, 0, 0, 9, 9, 9])
    keyed.putpixel((1, 0), 1)
    assert open_image(saved(keyed, transparency=0)).getpixel((0, 0)) == WHITE
    assert open_image(saved(keyed, transparency=0)).getpixel((1, 0)) == (9, 9, 9)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_keep_their_brightness(kind):
    levels = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    image = open_image(saved(Image.fromarray(levels), kind))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]


def test_pixels_that_are_no_colours_are_refused():
    with pytest.raises(DataError, match="pixels of kind F"):
        open_image(saved(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_as_the_camera_was_held(orientation):
    """Pillow's own way is the reference: the same pixels, whatever EXIF says."""
    from PIL import ImageOps

    rng = np.random.default_rng(orientation)
    image = Image.fromarray(rng.integers(0, 256, (3, 5, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(image, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert np.array_equal(np.asarray(open_image(content)), np.asarray(expected))


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), WHITE)]
    for kind in ("GIF", "PNG", "WEBP"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert near(open_image(content).getpixel((0, 0)), RED, 20), kind


def test_a_tiff_of_several_pages_is_refused():
    pages = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), WHITE)]
    with pytest.raises(DataError, match="several pages; save each page"):
        open_image(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert open_image(saved(pages[0], "TIFF", compression="tiff_deflate")).getpixel((0, 0)) == RED


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_tiny_images_open(size):
    assert open_image(saved(Image.new("1", size, 1))).size == size


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "rows.png").write_text("id,text\n1,hello\n")
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    for name, said in {
        "rows.png": "is of no known kind, or damaged; expected PNG, JPEG, GIF, BMP, TIFF or WEBP",
        "empty.png": "is empty",
        "gone.png": "is missing; check the path",
        "pipe.png": "is no file but a pipe or a device",
        ".": "is a folder|is no file",
        "a\0b": "cannot be read",
    }.items():
        with pytest.raises(DataError, match=said) as raised:
            open_image(tmp_path / name, name=name)
        assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match="the image is of no known kind"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # would start a program


def bomb_png(width: int, height: int) -> bytes:
    """A PNG whose header tells of many pixels; its data unpack to a tenth of a megabyte only."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100_000))), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("size", [(10_000, 9_000), (100_000, 100_000), (50_000, 10), (12_000, 9_000)])
def test_more_pixels_than_allowed_are_refused_by_the_header(size):
    """Also where Pillow would only warn, from 89 million on, and where it would say nothing."""
    with pytest.raises(DataError, match="pixels"):
        open_image(bomb_png(*size))


def test_bytes_are_counted_before_they_are_read(tmp_path):
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(40 * 2**30)  # takes no room on the disk
    with pytest.raises(DataError, match=f"has {40 * 2**30} bytes, more than"):
        open_image(path)
    with pytest.raises(DataError, match="has 11 bytes, more than 10"):
        open_image(b"x" * 11, limits=ImageLimits(n_bytes=10))
    with pytest.raises(DataError, match="the image is no file"):
        read_image("/dev/zero")


def test_what_is_refused_is_closed(tmp_path):
    """A file of rows may name a folder a thousand times."""
    long = tmp_path / "long.png"
    long.write_bytes(b"x" * 11)
    open_before = os.open(tmp_path, os.O_RDONLY)
    os.close(open_before)
    for place in (tmp_path, long, Path("/dev/zero"), tmp_path / "none"):
        for _ in range(3):
            with pytest.raises(DataError):
                read_image(place, limits=ImageLimits(n_bytes=10))
    assert len(read_image(long)) == 11
    # The system gives the lowest number that is free.
    open_after = os.open(tmp_path, os.O_RDONLY)
    os.close(open_after)
    assert open_after == open_before


_OPEN = """
import io, resource, sys
from PIL import Image
import numpy
from labelwright.errors import DataError
from labelwright.pictures.opening import open_image
content = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_image(content)
except DataError as error:
    print("refused", end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_of_every_kind_take_no_memory():
    """Each unpacks to gigabytes from some kilobytes; refused with at most 64 MiB more than before."""
    big = Image.new("1", (15_000, 15_000))
    bombs = {
        "PNG": saved(big, "PNG"),
        "GIF": saved(big, "GIF"),
        "TIFF": saved(big, "TIFF", compression="tiff_deflate"),
        "WEBP": saved(Image.new("RGB", (15_000, 15_000)), "WEBP", lossless=True, method=0),
        "text": saved(Image.new("L", (1, 1)), "PNG")[:-12]
        + (lambda data: struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data)))(
            b"Comment\0\0" + zlib.compress(bytes(300 * 2**20))
        ),
    }
    for kind, content in bombs.items():
        assert len(content) < 2 * 2**20, kind
        done = subprocess.run([sys.executable, "-c", _OPEN], input=content, capture_output=True, check=True)
        *refused, n_mb = done.stdout.decode().split()
        assert refused == ["refused"] or kind == "text", kind
        assert int(n_mb) < 64, f"{kind} took {n_mb} MiB"


SOUND = {kind: saved(left_red(size=(40, 30)), kind) for kind in KINDS}


@given(kind=st.sampled_from(KINDS), data=st.data())
def test_damage_is_a_data_error_or_an_image(kind, data):
    """Never another exception, whichever bytes a disk or a stranger changed, and wherever the file ends."""
    content = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(DataError):
        assert open_image(cut).mode == "RGB"


def test_half_an_image_is_damaged():
    content = saved(Image.effect_noise((60, 60), 90), "PNG")
    with pytest.raises(DataError, match="is damaged"):
        open_image(content[: len(content) // 2])
