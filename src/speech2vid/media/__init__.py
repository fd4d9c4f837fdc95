"""Media files in, video out. The only part that knows FFmpeg."""

from speech2vid.media.audio_reader import MonoResampler, load_audio, read_audio
from speech2vid.media.containers import CONTAINERS, AnyOutput, Container, MemoryOutput, Output, output_of
from speech2vid.media.credentials import Claim, Credentials, Signer, read_credentials
from speech2vid.media.media_file import LOUDEST_FLOAT, MediaFile, open, opened, probe
from speech2vid.media.photo import MAX_PHOTO_PIXELS, is_photo, load_photo, save_image
from speech2vid.media.raw_video import RawFormat, RawFrame, RawVideoReader
from speech2vid.media.raw_video_writer import RawVideoWriter
from speech2vid.media.remux import shift_audio
from speech2vid.media.sources import AnyAudio, AnyFile, AnyPath, AnyPhoto, InMemory, Source, same_file, source_of
from speech2vid.media.synthetic_metadata import read_synthetic_metadata, synthetic_metadata_text
from speech2vid.media.verification import Verdict, Verification, verify
from speech2vid.media.video_reader import VideoReader, read_keyframes
from speech2vid.media.video_writer import VideoWriter
from speech2vid.media.visible_label import VisibleLabel

__all__ = [
    "CONTAINERS",
    "LOUDEST_FLOAT",
    "MAX_PHOTO_PIXELS",
    "AnyAudio",
    "AnyFile",
    "AnyOutput",
    "AnyPath",
    "AnyPhoto",
    "Claim",
    "Container",
    "Credentials",
    "InMemory",
    "MediaFile",
    "MemoryOutput",
    "MonoResampler",
    "Output",
    "RawFormat",
    "RawFrame",
    "RawVideoReader",
    "RawVideoWriter",
    "Signer",
    "Source",
    "Verdict",
    "Verification",
    "VideoReader",
    "VideoWriter",
    "VisibleLabel",
    "is_photo",
    "load_audio",
    "load_photo",
    "open",
    "opened",
    "output_of",
    "probe",
    "read_audio",
    "read_credentials",
    "read_keyframes",
    "read_synthetic_metadata",
    "same_file",
    "save_image",
    "shift_audio",
    "source_of",
    "synthetic_metadata_text",
    "verify",
]
