"""Faces: found, marked with 68 landmarks, registered to the canonical face, and told apart."""

from speech2vid.face.detector import (
    HOG_THRESHOLD,
    Landmarker,
    box_of_landmarks,
    detect_boxes,
    detect_faces,
    find_landmarks,
)
from speech2vid.face.embedding import embed, embedding_distance, face_chip
from speech2vid.face.registration import align, canonical_points, face_transform

__all__ = [
    "HOG_THRESHOLD",
    "Landmarker",
    "align",
    "box_of_landmarks",
    "canonical_points",
    "detect_boxes",
    "detect_faces",
    "embed",
    "embedding_distance",
    "face_chip",
    "face_transform",
    "find_landmarks",
]
