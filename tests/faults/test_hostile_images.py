"""Pictures that want to fill the memory, or that are unusual but right."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.GifImagePlugin import GifImageFile
from sandbox import run

from speech2vid.media import load_photo

LIMIT_MB = 700  # more than the largest photo that is allowed takes, far less than what these ask for


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *extra: bytes, data: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + b"".join(extra) + end


def jpeg(width: int, height: int, photo: Path) -> bytes:
    content = bytearray(photo.read_bytes())
    at = next(content.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in content)
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def tiff(width: int, height: int) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 0xFFFFFFF0)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


def bomb_text(megabytes: int) -> bytes:
    return png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(megabytes << 20), 9))


REFUSED: dict[str, Callable[[Path], bytes]] = {
    "png 60000": lambda photo: png(60_000, 60_000),
    "png 2^31": lambda photo: png(0x7FFFFFFF, 0x7FFFFFFF),
    "png 0 wide": lambda photo: png(0, 10),
    "png of one row": lambda photo: png(0x7FFFFFFF, 1),
    "jpeg 60000": lambda photo: jpeg(60_000, 60_000, photo),
    "gif 65535": lambda photo: (
        b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;"
    ),
    "bmp 60000": lambda photo: bmp(60_000, -60_000),
    "bmp 2^31": lambda photo: bmp(0x7FFFFFFF, 0x7FFFFFFF),
    "tiff 60000": lambda photo: tiff(60_000, 60_000),
    "webp cut": lambda photo: b"RIFF\xff\xff\xff\x7fWEBPVP8L\xff\xff\xff\x7f/\xff\xff\xff\xff",
    "text": lambda photo: b"not an image",
    "svg": lambda photo: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "postscript": lambda photo: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n%%EOF\n",
    "pdf": lambda photo: b"%PDF-1.4\n%%EOF",
    "jpeg cut at half": lambda photo: photo.read_bytes()[: photo.stat().st_size // 3],
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_reason(what: str, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(REFUSED[what](photo))
    end = run(lambda: load_photo(path), extra_mb=LIMIT_MB)
    assert end.kind == "error", end
    assert "a.jpg" in end.said


@pytest.mark.parametrize("where", ["comment", "pixels"])
def test_what_unpacks_to_gigabytes_is_not_unpacked(where: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    comment = where == "comment"
    path.write_bytes(png(8, 8, *[bomb_text(256)] * comment, data=bytes(8 * 25 if comment else 256 << 20)))
    assert run(lambda: load_photo(path), extra_mb=200).clean


def test_postscript_starts_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.eps"
    path.write_bytes(REFUSED["postscript"](path))
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    run(lambda: load_photo(path))
    assert not (tmp_path / "started").exists()


UNUSUAL: dict[str, dict[str, object]] = {
    "cmyk.jpg": {"mode": "CMYK"},
    "grey.png": {"mode": "L"},
    "deep.png": {"mode": "I;16"},
    "float.tiff": {"mode": "F"},
    "palette.gif": {"mode": "P"},
    "one bit.png": {"mode": "1"},
    "transparent.webp": {"mode": "RGBA"},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_images_are_read(name: str, photo: Path, tmp_path: Path) -> None:
    image = PIL.Image.open(photo).convert("RGB").resize((96, 64))
    mode = str(UNUSUAL[name]["mode"])
    if mode == "I;16":
        image = PIL.Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    elif mode != "RGB":
        image = image.convert(mode)
    image.save(tmp_path / name)
    assert run(lambda: check(load_photo(tmp_path / name))).kind == "done"


def check(image: np.ndarray) -> None:
    assert image.shape == (64, 96, 3)
    assert image.std() > 20


def test_a_long_animation_costs_one_image(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = PIL.Image.open(photo).convert("P").resize((256, 256))
    image.save(tmp_path / "a.gif", save_all=True, append_images=[image.rotate(turn) for turn in range(200)], loop=0)
    decoded = []
    prepare = GifImageFile.load_prepare

    def count(self: GifImageFile) -> None:
        decoded.append(self.tell())
        prepare(self)

    monkeypatch.setattr(GifImageFile, "load_prepare", count)
    load_photo(tmp_path / "a.gif")
    assert decoded == [0]
    assert run(lambda: load_photo(tmp_path / "a.gif"), extra_mb=200).kind == "done"
