"""Training configuration: a TOML file, read into frozen dataclasses that the checkpoints carry.

A file has one table a task; a task without a table is not trained. Keys left out take the defaults below.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self

from speech2vid.constants import SAMPLE_EVERY_FRAMES, TARGET_PX
from speech2vid.errors import ConfigError
from speech2vid.models.audio_to_mouth import AudioToMouthConfig
from speech2vid.models.audio_trunk import AudioTrunkConfig
from speech2vid.models.config import NetworkConfig
from speech2vid.models.identity_trunk import IdentityTrunkConfig
from speech2vid.models.paper_redubber import RedubberConfig
from speech2vid.models.paper_talker import PaperTalkerConfig
from speech2vid.models.sharpener import SharpenerConfig
from speech2vid.models.sync import SyncConfig
from speech2vid.models.warp_talker import WarpTalkerConfig
from speech2vid.training.task_config import TaskConfig


@dataclass(frozen=True)
class MouthLandmarksTaskConfig(TaskConfig):
    """Task ``mouth_landmarks``: mouth landmarks from an image. ``width``: channels of the first layer."""

    batch: int = 64
    ema: float = 0.0
    decay: float = 1.0
    clip: float = 0.0
    width: int = 16


@dataclass(frozen=True)
class WarpTalkerTaskConfig(TaskConfig):
    """Task ``warp_talker``: the ``warp`` talker on true mouth shapes.

    Attributes:
        frames: target frames a person.
        single: share of people whose slots all hold one still, of any mouth state.
        two: share of people whose slots hold two stills.
        other_track: share of people whose stills come from another of their tracks.
        landmark_noise: standard deviation of what is added to the true shape, px.
        head_rate: how many times the learning rate the layers have that paint masks and residual.
        l1, gradient, features, landmarks, smooth: weights of the loss terms.
        residual: weight of what the residual alone lacks between the lips.
        undecided: weight of the masks' entropy between different stills.
        adversarial, feature_matching: weights of the adversarial and feature-matching losses; both grow from 0 over
            ``ramp`` steps. There is no discriminator where both are 0.
    """

    network: WarpTalkerConfig = field(default_factory=WarpTalkerConfig)
    weight_decay: float = 1e-3
    frames: int = 6
    single: float = 0.45
    two: float = 0.1
    other_track: float = 0.45
    landmark_noise: float = 0.15
    head_rate: float = 3.0
    l1: float = 1.0
    gradient: float = 0.35
    features: float = 0.05
    landmarks: float = 0.03
    smooth: float = 0.003
    residual: float = 0.15
    undecided: float = 0.01
    adversarial: float = 0.03
    feature_matching: float = 0.05
    ramp: int = 200


@dataclass(frozen=True)
class AudioToMouthTaskConfig(TaskConfig):
    """Task ``audio_to_mouth``: mouth shapes from speech.

    Attributes:
        frames: length of a stretch.
        phone_model: source of the acoustic model: the packaged audio-to-mouth weights, or none.
        av_offsets: whether each speaker's audio-video offset, relative to the speakers' average, is removed from the
            targets; measured with the packaged audio-to-mouth network, which needs the phone model.
        earlier_frames: how much earlier than the training speakers' the mouth is to move.
        silent: share of stretches that are silence or noise, for which the mouth is to rest.
        degraded: share of stretches whose audio has noise, another level and microphone, sometimes a room.
        voice, room, noise, speed: share of stretches with another vocal tract and colour, with echo, with noise, faster
            or slower.
        hide: share of stretches with bands or moments hidden.
        likeness: how far small movers are enlarged towards the mean, and large ones reduced: 0 not, 1 all the way.
        value, opening, correlation: weights of the loss terms.
    """

    network: AudioToMouthConfig = field(default_factory=AudioToMouthConfig)
    batch: int = 32
    learning_rate: float = 2e-3
    decay: float = 1.0
    clip: float = 5.0
    ema: float = 0.99
    frames: int = 32
    phone_model: Literal["package", "none"] = "package"
    av_offsets: Literal["package", "none"] = "package"
    earlier_frames: float = 0.0
    silent: float = 0.06
    degraded: float = 0.25
    voice: float = 0.7
    room: float = 0.15
    noise: float = 0.5
    speed: float = 0.7
    hide: float = 0.5
    likeness: float = 0.5
    value: float = 1.0
    opening: float = 0.3
    correlation: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.av_offsets == "package" and self.phone_model == "none":
            raise ConfigError(
                "audio_to_mouth.av_offsets cannot be measured without a phone model",
                'set audio_to_mouth.av_offsets = "none"',
            )


@dataclass(frozen=True)
class PaperTalkerTaskConfig(TaskConfig):
    """Task ``paper_talker``: the paper's own network (Sect. 3.1), audio and stills to image.

    Attributes:
        frames: target frames a person.
        single: share of people whose slots all hold one still; the paper has 0.
        other_track: share of people whose stills come from another of their tracks; the paper has 0.
        every: targets are every so many frames of a track; the paper has 5.
        speaker_power: a speaker with n frames is drawn with weight n ** power; the paper draws by frames: 1.
        loss: ``l1``, or ``content``: L1 on the image and on what a face-recognition network sees in it (Sect. 3.2).
        l1, content, gradient: weights of the image's L1, of each of the five activations', and of the edges'; the
            paper has 1, 1 and 0.
        mouth: weight of an L1 of the mouth's pixels alone, a twelfth of the image; the paper has 0.
        difference: weight of the within-person difference loss on the mouth box: L1 between generated and target
            frames after each person's mean frame is subtracted from both, so that identity, pose and light drop out;
            the paper has 0.
        keypoints: weight of the mouth motion that the task ``mouth_landmarks`` reads off generated frames, against
            that of the target's keypoints; within a person, as ``difference``. The paper has 0.
        identity_init: initial weights of the identity encoder's convolutions: a file of ``train identity`` or VGG-M's,
            or ``identity``, the task of that name in the same config.
        audio_init: initial weights of the audio encoder: a file of the task ``audio_encoder``, or ``audio_encoder``,
            the task of that name in the same config. Empty: random.
        audio_rate: learning-rate multiplier of the audio encoder.
        choose_by: the validation metric that selects the best weights.
    """

    network: PaperTalkerConfig = field(default_factory=PaperTalkerConfig)
    frames: int = 4
    single: float = 0.0
    other_track: float = 0.0
    every: int = SAMPLE_EVERY_FRAMES
    speaker_power: float = 1.0
    loss: Literal["l1", "content"] = "l1"
    l1: float = 1.0
    content: float = 1.0
    gradient: float = 0.0
    mouth: float = 0.0
    difference: float = 0.0
    keypoints: float = 0.0
    identity_init: str = ""
    audio_init: str = ""
    audio_rate: float = 1.0
    choose_by: Literal["l1", "mouth_correlation"] = "l1"


@dataclass(frozen=True)
class AudioEncoderTaskConfig(TaskConfig):
    """Task ``audio_encoder``: the talker's audio encoder learns mouth motion before the talker is trained.

    Attributes:
        teacher: targets: the mouth motion predicted by the shipped audio-to-mouth network, or that of the filmed
            keypoints.
        frames: audio windows a batch item, of one track.
        copies: augmented copies of each track's audio, at another speed, level and noise; only with a teacher.
    """

    network: AudioTrunkConfig = field(default_factory=AudioTrunkConfig)
    batch: int = 16
    decay: float = 1.0
    average: float = 0.99
    teacher: Literal["package", "keypoints"] = "package"
    frames: int = 24
    copies: int = 2


@dataclass(frozen=True)
class IdentityTaskConfig(TaskConfig):
    """Task ``identity``: a face-recognition network in the shape of the talker's identity encoder.

    Attributes:
        every: faces are every so many frames of a track; neighbours show the same.
        shift_px: how far a face may be off its place.
    """

    network: IdentityTrunkConfig = field(default_factory=IdentityTrunkConfig)
    batch: int = 48
    decay: float = 1.0
    ema: float = 0.99
    every: int = 5
    shift_px: int = 4


@dataclass(frozen=True)
class SharpenerTaskConfig(TaskConfig):
    """Task ``sharpener``: takes a Gaussian's blur off aligned faces; alone, never end-to-end (Sect. 3.3).

    Attributes:
        frames: images a batch item, of one track.
        size_px: side of the pieces of a face that are learnt from; 0 for whole faces.
        least_blur_px, most_blur_px: standard deviation of the Gaussian, drawn evenly between them.
        gradient: weight of the edges in addition to that of the image.
    """

    network: SharpenerConfig = field(default_factory=SharpenerConfig)
    batch: int = 16
    decay: float = 1.0
    clip: float = 0.1
    frames: int = 2
    size_px: int = 48
    least_blur_px: float = 0.5
    most_blur_px: float = 2.0
    gradient: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.least_blur_px <= self.most_blur_px:
            raise ConfigError(
                f"a blur from {self.least_blur_px} to {self.most_blur_px} px is none", "give 0 < least ≤ most"
            )
        if self.size_px != 0 and not 16 <= self.size_px <= TARGET_PX:
            raise ConfigError(
                f"pieces of {self.size_px} px cannot be cut", f"give size_px from 16 to {TARGET_PX}, or 0"
            )


@dataclass(frozen=True)
class SyncTaskConfig(TaskConfig):
    """Task ``sync``: which audio belongs to which mouth.

    Attributes:
        frames: length of a stretch; every one of them is a candidate.
        loss: multi-way matching, or SyncNet's contrastive loss.
        offset: weight of the cross-entropy of the whole stretch's offset, in addition to that of its steps.
        hearing: the layers for audio: those of the package's voice weights, kept as they are, or trained from nothing
            without phone likelihoods.
        degraded: share of stretches whose audio has noise, another level and microphone.
        one_view: share of stretches seen by images alone or by landmarks alone.
    """

    network: SyncConfig = field(default_factory=SyncConfig)
    batch: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    decay: float = 1.0
    clip: float = 5.0
    ema: float = 0.99
    frames: int = 31
    loss: Literal["multi-way", "contrastive"] = "multi-way"
    offset: float = 1.0
    hearing: Literal["package", "none"] = "package"
    degraded: float = 0.35
    one_view: float = 0.15


@dataclass(frozen=True)
class RedubberTaskConfig(TaskConfig):
    """Task ``redubber``: a face whose mouth is hidden gets one that fits (Sect. 6.2).

    Attributes:
        people: so many times somebody's stills are drawn, with ``frames`` faces each; painted before the first step.
        near: share of them in which each face is painted from a frame near it and one with open lips, as in re-dubbing.
        single, two, other_track: of the others, as in ``warp_talker``.
        landmark_noise: standard deviation of what is added to the mouth shapes that are painted, px.
        l1, gradient: weights of the loss terms.
        share, smooth: weights of how much is painted anew, and of creases in flow and tint; for ``warp``.
        adversarial, feature_matching, ramp: as in ``warp_talker``; for ``warp``.
    """

    network: RedubberConfig = field(default_factory=RedubberConfig)
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    ema: float = 0.995
    people: int = 2500
    frames: int = 4
    near: float = 0.5
    single: float = 0.2
    two: float = 0.1
    other_track: float = 0.3
    landmark_noise: float = 0.2
    l1: float = 1.0
    gradient: float = 0.5
    share: float = 0.02
    smooth: float = 0.003
    adversarial: float = 0.015
    feature_matching: float = 0.05
    ramp: int = 500


@dataclass(frozen=True)
class WarpRedubberTaskConfig(RedubberTaskConfig):
    """Task ``warp_redubber``: a mouth painted by the ``warp`` talker is made to fit the face."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network.generation != "warp":
            raise ConfigError("warp_redubber.network.generation must be warp", "or use the table [paper_redubber]")


