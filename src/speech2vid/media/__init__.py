"""Video, sound and photos in; video out. The only part that knows FFmpeg."""

from speech2vid.media.audio_reader import load_audio, read_audio
from speech2vid.media.credentials import Claim, Credentials, Signer, read_credentials
from speech2vid.media.keyframes import read_keyframes
from speech2vid.media.photo import MAX_PHOTO_PIXELS, is_photo, load_photo, save_picture
from speech2vid.media.probe import probe, sound_seconds
from speech2vid.media.raw_video import NativeFormat, NativePicture, NativeReader
from speech2vid.media.raw_video_writer import NativeWriter
from speech2vid.media.remux import shift_sound
from speech2vid.media.synthetic_metadata import mark_text, read_mark
from speech2vid.media.video_reader import VideoReader
from speech2vid.media.video_writer import CONTAINERS, VideoWriter

__all__ = [
    "CONTAINERS",
    "MAX_PHOTO_PIXELS",
    "Claim",
    "Credentials",
    "NativeFormat",
    "NativePicture",
    "NativeReader",
    "NativeWriter",
    "Signer",
    "VideoReader",
    "VideoWriter",
    "is_photo",
    "load_audio",
    "load_photo",
    "mark_text",
    "probe",
    "read_audio",
    "read_credentials",
    "read_keyframes",
    "read_mark",
    "save_picture",
    "shift_sound",
    "sound_seconds",
]
