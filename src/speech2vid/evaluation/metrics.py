"""The metrics of generated frames, held against a clip whose truth is known: what every table here is made of.

A study of its own weights needs three calls::

    meters = Meters.load()
    truth = Truth.of(track, meters)                    # once a clip
    values = evaluate_frames(truth, frames, meters)    # as often as there are frames: metric → value

and :func:`speech2vid.evaluation.summary.summarise` makes one figure with an interval of the values of many clips.
``docs/evaluation.md`` says what each metric means. A metric that a clip cannot give is missing in its values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from speech2vid.constants import MOUTH_POINTS, SAMPLE_EVERY_FRAMES
from speech2vid.data.records import Track
from speech2vid.evaluation import image_metrics, mouth_metrics, sync_metrics
from speech2vid.evaluation.metric_records import Metric
from speech2vid.evaluation.mouth_metrics import Boxes, Values
from speech2vid.evaluation.perceptual import PerceptualMetric
from speech2vid.evaluation.sync_metrics import Matching
from speech2vid.faces import Still, SyncNetworks, box_of_landmarks, embed, embedding_distance, face_chip, lip_opening
from speech2vid.faces.embedding import Embeddings
from speech2vid.types import FaceBox, Floats, Frames, Image, Points

Embedder = Callable[[Sequence[Image]], Embeddings]
ContentScorer = Callable[[Frames, Frames], float]  # generated, true → distance


@dataclass(frozen=True)
class Scorers:
    """The networks that measure.

    Attributes:
        sync: tells retrieval accuracy, sync confidence and distance; None leaves them out.
        content: tells the content distance, of frames generated and true; None leaves it out.
        embed: what makes embeddings of chips of faces.
        metrics: further ones, of ``--metric``.
    """

    sync: SyncNetworks | None = None
    content: ContentScorer | None = None
    embed: Embedder = embed
    metrics: tuple[Metric, ...] = ()

    @classmethod
    def load(cls, threads: int = 0, device: str = "auto", metrics: tuple[Metric, ...] = ()) -> Scorers:
        """All there are: content needs PyTorch. WeightsError where a network's files are missing or damaged.

        Args:
            threads: of each network; 0 for one a core.
            device: for the sync network, which is always that of the default set.
            metrics: further ones.
        """
        perceptual = PerceptualMetric.where_possible()
        if perceptual is None:
            return cls(SyncNetworks(None, threads, device), metrics=metrics)
        return cls(SyncNetworks(None, threads, device), perceptual.content_distance, perceptual.embed, metrics)


@dataclass(frozen=True)
class Truth:
    """A clip, measured with the tools that measure what is generated.

    Attributes:
        track: the clip.
        box: where the landmarks are looked for, the same in every frame.
        landmarks: (T, 68, 2) measured on the frames.
        boxes: (T, 4) mouths.
        embeddings: (n, 128), of every fifth frame.
        audio: vectors of the sync network, (N, E); None without the network.
        inner_contrast: of :func:`speech2vid.evaluation.mouth_metrics.inner_contrast`.
    """

    track: Track
    box: FaceBox
    landmarks: Points
    boxes: Boxes
    embeddings: Embeddings
    audio: Floats | None = None
    inner_contrast: float | None = None

    @property
    def frames(self) -> Frames:
        """(T, 112, 112, 3) uint8 RGB."""
        return self.track.frames

    @classmethod
    def of(cls, track: Track, scorers: Scorers) -> Truth:
        box = box_of_landmarks(track.landmarks.mean(axis=0))
        landmarks = mouth_metrics.measure_landmarks(track.frames, box)
        audio = None if scorers.sync is None else sync_metrics.audio_vectors(track, scorers.sync)
        embeddings = embed_samples(track.frames, landmarks, scorers.embed)
        boxes, contrast = mouth_metrics.mouth_boxes(landmarks), mouth_metrics.inner_contrast(track.frames, landmarks)
        return cls(track, box, landmarks, boxes, embeddings, audio, contrast)


@dataclass(frozen=True)
class Scores:
    """What some frames came to.

    Attributes:
        values: metric → value, without the metrics that cannot be measured on the clip.
        lag_curve: (21,) correlation of the lip opening at lags −10 … 10.
        sync_curve: (31,) mean similarity of image and audio at offsets −15 … 15; empty where it cannot be measured.
    """

    values: dict[str, float]
    lag_curve: Values = field(default_factory=lambda: np.empty(0))
    sync_curve: Values = field(default_factory=lambda: np.empty(0))


def evaluate_frames(
    truth: Truth, frames: Frames, scorers: Scorers, *, photo: Embeddings | None = None, landmarks: Points | None = None
) -> dict[str, float]:
    """Every metric of a clip's generated frames.

    Args:
        truth: of the clip.
        frames: (T, 112, 112, 3) uint8 RGB; :func:`speech2vid.evaluation.generation.framed` makes them of 109 px faces.
        scorers: the networks that measure.
        photo: (128,) embedding of the still that came alive, for ``identity_distance`` and ``identity_similarity``.
        landmarks: (T, 68, 2) of ``frames`` where they are known; else they are measured.

    Raises:
        ValueError: the frames are of another shape than the truth's, or a metric is not a number.
        ConfigError: a metric of ``scorers.metrics`` fails or returns no finite number.
    """
    return score(truth, frames, scorers, photo=photo, landmarks=landmarks).values


def score(
    truth: Truth,
    frames: Frames,
    scorers: Scorers,
    *,
    photo: Embeddings | None = None,
    landmarks: Points | None = None,
    embeddings: Embeddings | None = None,
) -> Scores:
    """As :func:`evaluate_frames`, with the curves.

    ``embeddings``: those of every fifth frame, (n, 128), or of an image that does not move, (1, 128).
    """
    if frames.shape != truth.frames.shape or frames.dtype != np.uint8:
        raise ValueError(f"frames must be {truth.frames.shape} uint8, not {frames.shape} {frames.dtype}")
    if landmarks is None:
        landmarks = mouth_metrics.measure_landmarks(frames, truth.box)
    values = _image_values(truth, frames) | _landmark_values(truth, landmarks)
    contrast = mouth_metrics.inner_contrast(frames, landmarks)
    if contrast is not None and truth.inner_contrast is not None:
        values |= {"inner_contrast": contrast, "target_inner_contrast": truth.inner_contrast}
    if embeddings is None:
        embeddings = embed_samples(frames, landmarks, scorers.embed)
    values |= _identity_values(truth, embeddings, photo)
    if scorers.content is not None:
        values["content_distance"] = scorers.content(frames, truth.frames)
    matched = match_audio(truth, frames, landmarks, scorers)
    if matched is not None:
        values |= matched.values
    for metric in scorers.metrics:
        value = metric.value_of(frames, truth.track)
        if value is not None:
            values[metric.name] = value
    if bad := sorted(name for name, value in values.items() if not np.isfinite(value)):
        raise ValueError(f"{truth.track.record.key}: {', '.join(bad)} is not a number")
    curve = mouth_metrics.lag_curve(lip_opening(landmarks), lip_opening(truth.landmarks))
    return Scores(values, curve, np.empty(0) if matched is None else matched.curve.astype(np.float64))


def match_audio(truth: Truth, frames: Frames, landmarks: Points, scorers: Scorers) -> Matching | None:
    """Frames against the clip's own audio; None without the sync network, or where the clip is too short for it."""
    if scorers.sync is None or truth.audio is None:
        return None
    lead_frames = truth.track.record.audio_lead_frames
    return sync_metrics.match(frames, landmarks, truth.audio, lead_frames, scorers.sync)


