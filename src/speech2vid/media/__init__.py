"""Media files in, video out. The only part that knows FFmpeg."""

from speech2vid.media.audio_reader import load_audio, read_audio
from speech2vid.media.containers import CONTAINERS, Container
from speech2vid.media.credentials import Claim, Credentials, Signer, read_credentials
from speech2vid.media.media_file import AnyPath, MediaFile, open, opened, probe
from speech2vid.media.photo import MAX_PHOTO_PIXELS, is_photo, load_photo, save_image
from speech2vid.media.raw_video import RawFormat, RawFrame, RawVideoReader
from speech2vid.media.raw_video_writer import RawVideoWriter
from speech2vid.media.remux import shift_audio
from speech2vid.media.synthetic_metadata import read_synthetic_metadata, synthetic_metadata_text
from speech2vid.media.video_reader import VideoReader, read_keyframes
from speech2vid.media.video_writer import VideoWriter

__all__ = [
    "CONTAINERS",
    "MAX_PHOTO_PIXELS",
    "AnyPath",
    "Claim",
    "Container",
    "Credentials",
    "MediaFile",
    "RawFormat",
    "RawFrame",
    "RawVideoReader",
    "RawVideoWriter",
    "Signer",
    "VideoReader",
    "VideoWriter",
    "is_photo",
    "load_audio",
    "load_photo",
    "open",
    "opened",
    "probe",
    "read_audio",
    "read_credentials",
    "read_keyframes",
    "read_synthetic_metadata",
    "save_image",
    "shift_audio",
    "synthetic_metadata_text",
]
