"""BlazeFace: faces with six keypoints at any tilt, large and small, on ONNX Runtime.

Two networks of MediaPipe (Apache-2.0) are used: the short-range detector (128 px) on the whole image and on tiles of
its enlarged copies, the full-range detector (192 px) on the whole image. The short-range network responds to faces at
any tilt, with a lower score and wrong keypoints when they are upside down: a weak or tilted candidate is looked at
again in a crop of its own, in four rotations, and the best of these decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.files import package_weights
from speech2vid.runtime.onnx import open_session
from speech2vid.types import FaceBox, Floats, Image

SHORT_FILE, FULL_FILE = "face_detector_short.onnx", "face_detector_full.onnx"
SHORT_PX, FULL_PX = 128, 192
SHORT_STRIDES = ((8, 2), (16, 6))  # stride, anchors a cell
FULL_STRIDES = ((4, 1),)
MIN_SCORE = 0.75  # of a face: 99 % of faces have more than 0.79 when looked at again, 98 % of false candidates less
CANDIDATE_SCORE = 0.35  # looked at again in an upright crop of its own
SURE_SCORE = 0.85  # and |roll| below TILTED_DEG: not looked at again
TILTED_DEG = 30.0
MERGE_IOU = 0.3  # boxes of one face overlap by more
SMALLEST_PX = 24.0  # what tiles go down to
LEAST_PX = 16.0  # a smaller box carries no landmarks
SMALLEST_IN_TILE, SMALLEST_IN_FULL = 0.14, 0.09  # of the side of the short-range and the full-range network's input
LARGEST_IN_TILE = 0.60
TILE_STEP_PX = 88  # tiles overlap by more than the largest face that the level above does not find
MAX_TILES = 192  # a level with more is left out
BATCH = 16
CROP_SIDE = 2.0  # side of the crop in which a doubtful face is looked at again, in box sizes
# Keypoints, by the subject's side
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH, RIGHT_EAR, LEFT_EAR = range(6)


@dataclass(frozen=True)
class Detection:
    """A face in source pixels; pixel centres are whole numbers.

    Args:
        box: x0, y0, x1, y1: from the brows to the chin, about as wide as the face.
        keypoints: (6, 2) float32: right eye, left eye (the subject's), nose tip, mouth, right ear, left ear.
        score: probability of a face, 0–1.
    """

    box: tuple[float, float, float, float]
    keypoints: Floats
    score: float

    @property
    def size_px(self) -> float:
        """Return the longer side of the box in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def roll_deg(self) -> float:
        """Return the tilt of the eye line, −180–180°, positive clockwise as seen; 0 is upright."""
        x, y = self.keypoints[LEFT_EYE] - self.keypoints[RIGHT_EYE]
        return float(np.degrees(np.arctan2(y, x)))

    @property
    def face_box(self) -> FaceBox:
        """Return box, score and tilt without the keypoints."""
        return FaceBox(*self.box, self.score, self.roll_deg)


def anchor_centres(input_px: int, strides: Sequence[tuple[int, int]]) -> Floats:
    """Return the anchors of a detector.

    Args:
        input_px: side of its input.
        strides: stride and anchors a cell of each layer.

    Returns:
        (anchors, 2) float32: x, y in input pixels.
    """
    layers = []
    for stride, count in strides:
        y, x = (np.mgrid[0 : input_px // stride, 0 : input_px // stride] + 0.5) * stride
        layers.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(layers).astype(np.float32)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0))), np.float32)


