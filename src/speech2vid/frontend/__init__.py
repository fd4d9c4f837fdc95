"""File → aligned faces, landmarks, stills: the one path that training and use share."""

from speech2vid.frontend.lip_sync import SyncMeasure, SyncNetworks
from speech2vid.frontend.measures import lip_opening, sharpness, turn
from speech2vid.frontend.selection import choose_face, faces_from_left
from speech2vid.frontend.stills import Still, still_of_photo, stills_of_video
from speech2vid.frontend.sync_file import measure_sync
from speech2vid.frontend.tracking import Aligner, TrackedFace, aligned_track, follow, smooth_transforms

__all__ = [
    "Aligner",
    "Still",
    "SyncMeasure",
    "SyncNetworks",
    "TrackedFace",
    "aligned_track",
    "choose_face",
    "faces_from_left",
    "follow",
    "lip_opening",
    "measure_sync",
    "sharpness",
    "smooth_transforms",
    "still_of_photo",
    "stills_of_video",
    "turn",
]
