"""One clip, every row of the table: the truth, what is generated, what chance and a photo that does not move give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.evaluation import mouth_metrics
from speech2vid.evaluation.generation import MotionSpeaker, Speaker
from speech2vid.evaluation.metrics import Scorers, Scores, Truth, embed_samples, score
from speech2vid.faces import Still, lip_opening
from speech2vid.faces.embedding import Embeddings
from speech2vid.types import Frames, Image

TRUTH, GENERATED, TARGET_MOTION, OTHER_AUDIO = "truth", "generated", "target_motion", "other_audio"
BEST_STILL, MEAN_STILL, FIRST_STILL, CHANCE = "best_still", "mean_still", "first_still", "chance"
GENERATED_ROWS = (GENERATED, TARGET_MOTION, OTHER_AUDIO)  # rows that a set of weights makes
CLOSED_PERCENTILE = 10  # of the true lip opening: a closed mouth, as the landmarks see it
SILENT_FRAMES = FRAME_RATE_HZ


def score_truth(truth: Truth, scorers: Scorers, photo: Embeddings) -> Scores:
    """The clip against itself; its correlation is with the landmarks found in the source at full resolution."""
    known = {"landmarks": truth.landmarks, "embeddings": truth.embeddings}
    scores = score(truth, truth.frames, scorers, photo=photo, **known)
    source, measured = lip_opening(truth.track.landmarks), lip_opening(truth.landmarks)
    values = scores.values | {"opening_correlation": mouth_metrics.correlation(measured, source)}
    return Scores(values, mouth_metrics.lag_curve(measured, source), scores.sync_curve)


def score_chance(truth: Truth, other: Truth, scorers: Scorers, photo: Embeddings) -> Scores:
    """Somebody else's true video, from its beginning again until it is as long, passed off as this clip."""
    order = np.arange(len(truth.track)) % len(other.track)
    return score(truth, other.frames[order], scorers, photo=photo, landmarks=other.landmarks[order])


def score_still(image: Image, truth: Truth, scorers: Scorers, photo: Embeddings) -> Scores:
    """An image repeated for the whole clip."""
    count = len(truth.track)
    landmarks = mouth_metrics.measure_landmarks(image[None], truth.box)
    known = {
        "landmarks": np.repeat(landmarks, count, axis=0),
        "embeddings": embed_samples(image[None], landmarks, scorers.embed),
    }
    scores = score(truth, np.broadcast_to(image, (count, *image.shape)), scorers, photo=photo, **known)
    return Scores(scores.values, sync_curve=scores.sync_curve)


def score_stills(stills: Sequence[Still], truth: Truth, scorers: Scorers, photo: Embeddings) -> dict[str, Scores]:
    """Rows of images that do not move: the best of the stills on this clip; of several also their mean, the first."""
    images = [still.aligned.image for still in stills]
    errors = [mouth_metrics.mouth_error(_repeated(image, truth), truth.frames, truth.boxes) for image in images]
    rows = {BEST_STILL: score_still(images[int(np.argmin(errors))], truth, scorers, photo)}
    if len(images) > 1:
        mean = np.mean(images, axis=0).round().astype(np.uint8)
        rows[MEAN_STILL] = score_still(mean, truth, scorers, photo)
        rows[FIRST_STILL] = score_still(images[0], truth, scorers, photo)
    return rows


def score_speaker(
    speaker: Speaker, truth: Truth, other: Truth, scorers: Scorers, photo: Embeddings
) -> dict[str, Scores]:
    """What one set of weights makes of a clip: row → scores.

    Args:
        speaker: made of the stills.
        truth: the clip.
        other: whose audio says what chance is.
        scorers: the networks that measure.
        photo: embedding of the still that comes alive.
    """
    generated = {GENERATED: speaker.says(truth.track)}
    if isinstance(speaker, MotionSpeaker):
        generated[TARGET_MOTION] = speaker.shows(truth.track)
    if speaker.for_chance:
        generated[OTHER_AUDIO] = speaker.says(other.track, len(truth.track))
    return {row: score(truth, frames, scorers, photo=photo) for row, frames in generated.items()}


def score_silence(speaker: Speaker, truth: Truth, spoken: Mapping[str, float]) -> dict[str, float]:
    """What the mouth does when nothing is said.

    Args:
        spoken: the values of the same speaker's generated speech.

    Returns:
        ``silence_std_px``: standard deviation of the lip opening; ``speech_std_px``: in speech; ``silence_opening_px``:
        its mean; ``closed_px``: the true lip opening of a closed mouth.
    """
    opening = lip_opening(mouth_metrics.measure_landmarks(speaker.says_nothing(SILENT_FRAMES), truth.box))
    closed = np.percentile(lip_opening(truth.landmarks), CLOSED_PERCENTILE)
    return {
        "silence_std_px": float(opening.std()),
        "speech_std_px": spoken["opening_std_px"],
        "silence_opening_px": float(opening.mean()),
        "closed_px": float(closed),
    }


def _repeated(image: Image, truth: Truth) -> Frames:
    return np.broadcast_to(image, (len(truth.track), *image.shape))
