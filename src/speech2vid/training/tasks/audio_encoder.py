"""Task ``audio_encoder``: MFCC windows → mouth motion, for the talker's audio encoder to start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.audio.windows import windows
from speech2vid.constants import MOUTH_COUNT, SAMPLES_PER_FRAME, WINDOW_STEPS
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.inference.talkers import Talker, load_talker
from speech2vid.models.audio_trunk import AudioTrunk, AudioTrunkConfig
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import vertical_opening
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import STATISTICS_TRACKS, Batch, Item, Task, TaskConfig, Validation, speaker_mean
from speech2vid.training.tasks.audio_to_mouth import motions, principal_components
from speech2vid.types import Floats, Waveform

SPEED, GAIN_DB, NOISE_DB = 0.12, 8.0, (12.0, 40.0)  # largest log speed factor; level; noise below the speech


@dataclass(frozen=True)
class AudioEncoderTaskConfig(TaskConfig):
    """Settings of the task ``audio_encoder``.

    Attributes:
        teacher: targets: the mouth motion that the package's audio-to-mouth network predicts, or that of the filmed
            keypoints.
        frames: audio windows a batch item, of one track.
        copies: augmented copies of each track's audio, at another speed, level and noise; only with a teacher.
    """

    network: AudioTrunkConfig = field(default_factory=AudioTrunkConfig)
    batch: int = 16
    decay: float = 1.0
    ema: float = 0.99
    teacher: Literal["package", "keypoints"] = "package"
    frames: int = 24
    copies: int = 2


class AudioEncoderTask(Task):
    """MFCC windows → principal components of mouth motion, from a teacher network or from keypoints."""

    name = "audio_encoder"
    architecture = AudioTrunk.architecture
    Config = AudioEncoderTaskConfig
    exported = False
    config: AudioEncoderTaskConfig
    network: AudioTrunk

    def __init__(self, config: AudioEncoderTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
        self._sampler = train.sampler(StillMix(every=1))
        rng = np.random.default_rng(config.seed)
        if config.teacher == "package":
            teacher = load_talker(threads=1)
            versions = {track.key: _taught(teacher, track, config.copies, rng) for track in train.tracks}
        else:
            keypoints = motions(train, likeness=0.5)
            versions = {track.key: [(track.windows, keypoints[track.key])] for track in train.tracks}
        every = np.concatenate([motion for own in versions.values() for _, motion in own])
        directions, deviations = principal_components(every, config.network.components)
        self._versions = {
            key: [(heard, (motion @ directions.T / deviations).astype(np.float32)) for heard, motion in own]
            for key, own in versions.items()
        }
        network = AudioTrunk(config.network)
        middles = [track.windows[:, 0, :, WINDOW_STEPS // 2] for track in train.tracks[:STATISTICS_TRACKS]]
        coefficients = torch.from_numpy(np.concatenate(middles))
        network.encoder.set_normalisation(coefficients.mean(0), coefficients.std(0))
        opening = vertical_opening(directions.reshape(-1, MOUTH_COUNT, 2))
        network.opening.copy_(torch.from_numpy(opening * deviations))
        self.network = network.to(device)
        self._importance = torch.from_numpy(deviations / deviations.sum()).to(device)
        self.samples = -(-train.frames // config.frames)
        self.weights = {"motion": 1.0}

    def draw(self, rng: np.random.Generator) -> Item:
        own = self._versions[self.train[self._sampler.draw(rng).track].key]
        heard, motion = own[rng.integers(len(own))]
        chosen = rng.choice(len(heard), self.config.frames, replace=len(heard) < self.config.frames)
        return {"windows": heard[chosen], "motion": motion[chosen]}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        predicted = network(batch["windows"].flatten(0, 1)).float()
        error = functional.smooth_l1_loss(predicted, batch["motion"].flatten(0, 1), reduction="none")
        return {"motion": (error * self._importance).sum(-1).mean()}

    def validate(self, network: nn.Module) -> Validation:
        """Return ``opening_correlation``, of the predicted with the filmed lip opening."""
        opening = network.get_buffer("opening")
        by_speaker = {}
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own:
                predicted = network(torch.from_numpy(track.windows).to(self.device)) @ opening
                measured.append({"opening_correlation": correlation(predicted.cpu().numpy(), track.opening)})
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(by_speaker, "opening_correlation", higher_is_better=True)

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def _taught(
    teacher: Talker, track: TrainingTrack, copies: int, rng: np.random.Generator
) -> list[tuple[Floats, Floats]]:
    """Return (windows, motion) of a track's audio and of augmented copies; the teacher hears what the student hears."""
    taught = []
    for audio in (track.audio, *(_augmented(track.audio, rng) for _ in range(copies))):
        stream = teacher.audio_stream("follow")
        motion = np.concatenate([stream.push(audio), stream.flush()]).reshape(-1, 2 * MOUTH_COUNT)
        heard = windows(audio)
        frames = min(len(heard), len(motion))
        taught.append((heard[:frames], motion[:frames].astype(np.float32)))
    return taught


def _augmented(audio: Waveform, rng: np.random.Generator) -> Waveform:
    """Return the audio at another speed and level, with noise."""
    speed = float(np.exp(rng.uniform(-SPEED, SPEED)))
    count = max(SAMPLES_PER_FRAME, round(len(audio) / speed))
    places = np.linspace(0, len(audio) - 1, count)
    heard = np.interp(places, np.arange(len(audio)), audio)
    level = float(np.sqrt(np.mean(heard**2))) + 1e-6
    noise = rng.standard_normal(count) * level * 10 ** (-rng.uniform(*NOISE_DB) / 20)
    changed = (heard + noise) * 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
    return np.clip(changed, -1, 1).astype(np.float32)