@dataclass(frozen=True)
class PaperRedubberTaskConfig(RedubberTaskConfig):
    """Task ``paper_redubber``: the paper's network, from audio, stills and a masked face."""

    network: RedubberConfig = field(default_factory=lambda: RedubberConfig(generation="audio"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network.generation != "audio":
            raise ConfigError("paper_redubber.network.generation must be audio", "or use the table [warp_redubber]")


@dataclass(frozen=True)
class TrainConfig:
    """A whole training: the tasks that are in it, in their order."""

    mouth_landmarks: MouthLandmarksTaskConfig | None = None
    warp_talker: WarpTalkerTaskConfig | None = None
    audio_to_mouth: AudioToMouthTaskConfig | None = None
    identity: IdentityTaskConfig | None = None
    audio_encoder: AudioEncoderTaskConfig | None = None
    paper_talker: PaperTalkerTaskConfig | None = None
    sharpener: SharpenerTaskConfig | None = None
    sync: SyncTaskConfig | None = None
    warp_redubber: WarpRedubberTaskConfig | None = None
    paper_redubber: PaperRedubberTaskConfig | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("the config trains nothing", f"give at least one table of {', '.join(TASKS)}")
        if self.paper_talker and self.paper_talker.keypoints and not self.mouth_landmarks:
            raise ConfigError(
                "task paper_talker needs the landmark network, which the config does not train",
                "add a table [mouth_landmarks], or set paper_talker.keypoints to 0",
            )
        if self.warp_talker and not self.mouth_landmarks and (self.warp_talker.features or self.warp_talker.landmarks):
            raise ConfigError(
                "task warp_talker needs the landmark network, which the config does not train",
                "add a table [mouth_landmarks], or set warp_talker.features and warp_talker.landmarks to 0",
            )

    @property
    def tasks(self) -> dict[str, TaskConfig]:
        """Task → settings, in the order in which they are trained."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: config for name, config in found.items() if config is not None}

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any]) -> Self:
        """Build from task → settings. ConfigError names the nearest key where one is unknown."""
        _Tables.from_dict(dict.fromkeys(tables, ""))
        built: dict[str, Any] = {name: TASKS[name].from_dict(table) for name, table in tables.items()}
        return cls(**built)


TASKS: dict[str, type[TaskConfig]] = {
    "mouth_landmarks": MouthLandmarksTaskConfig,
    "warp_talker": WarpTalkerTaskConfig,
    "audio_to_mouth": AudioToMouthTaskConfig,
    "identity": IdentityTaskConfig,
    "audio_encoder": AudioEncoderTaskConfig,
    "paper_talker": PaperTalkerTaskConfig,
    "sharpener": SharpenerTaskConfig,
    "sync": SyncTaskConfig,
    "warp_redubber": WarpRedubberTaskConfig,
    "paper_redubber": PaperRedubberTaskConfig,
}


@dataclass(frozen=True)
class _Tables(NetworkConfig):
    """The names of the tables, so that a misspelt one is reported as a misspelt key is."""

    mouth_landmarks: str = ""
    warp_talker: str = ""
    audio_to_mouth: str = ""
    identity: str = ""
    audio_encoder: str = ""
    paper_talker: str = ""
    sharpener: str = ""
    sync: str = ""
    warp_redubber: str = ""
    paper_redubber: str = ""


def preset_names() -> list[str]:
    """Names that ``--config`` knows."""
    return sorted(path.name.removesuffix(".toml") for path in _presets().iterdir() if path.name.endswith(".toml"))


def load_config(name: str, what: str = "") -> TrainConfig:
    """Read a preset by its name, or a file that ends in ``.toml``.

    Args:
        what: is to be trained; a preset ``WHAT-NAME`` is found by ``NAME`` too.

    Raises:
        ConfigError: no such preset or file, not TOML, an unknown key (the nearest is named), an impossible value.
    """
    own = f"{what}-{name}"
    preset = own if own in preset_names() else name
    source = Path(name) if name.endswith(".toml") else _presets() / f"{preset}.toml"
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no config {name}", f"give a .toml file, or one of: {', '.join(preset_names())}"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the config {name} cannot be read: {error}", "it must be a TOML file") from error
    try:
        return TrainConfig.from_dict(tables)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", error.hint) from error


def _presets() -> Traversable:
    return resources.files("speech2vid") / "training" / "presets"
