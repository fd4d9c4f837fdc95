"""Photos of any usual kind come as upright RGB, and those that cannot be read say why."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from speech2vid.errors import MediaError
from speech2vid.media import MAX_PHOTO_PIXELS, MediaFile, is_photo, load_photo


@pytest.fixture
def corners():
    """(6, 8, 3): red, green, blue and white quarters, clockwise from the top left."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, 32:], image[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return image


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif", "gif"])
def test_formats(tmp_path, corners, suffix):
    Image.fromarray(corners).save(tmp_path / f"a.{suffix}", **({"quality": 100} if suffix in ("jpg", "webp") else {}))
    found = load_photo(tmp_path / f"a.{suffix}")
    assert found.dtype == np.uint8
    assert found.shape == corners.shape
    assert np.abs(found[8:-8:30, 8:-8:40].astype(int) - corners[8:-8:30, 8:-8:40]).max() < 12
    assert is_photo(tmp_path / f"a.{suffix}")


STORED_AS = {  # EXIF orientation → how a camera that holds it so lays the upright picture down
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation(tmp_path, corners, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED_AS[orientation](corners))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_photo(tmp_path / "a.png"), corners)


def test_transparency_over_white(tmp_path):
    rgba = np.full((4, 4, 4), 0, np.uint8)
    rgba[..., 0], rgba[0, :, 3], rgba[1, :, 3] = 200, 255, 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    found = load_photo(tmp_path / "a.png")
    assert found[0, 0].tolist() == [200, 0, 0]
    assert np.abs(found[1, 0] - np.array([227, 127, 127])).max() <= 1
    assert found[2, 0].tolist() == [255, 255, 255]


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    found = load_photo(tmp_path / "a.png")
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 1].tolist() == [200, 100, 50]


def test_greyscale(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(load_photo(tmp_path / "a.png"), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_greyscale(tmp_path, suffix):
    deep = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(load_photo(tmp_path / f"a.{suffix}")[..., 0], (deep >> 8).astype(np.uint8))


def test_16_bit_colour(tmp_path):
    deep = np.zeros((4, 5, 3), ">u2")
    deep[..., 0], deep[..., 2] = 65_535, 0x80FF
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    (tmp_path / "a.png").write_bytes(png(5, 4, depth=16, colour=2, data=zlib.compress(rows)))
    assert load_photo(tmp_path / "a.png")[0, 0].tolist() == [255, 0, 128]


@pytest.mark.parametrize("value", [0.5, 127.5])
def test_float_image(tmp_path, value):
    Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "a.tif")
    assert load_photo(tmp_path / "a.tif")[0, 0].tolist() == [128, 128, 128]


def test_cmyk(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(load_photo(tmp_path / "a.jpg")[8, 8].astype(int) - (254, 0, 0)).max() <= 3


def test_colour_profile_is_applied(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    image.save(tmp_path / "srgb.png", icc_profile=srgb)
    assert np.abs(load_photo(tmp_path / "srgb.png")[0, 0].astype(int) - (200, 100, 50)).max() <= 1
    # swapped colorants: what the file calls red is blue
    swapped = srgb.replace(b"rXYZ", b"tmpX", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmpX", b"bXYZ", 1)
    image.save(tmp_path / "swapped.png", icc_profile=swapped)
    assert np.abs(load_photo(tmp_path / "swapped.png")[0, 0].astype(int) - (50, 100, 200)).max() <= 2
    image.save(tmp_path / "wrong.png", icc_profile=profile)
    assert load_photo(tmp_path / "wrong.png")[0, 0].tolist() == [200, 100, 50]


def test_animation_gives_its_first_image(tmp_path):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert load_photo(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def png(width: int, height: int, *, depth: int, colour: int, data: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9000, 9500, 30_000])
def test_too_many_pixels_are_refused_from_the_header(tmp_path, side):
    (tmp_path / "huge.png").write_bytes(png(side, side, depth=8, colour=2, data=zlib.compress(bytes(1000))))
    tracemalloc.start()
    with pytest.raises(MediaError, match=r"huge\.png is too large.*80 megapixels"):
        load_photo(tmp_path / "huge.png")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert side**2 > MAX_PHOTO_PIXELS


def test_fifty_megapixels(tmp_path):
    Image.new("RGB", (8660, 5774), (1, 2, 3)).save(tmp_path / "big.jpg", quality=50)
    assert load_photo(tmp_path / "big.jpg").shape == (5774, 8660, 3)


def test_cut_file(tmp_path, corners):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"a\.jpg is damaged: .*truncated"):
        load_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just text\n" * 100, "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"", "empty"),
    ],
)
def test_not_a_image(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(MediaError, match=message) as error:
        load_photo(tmp_path / "a.jpg")
    assert "a.jpg" in error.value.message
    assert error.value.hint
    assert is_photo(tmp_path / "a.jpg") == (message == "HEIC")  # a picture, though not one for us


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\x0a\xfa\x7f\x01", "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b'<?xml version="1.0"?>\n<!-- a face -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\xef\xbb\xbf  <svg/>", "an SVG drawing"),
        (b"\xff\xfe" + '<?xml version="1.0"?><svg/>'.encode("utf-16-le"), "an SVG drawing"),
        (gzip.compress(b'<?xml version="1.0"?><svg/>'), "a compressed SVG drawing"),
        (gzip.compress(b"letters"), "a gzip archive"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\n\nfrom a printer\n%PDF-1.4", "a PDF document"),
        (b"<!DOCTYPE html><html><body><svg/>", "a web page"),
        (b"PK\3\4", "a ZIP archive or an office document"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera raw image"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\0\x18ftypcrx ", "a camera raw image"),
        (b"v/1\x01\2\0\0\0", "an OpenEXR image"),
    ],
)
def test_a_kind_that_is_not_read_is_named(tmp_path, start, kind):
    (tmp_path / "a.png").write_bytes(start + b"\0" * 64)
    with pytest.raises(MediaError, match=f"is {kind}, which is not supported") as error:
        load_photo(tmp_path / "a.png")
    assert "JPEG or PNG" in error.value.hint
    assert is_photo(tmp_path / "a.png"), "so that talk does not look for a video in it"
    with pytest.raises(MediaError, match=f"is {kind}, which is not supported") as error:
        MediaFile(tmp_path / "a.png", "audio")
    assert "a file with audio" in error.value.hint


def test_missing_and_folder(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        load_photo(tmp_path / "no.jpg")
    with pytest.raises(MediaError, match="is a folder"):
        load_photo(tmp_path)
    assert not is_photo(tmp_path / "no.jpg")


def test_result_can_be_written_to(tmp_path, corners):
    buffer = io.BytesIO()
    Image.fromarray(corners).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    load_photo(tmp_path / "a.png")[:] = 0