def _image_values(truth: Truth, frames: Frames) -> dict[str, float]:
    return {
        "mse": image_metrics.mse(frames, truth.frames),
        "psnr": image_metrics.psnr(frames, truth.frames),
        "ssim": image_metrics.ssim(frames, truth.frames),
        "mouth_error": mouth_metrics.mouth_error(frames, truth.frames, truth.boxes),
        "sharpness": mouth_metrics.laplacian_variance(frames, truth.boxes),
        "target_sharpness": mouth_metrics.laplacian_variance(truth.frames, truth.boxes),
    }


def _landmark_values(truth: Truth, landmarks: Points) -> dict[str, float]:
    opening, target_opening = lip_opening(landmarks), lip_opening(truth.landmarks)
    return {
        "opening_correlation": mouth_metrics.correlation(opening, target_opening),
        "opening_std_px": float(opening.std()),
        "target_opening_std_px": float(target_opening.std()),
        "lmd_mouth_px": mouth_metrics.landmark_distance(landmarks, truth.landmarks, MOUTH_POINTS),
        "lmd_face_px": mouth_metrics.landmark_distance(landmarks, truth.landmarks),
        "lmd_mouth_nme": mouth_metrics.normalised_landmark_distance(landmarks, truth.landmarks, MOUTH_POINTS),
        "lmd_face_nme": mouth_metrics.normalised_landmark_distance(landmarks, truth.landmarks),
        "jitter_px": mouth_metrics.jitter(landmarks),
        "target_jitter_px": mouth_metrics.jitter(truth.landmarks),
        "face_jitter_px": mouth_metrics.jitter(landmarks, mouth_metrics.STILL_POINTS),
        "target_face_jitter_px": mouth_metrics.jitter(truth.landmarks, mouth_metrics.STILL_POINTS),
    }


def _identity_values(truth: Truth, embeddings: Embeddings, photo: Embeddings | None) -> dict[str, float]:
    values = {"embedding_distance": float(embedding_distance(embeddings, truth.embeddings).mean())}
    if photo is not None:
        values["identity_distance"] = float(embedding_distance(embeddings, photo).mean())
        values["identity_similarity"] = float(_cosine(embeddings, photo).mean())
    return values


def embed_samples(frames: Frames, landmarks: Points, embedder: Embedder = embed) -> Embeddings:
    """Return embeddings of every fifth frame, the paper's samples: (T, 112, 112, 3), (T, 68, 2) → (⌈T / 5⌉, 128)."""
    sampled = slice(None, None, SAMPLE_EVERY_FRAMES)
    return embedder(
        [face_chip(frame, points) for frame, points in zip(frames[sampled], landmarks[sampled], strict=True)]
    )


def embed_still(still: Still, embedder: Embedder = embed) -> Embeddings:
    """(128,)."""
    embedding: Embeddings = embedder([face_chip(still.aligned.image, still.aligned.landmarks)])[0]
    return embedding


def _cosine(a: Embeddings, b: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / lengths, np.float32)
