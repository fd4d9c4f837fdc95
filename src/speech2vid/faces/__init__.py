"""Faces: detection, landmarks, alignment, tracking, clustering, stills, lip sync. Shared by training and inference."""

from speech2vid.faces.align import align, canonical_points, face_transform
from speech2vid.faces.choose_face import choose_face, faces_from_left
from speech2vid.faces.embedding import embed, embedding_distance, face_chip
from speech2vid.faces.face_models import PAPER, Detector, FaceModels, Landmarker, face_models
from speech2vid.faces.face_quality import lip_opening, sharpness, turn
from speech2vid.faces.landmarks import box_of_landmarks
from speech2vid.faces.stills import Still, still_of_photo, stills_of_video
from speech2vid.faces.sync import SyncMeasure, SyncNetworks, measure_sync
from speech2vid.faces.track import Aligner, TrackedFace, aligned_track, follow, smooth_transforms

__all__ = [
    "PAPER",
    "Aligner",
    "Detector",
    "FaceModels",
    "Landmarker",
    "Still",
    "SyncMeasure",
    "SyncNetworks",
    "TrackedFace",
    "align",
    "aligned_track",
    "box_of_landmarks",
    "canonical_points",
    "choose_face",
    "embed",
    "embedding_distance",
    "face_chip",
    "face_models",
    "face_transform",
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
