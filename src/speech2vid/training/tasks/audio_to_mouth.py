"""Task ``audio_to_mouth``: mouth motion from speech alone.

The target is the movement of the mouth away from the speaker's closed mouth: landmarks minus their mean over three
seconds, plus how open that speaker's mouth is on average; left and right alike. Small movements are enlarged towards
the average speaker's, which the network gives everybody, and each speaker's audio-video offset is removed. The views
of the audio (plain bands, phone likelihoods, speech tokens) are computed once a track: clean, degraded, and with speech
tokens also in another voice. Other changes of voice and room are drawn anew for each item.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.audio.logmel import predictor_rows, silent_row
from speech2vid.constants import MFCC_PER_FRAME, MOUTH_COUNT, MOUTH_POINTS, exact_div
from speech2vid.errors import ConfigError, WeightsError
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.inference.speech_features import speech_features
from speech2vid.inference.talkers.warp import AUDIO_TO_MOUTH, SPEECH_ENCODER
from speech2vid.models.audio_to_mouth import (
    NOT_CALIBRATED,
    PHONES,
    PLAIN_BANDS,
    REACH_ROWS,
    SPEECH_FRAMES_BEFORE,
    SPEECH_TOKENS_PER_FRAME,
    STATES,
    AudioToMouth,
    AudioToMouthConfig,
    PhoneLikelihoods,
    rows_needed,
    tokens_needed,
)
from speech2vid.runtime.engine import RunnableGraph, graph_loader
from speech2vid.runtime.torch import fill_tensors, load
from speech2vid.runtime.weights import Tensors, read_header, read_weights, weight_set
from speech2vid.training.audio_augment import change, noises
from speech2vid.training.av_offset import speaker_av_offsets
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import MIRROR_MOUTH, vertical_opening
from speech2vid.training.neutral_mouth import closed_offset
from speech2vid.training.sampling import StillMix
from speech2vid.training.speech_cache import AudioCopy, SpeechFeatureCache, Tokens, audio_copies
from speech2vid.training.task import Batch, Item, Task, TaskConfig, Validation, check_landmarker, speaker_mean
from speech2vid.types import Floats, Waveform

MEAN_FRAMES = 75
SPEED = 0.14  # largest natural logarithm of the factor on the speed
CERTAINTY = 0.25  # the same of the factor on phone likelihoods
LIKENESS_LIMITS = (0.5, 2.0)
MIDDLE_ROW = exact_div(MFCC_PER_FRAME, 2)
COLUMNS = PLAIN_BANDS + PHONES * STATES  # of the views
REACH = REACH_ROWS - 1  # of the views: one row is spent on computing them
OUTSIDE_ROWS = 2 * REACH_ROWS  # of silence round a track's views
CORRELATED_COMPONENTS = (1, 2)  # components whose correlation counts too, a fifth each
CORNERS = (0, 6)
STARTED = ("plain", "phones", "mix", "blocks")  # parts of a member before the speech branch joins
CLOSED_PX = 0.75  # an opening below this, relative to the speaker's closed mouth, is closed
TOKEN_NOISE = 0.2  # in standard deviations
HIDDEN_TOKENS = (2, 10)
CALIBRATION = ("opening_scale", "opening_shift_px", "width_scale")  # metrics that the exported network is set to
CALIBRATION_QUANTILES = np.linspace(0.05, 0.95, 19)
CALIBRATION_LIMITS = ((0.5, -2.0, 0.5), (3.0, 1.0, 3.0))


class AudioViews(NamedTuple):
    """What the network hears of one version of a track's audio.

    Attributes:
        views: (64 + R + 64, 190) plain bands and phone likelihoods, silence around them.
        tokens: (M, C) speech tokens, token 0 at the first sample; None if the network takes none.
        rate: seconds of this version per second of the track.
    """

    views: NDArray[np.float16]
    tokens: Tokens | None
    rate: float


@dataclass(frozen=True)
class AudioToMouthTaskConfig(TaskConfig):
    """Settings of the task ``audio_to_mouth``.

    Attributes:
        frames: length of a stretch.
        phone_model: source of the acoustic model: the packaged audio-to-mouth weights, or none.
        av_offsets: whether each speaker's audio-video offset, relative to the speakers' average, is removed from the
            targets, and in validation; measured with the packaged audio-to-mouth network, which needs the phone model.
        speech: source of the speech encoder whose tokens the network hears too: the packaged weights, or none.
        feature_cache: folder that keeps the speech tokens for other trainings on the same tracks; "" keeps none.
        earlier_frames: by how much the mouth is to move earlier than the training speakers'.
        silent: share of stretches of silence or noise, for which the mouth rests.
        degraded: share of stretches whose audio has noise, another level and microphone, sometimes a room.
        revoiced: share of stretches in a higher or lower voice; with speech tokens only.
        voice, room, noise, speed: share of stretches with another vocal tract and colour, with echo, with noise, faster
            or slower.
        hide: share of stretches with bands or moments hidden.
        likeness: how far small movements are enlarged towards the mean, and large ones reduced: 0 not, 1 all the way.
        value, opening, correlation, velocity: weights of the loss terms.
        closure: by how much an error in the opening of a closed mouth counts more.
        start_rate: factor on the learning rate of the layers of ``start`` that come before the speech branch; 0 keeps
            them as they are.
        tokens_alone: share of stretches in which only the speech tokens are heard. Layers that were trained on the same
            tracks know them better than they know other people's.
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
    speech: Literal["package", "none"] = "none"
    feature_cache: str = ""
    earlier_frames: float = 0.0
    silent: float = 0.06
    degraded: float = 0.25
    revoiced: float = 0.25
    voice: float = 0.7
    room: float = 0.15
    noise: float = 0.5
    speed: float = 0.7
    hide: float = 0.5
    likeness: float = 0.5
    value: float = 1.0
    opening: float = 0.3
    correlation: float = 1.0
    velocity: float = 0.0
    closure: float = 0.0
    start_rate: float = 1.0
    tokens_alone: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.av_offsets == "package" and self.phone_model == "none":
            raise ConfigError(
                "audio_to_mouth.av_offsets cannot be measured without a phone model",
                'set audio_to_mouth.av_offsets = "none"',
            )


