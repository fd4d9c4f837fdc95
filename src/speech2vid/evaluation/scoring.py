"""One clip, every row of the table: generated faces, what they are held against, and their measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.data.records import Track
from speech2vid.evaluation import measures
from speech2vid.evaluation.generation import Speaker
from speech2vid.evaluation.measures import Boxes, Values
from speech2vid.face import box_of_landmarks, embed, embedding_distance, face_chip
from speech2vid.face.embedding import Embeddings
from speech2vid.frontend import Still, lip_opening
from speech2vid.records import FaceBox, Frames, Image, Points

TRUTH, GENERATED, TRUE_SHAPES, OTHER_SOUND = "truth", "generated", "true_shapes", "other_sound"
BEST_STILL, MEAN_STILL, FIRST_STILL = "best_still", "mean_still", "first_still"
CLOSED_PERCENTILE = 10  # of the true lip opening: a closed mouth, as the landmarks see it
IDENTITY_FRAMES = 2  # a clip whose embedding is taken
SILENT_FRAMES = FRAME_RATE_HZ


@dataclass(frozen=True)
class Truth:
    """The clip itself, measured with the tool that measures what is generated.

    Attributes:
        frames: (T, 112, 112, 3).
        box: where the landmarks are looked for, the same in every frame.
        landmarks: (T, 68, 2) measured on ``frames``.
        boxes: (T, 4) mouths.
        embeddings: of a few frames, (n, 128).
    """

    frames: Frames
    box: FaceBox
    landmarks: Points
    boxes: Boxes
    embeddings: Embeddings

    @classmethod
    def of(cls, track: Track) -> Truth:
        box = box_of_landmarks(track.landmarks.mean(axis=0))
        landmarks = measures.measure_landmarks(track.frames, box)
        boxes = measures.mouth_boxes(landmarks)
        return cls(track.frames, box, landmarks, boxes, embed_some(track.frames, landmarks))


@dataclass(frozen=True)
class Scores:
    """The measures of one row on one clip; ``nan`` where a measure has no meaning for the row.

    Attributes:
        values: measure → value.
        lag_curve: correlation of the lip opening at lags −10 … 10, empty for what does not move.
    """

    values: dict[str, float]
    lag_curve: Values = field(default_factory=lambda: np.empty(0))


def score(frames: Frames, landmarks: Points, truth: Truth) -> Scores:
    """Hold frames (T, 112, 112, 3) with their landmarks against the truth."""
    opening, true_opening = lip_opening(landmarks), lip_opening(truth.landmarks)
    values = {
        "opening_correlation": measures.correlation(opening, true_opening),
        "opening_std_px": float(opening.std()),
        "mouth_error": measures.mouth_error(frames, truth.frames, truth.boxes),
        "squared_error": measures.squared_error(frames, truth.frames),
        "mouth_distance_px": measures.mouth_distance(landmarks, truth.landmarks),
        "sharpness": measures.sharpness(frames, truth.boxes),
        "jitter_px": measures.jitter(landmarks),
    }
    return Scores(values, measures.lag_curve(opening, true_opening))


def score_still(image: Image, truth: Truth) -> Scores:
    """A picture repeated for the whole clip."""
    count = len(truth.frames)
    landmarks = measures.measure_landmarks(image[None], truth.box)
    frames = np.broadcast_to(image, (count, *image.shape))
    return Scores(score(frames, np.repeat(landmarks, count, axis=0), truth).values)


def score_truth(track: Track, truth: Truth, photo: Embeddings) -> Scores:
    """The clip against itself; its correlation is with the landmarks found in the source at full resolution."""
    values = score(truth.frames, truth.landmarks, truth).values
    known, measured = lip_opening(track.landmarks), lip_opening(truth.landmarks)
    values["opening_correlation"] = measures.correlation(measured, known)
    values["identity_distance"] = float(embedding_distance(truth.embeddings, photo).mean())
    return Scores(values, measures.lag_curve(measured, known))


def score_stills(stills: Sequence[Still], truth: Truth) -> dict[str, Scores]:
    """Rows of pictures that do not move: the best of the stills on this clip; of several also their mean, the first."""
    images = [still.aligned.image for still in stills]
    scores = [score_still(image, truth) for image in images]
    rows = {BEST_STILL: min(scores, key=lambda each: each.values["mouth_error"])}
    if len(images) > 1:
        mean = np.mean(images, axis=0).round().astype(np.uint8)
        rows |= {MEAN_STILL: score_still(mean, truth), FIRST_STILL: scores[0]}
    return rows


def score_clip(
    track: Track, other: Track, speaker: Speaker, truth: Truth
) -> tuple[dict[str, Scores], dict[str, Frames]]:
    """Every row for one clip, and the generated frames by row.

    Args:
        track: the clip.
        other: whose sound says what chance is.
        speaker: made of the stills.
        truth: of ``track``.
    """
    photo = embed_still(speaker.stills[0])
    rows = {TRUTH: score_truth(track, truth, photo)}
    made = {
        GENERATED: speaker.says(track),
        TRUE_SHAPES: speaker.shows(track),
        OTHER_SOUND: speaker.says(other, len(track)),
    }
    for name, frames in made.items():
        landmarks = measures.measure_landmarks(frames, truth.box)
        rows[name] = score(frames, landmarks, truth)
        if name == GENERATED:
            distances = embedding_distance(embed_some(frames, landmarks), photo)
            rows[name].values["identity_distance"] = float(distances.mean())
    return rows | score_stills(speaker.stills, truth), made


def embed_some(frames: Frames, landmarks: Points) -> Embeddings:
    """Embeddings of a few frames, spread over the clip: (n, 128)."""
    chosen = np.linspace(0, len(frames) - 1, IDENTITY_FRAMES + 2).round().astype(int)[1:-1]
    return embed([face_chip(frames[i], landmarks[i]) for i in chosen])


def embed_still(still: Still) -> Embeddings:
    """(128,)."""
    embedding: Embeddings = embed([face_chip(still.aligned.image, still.aligned.landmarks)])[0]
    return embedding


def score_silence(speaker: Speaker, truth: Truth, spoken: Mapping[str, float]) -> dict[str, float]:
    """What the mouth does when nothing is said.

    Args:
        spoken: the values of the same speaker's generated speech.

    Returns:
        ``silence_std_px``: standard deviation of the lip opening; ``speech_std_px``: in speech; ``silence_opening_px``:
        its mean; ``closed_px``: the true lip opening of a closed mouth.
    """
    opening = lip_opening(measures.measure_landmarks(speaker.says_nothing(SILENT_FRAMES), truth.box))
    closed = np.percentile(lip_opening(truth.landmarks), CLOSED_PERCENTILE)
    return {
        "silence_std_px": float(opening.std()),
        "speech_std_px": spoken["opening_std_px"],
        "silence_opening_px": float(opening.mean()),
        "closed_px": float(closed),
    }
