"""The metrics of the report: one :class:`Metric` record each, the package's own and those of ``--metric``."""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args

from speech2vid.data.records import Track
from speech2vid.errors import ConfigError
from speech2vid.runtime.registry import METRICS_GROUP, extension_reference, load_extension
from speech2vid.types import Frames, Waveform

Better = Literal["higher", "lower", "near 1", ""]
Measure = Callable[[Frames, Frames, Waveform], float | None]

ARROWS: dict[Better, str] = {"higher": "↑", "lower": "↓", "near 1": "→ 1", "": ""}
HOW_TO = "docs/how-to/add-a-metric.md describes how to add a metric"
NAME = re.compile(r"[a-z][a-z0-9_]*")
COLUMNS = ("stills", "clip", "speaker", "frames", "stills_of", "row")  # of clips.tsv, before the metrics
CURVES = ("best_lag_frames", "lag_curve", "sync_curve")  # next to the metrics of a row in metrics.json


@dataclass(frozen=True)
class Metric:
    """A metric of the report.

    Attributes:
        name: key in ``metrics.json`` and column in ``clips.tsv``: lower-case letters, digits and underscores.
        title: in the tables; the name by default.
        unit: in brackets after the title.
        better: which values are good ones: "higher", "lower", "near 1", or "" for neither.
        share: whether the tables show it in per cent.
        decimals: in the tables; None for two, or one if the value is 10 or more.
        measure: returns the value of a clip, or None if the clip has none. Its arguments are the generated and the
            target frames, both (T, 112, 112, 3) uint8 RGB and read-only, and the clip's audio, (T × 640,) float32,
            -1–1, 16 kHz. None for the package's metrics, many of which share their measurements.

    Raises:
        ConfigError: an invalid name or an unknown value of ``better``.
    """

    name: str
    title: str = ""
    unit: str = ""
    better: Better = ""
    share: bool = False
    decimals: int | None = None
    measure: Measure | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and NAME.fullmatch(self.name)):
            raise ConfigError(f"invalid metric name {self.name!r}", "use lower-case letters, digits and underscores")
        if self.better not in get_args(Better):
            choices = ", ".join(map(repr, get_args(Better)))
            raise ConfigError(f"better cannot be {self.better!r} (metric {self.name})", f"choose from: {choices}")

    @property
    def heading(self) -> str:
        """Return title, unit and an arrow that points to the better values, as the tables show them."""
        unit = f"({self.unit})" if self.unit else ""
        return " ".join(part for part in (self.title or self.name, unit, ARROWS[self.better]) if part)

    def value_of(self, generated: Frames, track: Track) -> float | None:
        """Return the value of a clip's generated frames, None if the clip has none.

        Raises:
            ConfigError: ``measure`` raised an exception, or returned no number, or one that is not finite.
        """
        assert self.measure is not None
        place = f"the metric {self.name!r}, on the clip {track.record.key},"
        try:
            value: Any = self.measure(_read_only(generated), _read_only(track.frames), track.waveform)
        except Exception as error:
            raise ConfigError(f"{place} raised {type(error).__name__}: {error}", "correct its function") from error
        if value is None:
            return None
        if not isinstance(value, Real):
            wrong = f"{place} returned a value of type {type(value).__name__} instead of a number"
            raise ConfigError(wrong, "return a float, or None if the clip has no value")
        number = float(value)
        if not math.isfinite(number):
            raise ConfigError(f"{place} returned {number}", "return None if the clip has no value")
        return number


BUILT_IN: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mse", "MSE", "0–255", "lower"),
        Metric("psnr", "PSNR", "dB", "higher"),
        Metric("ssim", "SSIM", "", "higher", decimals=3),
        Metric("mouth_error", "mouth error", "0–255", "lower"),
        Metric("gain_over_other_audio", "… below another recording's", "", "higher", share=True),
        Metric("gain_over_best_still", "… below the best still's", "", "higher", share=True),
        Metric("embedding_distance", "embedding distance to the true frame", "", "lower"),
        Metric("content_distance", "content distance", "", "lower"),
        Metric("identity_distance", "identity distance to the photo", "", "lower"),
        Metric("identity_similarity", "identity similarity to the photo", "cosine", "higher", decimals=3),
        Metric("retrieval_accuracy", "retrieval accuracy, mean of clips", "", "higher", share=True),
        Metric("retrieval_accuracy_windows", "retrieval accuracy, all windows", "", "higher", share=True),
        Metric("sync_confidence", "sync confidence", "", "higher", decimals=3),
        Metric("sync_distance", "sync distance", "", "lower"),
        Metric("sync_offset_frames", "sync offset, absolute", "frames", "lower"),
        Metric("opening_correlation", "lip opening: correlation", "", "higher"),
        Metric("opening_std_ratio", "lip opening: std / true std", "", "near 1"),
        Metric("lmd_mouth_px", "LMD mouth", "px of 112", "lower"),
        Metric("lmd_face_px", "LMD face", "px of 112", "lower"),
        Metric("lmd_mouth_nme", "LMD mouth / eye distance", "", "lower", decimals=3),
        Metric("lmd_face_nme", "LMD face / eye distance", "", "lower", decimals=3),
        Metric("sharpness_ratio", "sharpness of the mouth / true", "", "near 1"),
        Metric("inner_contrast_ratio", "contrast between open lips / true", "", "near 1"),
        Metric("jitter_ratio", "mouth jitter / true", "", "near 1"),
        Metric("face_jitter_ratio", "upper-face jitter / true", "", "near 1"),
    )
}
RATIOS = {  # numerator and denominator, both measured once a clip
    "retrieval_accuracy_windows": ("retrieval_correct", "retrieval_windows"),
    "opening_std_ratio": ("opening_std_px", "target_opening_std_px"),
    "sharpness_ratio": ("sharpness", "target_sharpness"),
    "inner_contrast_ratio": ("inner_contrast", "target_inner_contrast"),
    "jitter_ratio": ("jitter_px", "target_jitter_px"),
    "face_jitter_ratio": ("face_jitter_px", "target_face_jitter_px"),
}
TAKEN = {*BUILT_IN, *(part for parts in RATIOS.values() for part in parts), *COLUMNS, *CURVES}


def load_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Import metrics.

    Args:
        names: each an entry point of the group ``speech2vid.metrics``, or ``module:NAME`` of a :class:`Metric`.

    Raises:
        ConfigError: a metric cannot be imported, is no ``Metric`` with a function, or has the name of another one.
    """
    metrics: dict[str, Metric] = {}
    for name in names:
        metric = load_extension("metric", METRICS_GROUP, name)
        if not isinstance(metric, Metric):
            kind = f"class {metric.__name__}" if isinstance(metric, type) else f"value of type {type(metric).__name__}"
            raise ConfigError(f"the metric {name!r} is a {kind}, not a speech2vid.evaluation.Metric", HOW_TO)
        if not callable(metric.measure):
            raise ConfigError(f"the metric {name!r} has no function", "give its Metric the argument measure")
        if metric.name in TAKEN or metric.name in metrics:
            raise ConfigError(f"the name {metric.name!r} of the metric {name!r} is taken", "give it another name")
        metrics[metric.name] = metric
    return tuple(metrics.values())


def metric_hashes(names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of the file that defines each metric; "" without a file."""
    hashes = {}
    for name in names:
        module = extension_reference("metric", METRICS_GROUP, name).partition(":")[0]
        load_extension("metric", METRICS_GROUP, name)
        file = getattr(sys.modules[module], "__file__", None)
        hashes[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return hashes


def _read_only(frames: Frames) -> Frames:
    view = frames.view()
    view.flags.writeable = False
    return view