def _iou(box: Floats, boxes: Floats) -> Floats:
    """Return the overlap of one box with (N, 4) boxes, intersection over union."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(0.0, high - low), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(shared / np.maximum(area + areas - shared, 1e-9), np.float32)


def merge_weighted(values: Floats, scores: Floats, iou: float = MERGE_IOU) -> tuple[Floats, Floats]:
    """Replace overlapping detections by their mean, weighted by score (MediaPipe's weighted suppression).

    Args:
        values: (N, 16) float32: box and keypoints.
        scores: (N,) float32, 0–1.
        iou: boxes that overlap by more are one face.

    Returns:
        (M, 16) and (M,): the means, and the highest score of each group, best first.
    """
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    kept, best = [], []
    while len(values):
        same = _iou(values[0, :4], values[:, :4]) > iou
        same[0] = True
        weights = scores[same, None]
        kept.append((values[same] * weights).sum(axis=0) / weights.sum())
        best.append(scores[0])
        values, scores = values[~same], scores[~same]
    return np.asarray(kept, np.float32).reshape(-1, 16), np.asarray(best, np.float32)


def keep_best(found: Sequence[Detection], iou: float = MERGE_IOU) -> list[Detection]:
    """Return the detections without copies of the same face, best first.

    Args:
        found: detections of several passes over one image.
        iou: boxes that overlap by more, or a box of which more than half lies in a better one, are one face.
    """
    kept: list[Detection] = []
    for each in sorted(found, key=lambda detection: -detection.score):
        box = np.asarray(each.box, np.float32)
        boxes = np.asarray([other.box for other in kept], np.float32).reshape(-1, 4)
        shared = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
        inside = np.prod(np.maximum(0.0, shared), axis=1) / max(1e-9, float(np.prod(box[2:] - box[:2])))
        if not ((_iou(box, boxes) > iou) | (inside > 0.5)).any():
            kept.append(each)
    return kept


def sample_crop(
    image: Image, centre: tuple[float, float], side: float, roll_deg: float, size_px: int, *, border: int
) -> tuple[Image, NDArray[np.float64]]:
    """Cut a rotated square out of an image.

    Args:
        image: (H, W, 3) uint8.
        centre: x, y of its middle in source pixels.
        side: its side in source pixels.
        roll_deg: its tilt, positive clockwise as seen: a face with this roll is upright in the crop.
        size_px: side of the result.
        border: OpenCV's border mode outside the image.

    Returns:
        (size_px, size_px, 3) uint8, and the (2, 3) matrix from crop pixels to source pixels.
    """
    cosine, sine = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    linear = np.array([[cosine, -sine], [sine, cosine]]) * (side / size_px)
    matrix = np.column_stack([linear, np.asarray(centre) - linear @ (size_px / 2, size_px / 2)])
    source, local = image, matrix
    if side > 2 * size_px:  # average first: bilinear sampling alone would skip pixels
        reach = side * 0.75
        height, width = image.shape[:2]
        left, top = int(np.clip(centre[0] - reach, 0, width - 1)), int(np.clip(centre[1] - reach, 0, height - 1))
        right, bottom = (
            int(np.clip(centre[0] + reach, left + 1, width)),
            int(np.clip(centre[1] + reach, top + 1, height)),
        )
        columns = max(1, round((right - left) * size_px / side))
        rows = max(1, round((bottom - top) * size_px / side))
        source = np.asarray(cv2.resize(image[top:bottom, left:right], (columns, rows), interpolation=cv2.INTER_AREA))
        scale = np.array([columns / (right - left), rows / (bottom - top)])
        local = matrix * scale[:, None]
        local[:, 2] += (0.5 - np.array([left, top])) * scale - 0.5
    crop = cv2.warpAffine(
        source, local, (size_px, size_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border
    )
    return np.asarray(crop, np.uint8), matrix


class _Network:
    """One of the two detectors."""

    def __init__(self, path: Path, input_px: int, strides: Sequence[tuple[int, int]], threads: int) -> None:
        self.session = open_session(path, threads)
        self.input_px = input_px
        self.anchors = anchor_centres(input_px, strides)

    def __call__(self, patches: Floats, min_score: float) -> list[tuple[Floats, Floats]]:
        """Return values (M, 16) in input pixels and scores (M,) for each of (N, px, px, 3) patches in −1–1."""
        boxes, logits = self.session.run(["boxes", "logits"], {"image": patches})
        results = []
        for values, scores in zip(boxes, _sigmoid(logits), strict=True):
            chosen = scores >= min_score
            points = values[chosen].reshape(-1, 8, 2)
            anchors = self.anchors[chosen]
            centre, size = points[:, 0] + anchors, points[:, 1]
            keypoints = points[:, 2:] + anchors[:, None]
            decoded = np.concatenate(
                [centre - size / 2, centre + size / 2, keypoints.reshape(-1, 12)], axis=1, dtype=np.float32
            )
            results.append(merge_weighted(decoded, scores[chosen]))
        return results


class BlazeFaceDetector:
    """Find faces of any tilt and size.

    Args:
        weights: folder with both ONNX files; that of the package by default.
        threads: ONNX Runtime threads.

    Raises:
        WeightsError: a file is missing or damaged.
    """

    def __init__(self, weights: Path | None = None, *, threads: int = 1) -> None:
        weights = weights or package_weights()
        self._short = _Network(weights / SHORT_FILE, SHORT_PX, SHORT_STRIDES, threads)
        self._full = _Network(weights / FULL_FILE, FULL_PX, FULL_STRIDES, threads)

    def detect(
        self, image: Image, *, smallest_px: float | None = None, min_score: float = MIN_SCORE, rotations: bool = True
    ) -> list[Detection]:
        """Find the faces of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            smallest_px: search down to faces of this height. Without it, ever smaller faces are searched until one is
                found: the fast choice where one face matters.
            min_score: lowest score that counts as a face, 0–1.
            rotations: look at weak and tilted candidates again in four rotations, so that tilted and upside-down faces
                have right keypoints. Without it, only faces within about 60° of upright are right.

        Returns:
            Detections in source pixels, most certain first; empty when there is no face.
        """
        found: list[Detection] = []
        for candidates, finds_px in self._passes(image):
            for candidate in keep_best(candidates):
                if candidate.size_px < LEAST_PX:
                    continue
                sure = candidate.score >= SURE_SCORE and abs(candidate.roll_deg) <= TILTED_DEG
                checked = candidate if sure or not rotations else self._look_again(image, candidate)
                if checked is not None and checked.score >= min_score:
                    found.append(checked)
            found = keep_best(found)
            if (smallest_px is None and found) or (smallest_px is not None and finds_px <= smallest_px):
                break
        return found

    def _passes(self, image: Image) -> Iterator[tuple[list[Detection], float]]:
        """Yield the candidates of each pass, large faces first, with the smallest size that it finds in pixels."""
        longest = max(image.shape[:2])
        whole = self._scan(image, SHORT_PX)
        if not whole or max(each.size_px for each in whole) > LARGEST_IN_TILE * longest:
            whole = whole + self._scan(image, round(SHORT_PX * LARGEST_IN_TILE))  # a face that fills the image
        yield whole, SMALLEST_IN_TILE * longest
        yield self._on_whole(image), SMALLEST_IN_FULL * longest
        width_px = 2 * SHORT_PX
        while width_px <= 2 * longest:
            smallest = SMALLEST_IN_TILE * SHORT_PX * longest / width_px
            yield self._scan(image, width_px), smallest
            if smallest <= SMALLEST_PX:
                return
            width_px *= 2

    def _on_whole(self, image: Image) -> list[Detection]:
        """Return what the full-range network finds on the whole image."""
        longest = max(image.shape[:2])
        patch, matrix = sample_crop(
            image, (image.shape[1] / 2, image.shape[0] / 2), longest, 0.0, FULL_PX, border=cv2.BORDER_CONSTANT
        )
        values, scores = self._full(_normalised(patch[None]), CANDIDATE_SCORE)[0]
        return [_detection(each, score, matrix) for each, score in zip(values, scores, strict=True)]

    def _scan(self, image: Image, longest_px: int) -> list[Detection]:
        """Return what the short-range network finds in tiles of the image at the given longer side."""
        height, width = image.shape[:2]
        scale = longest_px / max(height, width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(image, (columns, rows), interpolation=method), np.uint8)
        corners = [(x, y) for y in _starts(rows) for x in _starts(columns)]
        if len(corners) > MAX_TILES:
            return []
        found = []
        for start in range(0, len(corners), BATCH):
            chosen = corners[start : start + BATCH]
            patches = np.zeros((len(chosen), SHORT_PX, SHORT_PX, 3), np.uint8)
            for patch, (x, y) in zip(patches, chosen, strict=True):
                tile = small[y : y + SHORT_PX, x : x + SHORT_PX]
                left, top = _margin(tile.shape[1]), _margin(tile.shape[0])
                patch[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
            results = self._short(_normalised(patches), CANDIDATE_SCORE)
            for (x, y), (values, scores) in zip(chosen, results, strict=True):
                across, down = width / columns, height / rows
                shift_x, shift_y = x - _margin(columns - x) + 0.5, y - _margin(rows - y) + 0.5
                matrix = np.array([[across, 0, across * shift_x - 0.5], [0, down, down * shift_y - 0.5]])
                found += [_detection(each, score, matrix) for each, score in zip(values, scores, strict=True)]
        return found

    def _look_again(self, image: Image, candidate: Detection) -> Detection | None:
        """Return the candidate as seen in an upright crop of its own, None when nothing is there."""
        best, rolls = None, [candidate.roll_deg + turn for turn in (0.0, 90.0, 180.0, 270.0)]
        for _ in range(2):
            x0, y0, x1, y1 = candidate.box
            centre, side = ((x0 + x1) / 2, (y0 + y1) / 2), CROP_SIDE * candidate.size_px
            crops = [sample_crop(image, centre, side, roll, SHORT_PX, border=cv2.BORDER_CONSTANT) for roll in rolls]
            results = self._short(_normalised(np.stack([crop for crop, _ in crops])), CANDIDATE_SCORE)
            for (_, matrix), (values, scores) in zip(crops, results, strict=True):
                for each, score in zip(values, scores, strict=True):
                    found = _detection(each, score, matrix)
                    middle = np.mean(np.reshape(found.box, (2, 2)), axis=0)
                    near = np.abs(middle - centre).max() < 0.75 * candidate.size_px
                    if near and (best is None or found.score > best.score):
                        best = found
            if best is None:
                return None
            residual = min(abs((best.roll_deg - roll + 180) % 360 - 180) for roll in rolls)
            if residual < TILTED_DEG / 2:
                break
            candidate, rolls = best, [best.roll_deg]
        return best


def _starts(size: int) -> list[int]:
    """Return where tiles start along a side of the given length."""
    if size <= SHORT_PX:
        return [0]
    count = int(np.ceil((size - SHORT_PX) / TILE_STEP_PX)) + 1
    return [round(start) for start in np.linspace(0, size - SHORT_PX, count)]


def _margin(size: int) -> int:
    """Return the black margin before an image that is smaller than a tile."""
    return max(0, SHORT_PX - size) // 2


def _normalised(patches: Image) -> Floats:
    return np.asarray(patches, np.float32) / np.float32(127.5) - np.float32(1.0)


def _detection(values: Floats, score: float, matrix: NDArray[np.float64]) -> Detection:
    """Return a detection in source pixels. The box stays axis-aligned: the extent of the network's square is kept."""
    points = values.reshape(8, 2) @ matrix[:, :2].T + matrix[:, 2]
    centre = points[:2].mean(axis=0)
    half = np.abs(values[2:4] - values[:2]) / 2 * np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    (x0, y0), (x1, y1) = centre - half, centre + half
    return Detection((float(x0), float(y0), float(x1), float(y1)), points[2:].astype(np.float32), float(score))