class AudioToMouthTask(Task):
    """Audio → mouth motion. With several members, each is trained on the same batches; their mean is validated."""

    name = "audio_to_mouth"
    architecture = "audio_to_mouth"
    Config = AudioToMouthTaskConfig
    config: AudioToMouthTaskConfig
    network: AudioToMouth

    def __init__(self, config: AudioToMouthTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
        self._sampler = train.sampler(StillMix(every=1))
        self.samples = sum(max(1, round(len(track) / config.frames)) for track in train.tracks)
        self.weights = {
            "value": config.value,
            "opening": config.opening,
            "correlation": config.correlation,
            "velocity": config.velocity,
        }
        heard = "speech_channels" in read_header(packaged_audio_to_mouth()).config
        if config.av_offsets == "package" and config.speech == "none" and heard:
            raise ConfigError(
                "audio_to_mouth.av_offsets cannot be measured without speech tokens, which the packaged network hears",
                'set audio_to_mouth.speech = "package", or audio_to_mouth.av_offsets = "none"',
            )
        encoder = packaged_speech_encoder() if config.speech == "package" else None
        network = AudioToMouth(replace(_with_encoder(config.network, encoder), calibrated=True))
        if config.phone_model == "package":
            fill_phone_model(network)
        moved = motions(train, config.likeness)
        self._started: list[str] = []
        if config.start:  # its outputs keep their meaning
            check_landmarker(Path(config.start), train)
            fill_from(network, Path(config.start))
            if encoder:
                self._started = [f"members.{k}.{part}" for k in range(config.network.members) for part in STARTED]
                self.lr_multipliers = dict.fromkeys(self._started, config.start_rate)
                for name in self._started if config.start_rate == 0 else ():
                    network.get_submodule(name).requires_grad_(False)
            network.calibration.copy_(torch.tensor(NOT_CALIBRATED))
            directions, deviations = _directions(network.basis.numpy())
        else:
            every = np.concatenate(list(moved.values()))
            directions, deviations = principal_components(every, config.network.components)
            network.basis.copy_(torch.from_numpy(directions * deviations[:, None]))
        self._components = {key: (motion @ directions.T) / deviations for key, motion in moved.items()}
        rng = np.random.default_rng(config.seed)
        phones = network.likelihoods if config.phone_model == "package" else None
        self._heard = self._all_views(phones, encoder)
        self._quiet = [_quiet(audio_views(phones, noise), encoder, noise) for noise in noises(rng)]
        self._measure_statistics(network, bands=not config.start)
        self.network = network.to(device)
        self._av_offsets = dict.fromkeys((*train.by_speaker, *val.by_speaker), 0.0)
        if config.av_offsets == "package":
            self._av_offsets = self._measured_offsets(train) | self._measured_offsets(val)
        self._importance = torch.from_numpy(deviations / deviations.sum()).to(device)

    def _all_views(self, phones: PhoneLikelihoods | None, encoder: RunnableGraph | None) -> dict[str, list[AudioViews]]:
        """Return key → views of the track's audio, and for training of its copies."""
        folder = Path(self.config.feature_cache) if self.config.feature_cache else None
        cache = SpeechFeatureCache(encoder, folder) if encoder else None
        copied = ("clean", "degraded", "revoiced") if encoder and self.config.revoiced else ("clean", "degraded")

        def views(track: TrainingTrack, copy: AudioCopy) -> AudioViews:
            tokens = cache.tokens(track, copy) if cache else None
            return AudioViews(audio_views(phones, copy.audio), tokens, copy.rate)

        found = {track.key: [views(track, copy) for copy in audio_copies(track, copied)] for track in self.train.tracks}
        for track in self.val.tracks:
            found[track.key] = [views(track, copy) for copy in audio_copies(track, ("clean",))]
        return found

    def _measure_statistics(self, network: AudioToMouth, bands: bool) -> None:
        """Fill the network's mean and deviation of tokens and, where asked for, of bands."""
        clean = [self._heard[track.key][0] for track in self.train.tracks[::10]]
        if bands:
            plain = np.concatenate([each.views[:, :PLAIN_BANDS] for each in clean]).astype(np.float32)
            network.plain_mean.copy_(torch.from_numpy(plain.mean(0)[:, None]))
            network.plain_deviation.copy_(torch.from_numpy(plain.std(0)[:, None]))
        if network.config.speech_channels:
            tokens = np.concatenate([each.tokens for each in clean if each.tokens is not None]).astype(np.float32)
            network.speech_mean.copy_(torch.from_numpy(tokens.mean(0)[:, None]))
            network.speech_deviation.copy_(torch.from_numpy(tokens.std(0)[:, None] + 1e-3))

    def load_start(self) -> None:
        """Do nothing: the constructor has read the file, whose basis the targets depend on."""

    def draw(self, rng: np.random.Generator) -> Item:
        frames, config = self.config.frames, self.config
        if rng.random() < config.silent:
            quiet = self._quiet[rng.integers(len(self._quiet))]
            nothing = np.zeros((frames, config.network.components), np.float32)
            views = np.resize(quiet.views, (rows_needed(frames) - 2, COLUMNS)).astype(np.float32)
            item = {"views": views, "wanted": nothing, "known": np.ones(frames, np.float32)}
            if quiet.tokens is not None:
                tokens = np.resize(quiet.tokens, (tokens_needed(frames), quiet.tokens.shape[1]))
                item["tokens"] = tokens.astype(np.float32)
                item["keep"] = np.ones((1, 1), np.float32)
            return item
        track = self.train[self._sampler.draw(rng).track]
        components, last = self._components[track.key], len(track) - 1
        speed = float(np.exp(rng.uniform(-SPEED, SPEED))) if rng.random() < config.speed else 1.0
        start = rng.uniform(0, max(0.0, len(track) / speed - frames))
        later = config.earlier_frames + self._av_offsets[track.speaker]
        places = (start + np.arange(frames)) * speed + (speed - 1) / 2 + later
        below = np.clip(places, 0, last - 1).astype(int)
        part = np.clip(places - below, 0, 1)[:, None].astype(np.float32)
        wanted = components[below] * (1 - part) + components[below + 1] * part
        known = ((places >= 0) & (places <= last)).astype(np.float32)
        copies = self._heard[track.key]
        chosen = int(np.searchsorted([config.degraded, config.degraded + config.revoiced], rng.random(), "right"))
        source = copies[min((1, 2, 0)[chosen], len(copies) - 1)]
        heard = _rows_at(source, track, (4 * start + _row_steps(frames)) * speed)
        heard[:, :PLAIN_BANDS] = change(
            heard[:, :PLAIN_BANDS], rng, voice=config.voice, room=config.room, noise=config.noise, hide=config.hide
        )
        heard[:, PLAIN_BANDS:] = (heard[:, PLAIN_BANDS:] - 1) * np.exp(rng.uniform(-CERTAINTY, CERTAINTY)) + 1
        item = {"views": heard, "wanted": wanted.astype(np.float32), "known": known}
        if source.tokens is not None:
            item["tokens"] = self._changed_tokens(
                _tokens_at(source, track, (2 * start + _token_steps(frames)) * speed), rng
            )
            item["keep"] = np.full((1, 1), rng.random() >= config.tokens_alone, np.float32)
        return item

    def _changed_tokens(self, tokens: Floats, rng: np.random.Generator) -> Floats:
        """Return tokens (M, C) with noise, and some of them hidden behind their mean."""
        mean = self.network.speech_mean[:, 0].cpu().numpy()
        noise = rng.standard_normal(tokens.shape, np.float32) * self.network.speech_deviation[:, 0].cpu().numpy()
        changed: Floats = tokens + noise * TOKEN_NOISE
        if rng.random() < self.config.hide:
            length = int(rng.integers(*HIDDEN_TOKENS))
            first = int(rng.integers(0, len(tokens) - length))
            changed[first : first + length] = mean
        return changed

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        target, known = batch["wanted"], batch["known"]
        speaks = (target.abs().sum((1, 2)) > 0).to(known.dtype)
        opens = vertical_opening(network.get_buffer("basis").reshape(-1, MOUTH_COUNT, 2))
        both = known[:, 1:] * known[:, :-1]
        for name in self._started if self.config.start_rate == 0 else ():
            network.get_submodule(name).eval()
        sums = torch.zeros(4, device=target.device)
        members = _members(network)
        for member in members:
            views = _standardised(network, batch["views"], batch.get("tokens"))
            generated = member(*views, keep=batch.get("keep")).float()
            error = (functional.smooth_l1_loss(generated, target, reduction="none") * self._importance).sum(-1)
            opening, target_opening = (generated * opens).sum(-1), (target * opens).sum(-1)
            open_error = functional.smooth_l1_loss(opening, target_opening, reduction="none", beta=2.0)
            open_error = open_error * (1 + self.config.closure * (target_opening < CLOSED_PX))
            unlike = 1 - _correlations(opening, target_opening, known)
            for component in CORRELATED_COMPONENTS:
                unlike = unlike + 0.2 * (1 - _correlations(generated[..., component], target[..., component], known))
            change_error = (generated.diff(dim=1) - target.diff(dim=1)).abs()
            values = (
                _known_mean(error, known),
                _known_mean(open_error, known),
                unlike * speaks,
                _known_mean((change_error * self._importance).sum(-1), both),
            )
            sums = sums + torch.stack([each.mean() for each in values])
        value, opening, correlated, velocity = (sums / len(members)).unbind()
        return {"value": value, "opening": opening, "correlation": correlated, "velocity": velocity}

    def validate(self, network: nn.Module) -> Validation:
        by_speaker = {
            speaker: speaker_mean([self._measured(network, track) for track in own])
            for speaker, own in self.val.by_speaker.items()
        }
        calibration = self._measured_calibration(network)
        for measured in by_speaker.values():
            measured.update(zip(CALIBRATION, calibration, strict=True))
        return Validation(by_speaker, "opening_correlation_in_sync", higher_is_better=True)

    def _measured(self, network: nn.Module, track: TrainingTrack) -> dict[str, float]:
        """Return agreement of predicted and filmed mouth; ``in_sync`` after the speaker's audio-video offset."""
        generated, mouths = self._predict(network, track), track.landmarks[:, MOUTH_POINTS]
        opening, width, filmed_width = vertical_opening(generated), _width(generated), _width(mouths)
        times = np.arange(len(track))
        in_sync = np.interp(times + self._av_offsets[track.speaker], times, track.opening)
        return {
            "opening_correlation": correlation(opening, track.opening),
            "opening_correlation_in_sync": correlation(opening, in_sync),
            "opening_ratio": _ratio(opening, track.opening),
            "width_correlation": correlation(width, filmed_width),
            "width_ratio": _ratio(width, filmed_width),
        }

    def _measured_calibration(self, network: nn.Module) -> tuple[float, float, float]:
        """Return the values of ``CALIBRATION`` that give the motion of training speakers the spread of its targets."""
        generated, wanted = [], []
        basis = network.get_buffer("basis").cpu().numpy()
        for own in self.train.by_speaker.values():
            track = max(own, key=len)
            generated.append(self._predict(network, track))
            wanted.append((self._components[track.key] @ basis).reshape(-1, MOUTH_COUNT, 2))
        ours, theirs = np.concatenate(generated), np.concatenate(wanted)
        own_quantiles = np.quantile(vertical_opening(ours), CALIBRATION_QUANTILES)
        scale, shift = np.polyfit(own_quantiles, np.quantile(vertical_opening(theirs), CALIBRATION_QUANTILES), 1)
        width = float(_width(theirs).std() / max(1e-3, float(_width(ours).std())))
        limited = np.clip([scale, shift, width], *CALIBRATION_LIMITS)
        return float(limited[0]), float(limited[1]), float(limited[2])

    def _predict(self, network: nn.Module, track: TrainingTrack) -> Floats:
        """Return the mouth motion of a whole track, (T, 20, 2) px."""
        source = self._heard[track.key][0]
        seen = torch.from_numpy(_rows_at(source, track, _row_steps(len(track)))[None]).to(self.device)
        tokens = None
        if source.tokens is not None and hasattr(network, "speech_mean"):
            tokens = torch.from_numpy(_tokens_at(source, track, _token_steps(len(track)))[None]).to(self.device)
        views = _standardised(network, seen, tokens)
        generated = torch.stack([member(*views)[0] for member in _members(network)]).mean(0)
        motion: Floats = (generated @ network.get_buffer("basis")).reshape(-1, MOUTH_COUNT, 2).cpu().numpy()
        return motion

    @torch.no_grad()
    def _measured_offsets(self, tracks: TrackSet) -> dict[str, float]:
        audio_to_mouth = load(packaged_audio_to_mouth(), AudioToMouth)[0].to(self.device)
        return speaker_av_offsets(lambda track: vertical_opening(self._predict(audio_to_mouth, track)), tracks)

    def network_config(self) -> dict[str, Any]:
        return self.network.config.to_dict()


def packaged_speech_encoder() -> RunnableGraph:
    """Return the graph of the default set's speech encoder."""
    return graph_loader("cpu")(weight_set().path(SPEECH_ENCODER), "features")


def packaged_audio_to_mouth() -> Path:
    """Return the weight file of the default set's audio-to-mouth network."""
    return weight_set().path(AUDIO_TO_MOUTH)


def fill_phone_model(network: AudioToMouth) -> None:
    """Fill a network's acoustic model from the package's own weights.

    Raises:
        WeightsError: they hold none of this version.
    """
    path = packaged_audio_to_mouth()
    _, tensors = read_weights(path)
    with torch.no_grad():
        for name, buffer in network.likelihoods.named_buffers():
            found = [key for key in tensors if key.endswith(f"likelihoods.{name}")]
            if len(found) != 1 or tensors[found[0]].shape != tuple(buffer.shape):
                raise WeightsError(
                    f"{path} has no phone model of this version", 'set audio_to_mouth.phone_model = "none"'
                )
            buffer.copy_(torch.from_numpy(tensors[found[0]]))


def fill_from(network: AudioToMouth, path: Path) -> None:
    """Fill a network from a file, which may lack the branch for speech tokens, and the calibration."""
    header, tensors = read_weights(path, AudioToMouth.architecture)
    added: Tensors = {}
    if network.config.speech_channels and not header.config.get("speech_channels", 0):
        added = {
            name: value.numpy() for name, value in network.state_dict().items() if "speech" in name or "join" in name
        }
    fill_tensors(network, path, {"calibration": network.calibration.numpy(), **tensors, **added})


def principal_components(motion: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return orthonormal directions (count, 40), and the standard deviation along each, of (T, 40) around 0."""
    _, directions = np.linalg.eigh(motion.T.astype(np.float64) @ motion)
    directions = directions[:, ::-1][:, :count].T
    directions = directions * np.where(directions.sum(axis=1, keepdims=True) < 0, -1, 1)
    deviations = (motion @ directions.T).std(axis=0)
    return np.ascontiguousarray(directions, np.float32), deviations.astype(np.float32)


def _directions(basis: Floats) -> tuple[Floats, Floats]:
    """Return the orthonormal directions of a basis (K, 40) px, and the standard deviation along each."""
    deviations = np.linalg.norm(basis, axis=1)
    return basis / deviations[:, None], deviations


def motions(tracks: TrackSet, likeness: float) -> dict[str, Floats]:
    """Return key → mouth motion of the track, (T, 40) px away from the closed mouth; ``likeness`` as in the config."""
    moves = {
        speaker: float(np.sqrt(np.mean([track.opening.var() for track in own])))
        for speaker, own in tracks.by_speaker.items()
    }
    average = np.mean(list(moves.values()))
    found = {}
    for speaker, own in tracks.by_speaker.items():
        offset = closed_offset(own)
        factor = float(np.clip((average / max(1e-3, moves[speaker])) ** likeness, *LIKENESS_LIMITS))
        for track in own:
            moved = _around_mean(track.landmarks[:, MOUTH_POINTS]) - offset
            alike = (moved + moved[:, MIRROR_MOUTH] * np.array([-1, 1])) / 2
            found[track.key] = (alike * factor).reshape(len(track), 2 * MOUTH_COUNT).astype(np.float32)
    return found


def _around_mean(mouths: Floats) -> Floats:
    """Return mouths (T, 20, 2) minus their mean over three seconds around each frame."""
    flat = mouths.reshape(len(mouths), -1)
    if len(flat) <= MEAN_FRAMES:
        return np.asarray(mouths - mouths.mean(axis=0), np.float32)
    box = np.ones(MEAN_FRAMES)
    count = np.convolve(np.ones(len(flat)), box, "same")
    mean = np.stack([np.convolve(column, box, "same") / count for column in flat.T], axis=1)
    return (flat - mean).reshape(mouths.shape).astype(np.float32)


@torch.no_grad()
def audio_views(phones: PhoneLikelihoods | None, audio: Waveform) -> NDArray[np.float16]:
    """Return plain bands and phone likelihoods (64 + R + 64, 64 + 126) of audio of R rows with silence around it."""
    outside = np.repeat(silent_row()[None], OUTSIDE_ROWS + 3, axis=0)
    rows = np.concatenate([outside, predictor_rows(audio), outside])
    plain = rows[3:-3, :PLAIN_BANDS]
    if phones is None:
        likely = np.ones((len(plain), PHONES * STATES), np.float32)
    else:
        likely = phones(torch.from_numpy(rows[:, PLAIN_BANDS:].T[None].copy()))[0].numpy().T
    return np.concatenate([plain, likely], axis=1).astype(np.float16)


def _quiet(views: NDArray[np.float16], encoder: RunnableGraph | None, noise: Waveform) -> AudioViews:
    """Return views of noise without the silence around it."""
    tokens = speech_features(encoder, noise) if encoder else None
    inside = views[OUTSIDE_ROWS:-OUTSIDE_ROWS]
    return AudioViews(inside, None if tokens is None else tokens[: len(inside) // 2].astype(np.float16), 1.0)


def _with_encoder(config: AudioToMouthConfig, encoder: RunnableGraph | None) -> AudioToMouthConfig:
    if encoder is None:
        return config
    header = encoder.header
    return replace(config, speech_channels=int(header.config["width"]), speech_encoder=header.sha256)


def _row_steps(frames: int) -> NDArray[np.int64]:
    """Return the rows that frames 0 … ``frames`` − 1 see, relative to where frame 0 begins."""
    return np.arange(MIDDLE_ROW - REACH, 4 * (frames - 1) + MIDDLE_ROW + REACH + 1)


def _token_steps(frames: int) -> NDArray[np.int64]:
    """Return the speech tokens that frames 0 … ``frames`` − 1 see, relative to the one where frame 0 begins."""
    return np.arange(tokens_needed(frames)) - SPEECH_TOKENS_PER_FRAME * SPEECH_FRAMES_BEFORE


def _rows_at(source: AudioViews, track: TrainingTrack, rows: NDArray[Any]) -> Floats:
    """Return views by the number of the row of the track, 0 where its first frame begins."""
    places = np.rint((rows + MFCC_PER_FRAME * track.lead_frames) * source.rate).astype(int) + OUTSIDE_ROWS
    return np.asarray(source.views[np.clip(places, 0, len(source.views) - 1)], np.float32)


def _tokens_at(source: AudioViews, track: TrainingTrack, tokens: NDArray[Any]) -> Floats:
    """Return speech tokens by their number, 0 where the track's first frame begins."""
    assert source.tokens is not None
    places = np.rint((tokens + SPEECH_TOKENS_PER_FRAME * track.lead_frames) * source.rate).astype(int)
    return np.asarray(source.tokens[np.clip(places, 0, len(source.tokens) - 1)], np.float32)


def _members(network: nn.Module) -> list[nn.Module]:
    return list(network.get_submodule("members").children())


def _standardised(network: nn.Module, views: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, ...]:
    """Return views (N, L, 190) and tokens (N, M, C) as a member's inputs, bands and tokens standardised."""
    plain, phones = views.transpose(1, 2).split([PLAIN_BANDS, views.shape[2] - PLAIN_BANDS], dim=1)  # type: ignore[no-untyped-call]
    inputs = (plain - network.get_buffer("plain_mean")) / network.get_buffer("plain_deviation"), phones[..., 2:-2]
    if tokens is None:
        return inputs
    tokens = (tokens.float().mT - network.get_buffer("speech_mean")) / network.get_buffer("speech_deviation")
    return (*inputs, tokens)


def _ratio(generated: Floats, filmed: Floats) -> float:
    return float(generated.std() / max(1e-3, float(filmed.std())))


def _width(mouths: Floats) -> Floats:
    width: Floats = mouths[:, CORNERS[1], 0] - mouths[:, CORNERS[0], 0]
    return width


def _known_mean(values: Tensor, known: Tensor) -> Tensor:
    """(N, T) → (N,): mean over the frames that are known."""
    return (values * known).sum(1) / known.sum(1).clamp(min=1)


def _correlations(one: Tensor, other: Tensor, known: Tensor) -> Tensor:
    """(N, T), (N, T) → (N,): Pearson's over the frames that are known; little where both hardly move."""
    one = (one - _known_mean(one, known)[:, None]) * known
    other = (other - _known_mean(other, known)[:, None]) * known
    found: Tensor = (one * other).sum(1) / (one.square().sum(1) * other.square().sum(1) + 1e-2).sqrt()
    return found
