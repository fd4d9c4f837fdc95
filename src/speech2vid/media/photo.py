"""A photo of any usual kind as an upright RGB array."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from speech2vid.errors import MediaError, OutputError
from speech2vid.media.containers import output_errors, pending_output
from speech2vid.media.file_kinds import unread_kind
from speech2vid.media.sources import AnyPhoto, InMemory, Source, source_of
from speech2vid.media.streams import reason, require_file
from speech2vid.media.synthetic_metadata import METADATA_KEY, synthetic_metadata_text
from speech2vid.types import Image

log = logging.getLogger(__name__)

MAX_PHOTO_PIXELS = 80_000_000
# What is opened. Others are left out because Pillow reads them with programs of the system (PostScript) or hardly ever.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX")
BACKGROUND = (255, 255, 255)  # shows through transparent pixels
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    AttributeError,
    MemoryError,
)


def load_photo(source: AnyPhoto) -> Image:
    """Read a photo, given as :func:`~speech2vid.media.sources.source_of` takes it: (H, W, 3) uint8 RGB, upright.

    EXIF orientation and colour profile are applied, transparency is laid over white; greyscale, 16-bit, CMYK and
    palette images become RGB; of an animation the first image counts.

    Raises:
        MediaError: missing, unreadable, damaged, HEIC, or of more than ``MAX_PHOTO_PIXELS`` pixels. The size is
            judged from the header, before any pixel is decoded.
    """
    path = source_of(source, "face")
    require_file(path)
    if isinstance(path, InMemory) and isinstance(path.image, np.ndarray):
        return path.image.copy()
    with _open(path) as image:
        width, height = image.size
        if width * height > MAX_PHOTO_PIXELS:
            raise _too_large(path, f"{width} × {height} pixels")
        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            rgb = _to_rgb(image)
        except DAMAGED as error:
            hint = "copy it again, or save it as JPEG or PNG"
            raise MediaError(f"{path} is damaged: {reason(error)}", hint) from error
    return np.array(rgb)  # a copy: Pillow's own memory is read-only


def is_photo(source: AnyPhoto) -> bool:
    """Whether the file's content (not its name) is an image, be it one that ``load_photo`` refuses."""
    path = source_of(source, "face")
    if isinstance(path, InMemory):
        if path.image is not None:
            return True
    elif not path.is_file():  # a pipe would be waited for
        return False
    try:
        with _open(path):
            return True
    except _NotAnImage:
        return False
    except MediaError:  # too large, HEIC
        return True
    except OSError:
        return False


class _NotAnImage(MediaError):
    """The file holds something else."""


def _open(path: Source) -> PIL.Image.Image:
    if isinstance(path, InMemory) and isinstance(path.image, PIL.Image.Image):
        return path.image.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            return PIL.Image.open(path.open("rb") if isinstance(path, InMemory) else path, formats=FORMATS)
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise _too_large(path, "too many pixels") from error
    except DAMAGED as error:
        kind = unread_kind(path)
        if kind is not None:
            raise MediaError(f"{path} is {kind}, which is not supported", "save it as JPEG or PNG") from error
        raise _NotAnImage(f"{path} is not an image that can be read", "give a JPEG, PNG or WebP file") from error


def _too_large(path: Source, size: str) -> MediaError:
    return MediaError(
        f"{path} is too large: {size}, more than {MAX_PHOTO_PIXELS / 1e6:.0f} megapixels", "reduce its size first"
    )


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    profile = image.info.get("icc_profile")
    image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = PIL.Image.alpha_composite(white, image)
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    return (_to_srgb(image, profile) if profile else None) or image.convert("RGB")


def _to_srgb(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image | None:
    """The image in the colours its profile means; None if the profile cannot be used with it."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        log.warning("the colour profile of a photo is ignored: %s", reason(error))
        return None


def _to_8_bit(image: PIL.Image.Image) -> PIL.Image.Image:
    """Deep greyscale ("I;16", "I", "F") to "L": 16 bits by their upper byte, floats by 0–1 or 0–255 as they come."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        return PIL.Image.fromarray((grey >> (8 if grey.max(initial=0) > 255 else 0)).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max(initial=0) <= 1 else 1
        return PIL.Image.fromarray((values * scale).round().clip(0, 255).astype(np.uint8))
    return image


def save_image(image: Image, outfile: str | Path) -> Path:
    """Write (H, W, 3) uint8 RGB, marked as synthetic.

    Raises:
        OutputError: unwritable, or a suffix other than .png.
    """
    outfile = Path(outfile)
    if outfile.suffix.lower() != ".png":
        raise OutputError(f"{outfile} does not end in .png", "use a file name that ends in .png")
    with output_errors(outfile), pending_output(outfile) as pending:
        mark = PngInfo()
        mark.add_text(METADATA_KEY, synthetic_metadata_text({"command": "redub"}))
        PIL.Image.fromarray(image).save(str(pending.path), format="PNG", pnginfo=mark)
    return outfile
