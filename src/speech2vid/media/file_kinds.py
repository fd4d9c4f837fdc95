"""Kinds of images and documents that are recognised, to say what they are, and not read."""

from __future__ import annotations

import zlib

from speech2vid.media.sources import Source

UNREAD_KINDS = (
    ("a JPEG XL image", b"\xff\x0a"),
    ("a JPEG XL image", b"\x00\x00\x00\x0cJXL \r\n\x87\n"),
    ("a PostScript drawing", b"%!PS"),
    ("a PostScript drawing", b"\xc5\xd0\xd3\xc6"),
    ("a Photoshop document", b"8BPS"),
    ("a GIMP document", b"gimp xcf"),
    ("an OpenEXR image", b"v/1\x01"),
    ("a Radiance HDR image", b"#?RADIANCE"),
    ("a Radiance HDR image", b"#?RGBE"),
    ("a JPEG XR image", b"II\xbc\x01"),
    ("a DPX image", b"SDPX"),
    ("a DPX image", b"XPDS"),
    ("a QOI image", b"qoif"),
    ("a DirectDraw surface", b"DDS "),
    ("a BPG image", b"BPG\xfb"),
    ("a FLIF image", b"FLIF"),
    ("a FITS image", b"SIMPLE  ="),
    ("a DjVu document", b"AT&TFORM"),
    ("a camera raw image", b"FUJIFILMCCD-RAW"),
    ("a camera raw image", b"IIRO"),
    ("a camera raw image", b"IIU\x00"),
    ("a camera raw image", b"FOVb"),
    ("a Windows metafile", b"\xd7\xcd\xc6\x9a"),
    ("a Windows cursor", b"\x00\x00\x02\x00"),
    ("an Apple icon", b"icns"),
    ("a camera raw image", b"II*\x00\x10\x00\x00\x00CR"),
    ("a ZIP archive or an office document", b"PK\x03\x04"),
    ("a ZIP archive or an office document", b"PK\x05\x06"),
    ("an office document", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("a RAR archive", b"Rar!\x1a\x07"),
    ("a 7z archive", b"7z\xbc\xaf\x27\x1c"),
)
BRANDS = {  # of the ISO container
    "a HEIC image": (b"heic", b"heix", b"heim", b"heis", b"heif", b"mif1", b"mif2", b"msf1", b"hevc", b"hevx"),
    "an AVIF image": (b"avif", b"avis"),
    "a camera raw image": (b"crx ",),
    "a VVC image": (b"vvic", b"vvis"),
}
HEAD_BYTES = 4096
GZIP, GZIP_WINDOW = b"\x1f\x8b", 31
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
HEAD_BYTES = 4096
PDF_WITHIN = 1024  # bytes: its signature may come late


def unread_kind(source: Source) -> str | None:
    """Return what a file is, with its article, where it is an image or a document of a kind that is not read."""
    with source.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(GZIP):
        return "a compressed SVG drawing" if _markup(_unpacked(head)) == "an SVG drawing" else "a gzip archive"
    if head[4:8] == b"ftyp":
        return next((kind for kind, brands in BRANDS.items() if head[8:12] in brands), None)
    if b"%PDF-" in head[:PDF_WITHIN]:
        return "a PDF document"
    return _markup(head) or next((kind for kind, start in UNREAD_KINDS if head.startswith(start)), None)


def _markup(head: bytes) -> str | None:
    if head.startswith(UTF_16):
        head = head.decode("utf-16", "ignore").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in text:
        return "an SVG drawing"
    return None


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(GZIP_WINDOW).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""
