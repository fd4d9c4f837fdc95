"""Audio → mouth shape: what drives the ``warp`` talker (our own network; the paper has none like it).

Three views of the audio meet:

* what is said: the likelihood of every English phone state under CMU Sphinx's acoustic model (``en-us``, BSD licence;
  42 phones × 3 states, each a mixture of 128 Gaussians over 3 streams), computed here by ordinary layers. It was
  trained on far more voices than we have faces for, so it carries over to unseen speakers, also in other languages;
* how it sounds: plain log-mel bands through convolutions in frequency and time, so that another voice is a small shift;
* what Whisper's encoder (``models/speech_encoder.py``) makes of it, if ``speech_channels`` says so: trained on many
  languages, and with 1.6 s of the past in view.

Dilated convolutions at the frame rate look 0.24 s to either side in the first two. All convolutions are "valid":
``window_rows`` rows around a frame, and ``SPEECH_TOKENS`` tokens, mostly before it, give its shape; a longer stretch
gives consecutive frames, with equal values. The answer lies in the space of the principal components of real mouth
movement; several members may be averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from speech2vid.constants import INNER_BOTTOM, INNER_TOP, MFCC_PER_FRAME, MOUTH_COUNT, MOUTH_POINTS
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network

PLAIN_BANDS, PHONE_BANDS = 64, 25  # columns of a row, in this order
CEPSTRA, STREAMS, PHONES, GAUSSIANS, STATES = 13, 3, 42, 128, 3
DILATIONS = (1, 2, 3)
NOT_CALIBRATED = (1.0, 0.0, 1.0)

_DELTA_ROWS = 3  # the streams look this far to either side
_FRONT_ROWS = 7  # so does what comes before the dilated convolutions
SPEECH_FRAMES_BEFORE, SPEECH_FRAMES_AFTER = 6, 1  # whose tokens a frame sees; the encoder has looked ahead already
SPEECH_TOKENS_PER_FRAME = 2
# Frame i sees tokens 2 i − 12 … 2 i + 4; its middle is token 2 i + 1.
SPEECH_TOKENS = SPEECH_TOKENS_PER_FRAME * (SPEECH_FRAMES_BEFORE + SPEECH_FRAMES_AFTER) + 3
REACH_ROWS = _FRONT_ROWS + MFCC_PER_FRAME * sum(DILATIONS) + 1  # 32: the phone view needs one row more than the plain
WINDOW_ROWS = 2 * REACH_ROWS + 1


@dataclass(frozen=True)
class AudioToMouthConfig(NetworkConfig):
    """Sizes of the network.

    Attributes:
        width: channels at the frame rate, a multiple of 8.
        components: principal components of the mouth shape.
        members: networks whose answers are averaged.
        dropout: share of channels dropped in training.
        window_rows: how many rows one frame is predicted from; no other number is possible.
        speech_channels: of the speech encoder's tokens; 0 to do without them.
        speech_encoder: SHA-256 of the speech encoder's weights that the network was trained with, or its beginning.
        calibrated: whether opening and width are calibrated after the members; see :class:`AudioToMouth`.
    """

    width: int = 96
    components: int = 8
    members: int = 1
    dropout: float = 0.2
    window_rows: int = WINDOW_ROWS
    speech_channels: int = 0
    speech_encoder: str = ""
    calibrated: bool = False


def rows_needed(frames: int) -> int:
    """Rows from which ``frames`` consecutive frames are predicted."""
    return WINDOW_ROWS + MFCC_PER_FRAME * (frames - 1)


def tokens_needed(frames: int) -> int:
    """Speech tokens from which ``frames`` consecutive frames are predicted."""
    return SPEECH_TOKENS + SPEECH_TOKENS_PER_FRAME * (frames - 1)


class PhoneLikelihoods(nn.Module):
    """Log likelihoods of phone states under a mixture of Gaussians, relative to the likeliest; nothing is trained.

    Its buffers come from Sphinx's files ``means``, ``variances`` and ``sendump``, see the training script.
    """

    cepstral: Tensor
    square: Tensor
    linear: Tensor
    constant: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        total = PHONES * GAUSSIANS
        self.register_buffer("cepstral", torch.zeros(CEPSTRA, PHONE_BANDS, 1))
        self.register_buffer("square", torch.zeros(STREAMS, total, CEPSTRA, 1))
        self.register_buffer("linear", torch.zeros(STREAMS, total, CEPSTRA, 1))
        self.register_buffer("constant", torch.zeros(STREAMS, total))
        self.register_buffer("weights", torch.zeros(STREAMS, PHONES * STATES, GAUSSIANS, 1))

    def forward(self, bands: Tensor) -> Tensor:
        """Normalised log-mel bands (N, 25, L) → (N, 126, L − 6): 1 for the likeliest state, −3 for the unlikely."""
        cepstra = nn.functional.conv1d(bands, self.cepstral)
        length = cepstra.shape[2] - 2 * _DELTA_ROWS

        def at(row: int) -> Tensor:
            return cepstra[:, :, _DELTA_ROWS + row : _DELTA_ROWS + row + length]

        streams = (at(0), at(2) - at(-2), (at(3) - at(-1)) - (at(1) - at(-3)))
        scores = torch.zeros(())
        for k, stream in enumerate(streams):
            density = nn.functional.conv1d(stream.square(), self.square[k], self.constant[k])
            density = (density + nn.functional.conv1d(stream, self.linear[k])).reshape(-1, PHONES, GAUSSIANS, length)
            highest = density.amax(dim=2, keepdim=True)
            likelihood = nn.functional.conv1d((density - highest).exp().flatten(1, 2), self.weights[k], groups=PHONES)
            likelihood = (likelihood + 1e-30).log().reshape(-1, PHONES, STATES, length) + highest
            scores = scores + likelihood.flatten(1, 2)
        relative = (scores - scores.amax(dim=1, keepdim=True)) / 10.0
        return relative.clamp(min=-4.0) + 1.0


class _Block(nn.Module):
    """Residual dilated convolution over frames, (N, C, T + 2 d) → (N, C, T)."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, 3, dilation=dilation, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout1d(dropout),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x[:, :, self.dilation : x.shape[2] - self.dilation] + self.layers(x)
        return out


def _plain_layer(inputs: int, outputs: int, kernel: int, stride: tuple[int, int]) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel // 2, 0), bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv1d(inputs, outputs, kernel, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(outputs), nn.ReLU())


class SpeechBranch(nn.Module):
    """Speech tokens (N, C, 2 (T − 1) + 17), standardised → (N, width, T): frame i sees frames i − 6 … i + 1."""

    def __init__(self, channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Sequential(
            nn.Dropout1d(dropout), _layer(channels, width, 1), nn.Dropout1d(dropout), _layer(width, width, 3, 2)
        )
        self.near = nn.Sequential(nn.Dropout1d(dropout), _layer(width, width, 4))
        self.before = nn.Sequential(
            nn.Conv1d(width, width, 3, dilation=2, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout1d(dropout)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        near = self.near(self.tokens(tokens))
        out: Tensor = near[:, :, 4:] + self.before(near)
        return out


class AudioToMouthMember(nn.Module):
    """One member: plain bands, phone likelihoods and speech tokens → coefficients of the mouth shape.

    Lengths for T frames: plain 4 (T − 1) + 63 rows, phones 4 (T − 1) + 59 rows, both around the same middle; tokens
    2 (T − 1) + 17.
    """

    def __init__(self, config: AudioToMouthConfig) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        narrow = (width // 8, width // 4, 3 * width // 8)
        self.plain = nn.Sequential(
            _plain_layer(1, narrow[0], 5, (2, 1)),
            _plain_layer(narrow[0], narrow[1], 3, (2, 2)),
            _plain_layer(narrow[1], narrow[2], 3, (2, 1)),
        )
        self.phones = nn.Sequential(
            nn.Dropout1d(dropout / 2), _layer(PHONES * STATES, width, 5), _layer(width, width, 3, 2)
        )
        self.mix = nn.Sequential(
            nn.Dropout1d(dropout),
            _layer(narrow[2] * PLAIN_BANDS // 8 + width, width, 1),
            _layer(width, width, 3, 2),
            nn.Dropout1d(dropout),
        )
        self.blocks = nn.Sequential(*[_Block(width, dilation, dropout) for dilation in DILATIONS])
        self.head = nn.Sequential(
            nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout1d(dropout), nn.Conv1d(width, config.components, 1)
        )
        if config.speech_channels:
            self.speech = SpeechBranch(config.speech_channels, width, dropout)
            last = nn.Conv1d(2 * width, width, 1)
            self.join = nn.Sequential(nn.BatchNorm1d(2 * width), nn.ReLU(), nn.Dropout1d(dropout), last)
            nn.init.zeros_(last.weight)  # what was trained without speech tokens is the start
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def forward(
        self, plain: Tensor, phones: Tensor, tokens: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """Return coefficients (N, T, components).

        Args:
            plain: (N, 64, L) standardised.
            phones: (N, 126, L − 4).
            tokens: (N, C, M) standardised.
            keep: (N, 1, 1) 1 or 0, where 0 leaves only the tokens to be heard; in training.
        """
        views = torch.cat([self.plain(plain[:, None]).flatten(1, 2), self.phones(phones)], dim=1)
        frames = self.blocks(self.mix(views))
        if tokens is not None:
            frames = frames if keep is None else frames * keep
            frames = frames + self.join(torch.cat([frames, self.speech(tokens)], dim=1))
        coefficients: Tensor = self.head(frames)
        return coefficients.transpose(1, 2)


class AudioToMouth(Network):
    """Rows of audio, and speech tokens → movement of the mouth landmarks away from the speaker's rest.

    Frame i, shown from i/25 s to (i + 1)/25 s, is the middle of rows 4 i + 2 − 32 … 4 i + 2 + 32. Rows outside the
    audio are ``audio.logmel.silent_row``.

    A regression moves too little and closes the lips too seldom, since what cannot be heard becomes its mean. Buffer
    ``calibration`` holds scale and shift (px) of the opening, and the scale of the width. The opening becomes
    scale · opening + shift, but neither negative nor, where the members ask for less than the closed mouth, more.
    """

    architecture: ClassVar[str] = "audio_to_mouth"
    Config: ClassVar[type[NetworkConfig]] = AudioToMouthConfig
    config: AudioToMouthConfig
    plain_mean: Tensor
    plain_deviation: Tensor
    speech_mean: Tensor
    speech_deviation: Tensor
    basis: Tensor
    calibration: Tensor

    def __init__(self, config: AudioToMouthConfig | None = None) -> None:
        config = config or AudioToMouthConfig()
        super().__init__(config)
        self.likelihoods = PhoneLikelihoods()
        self.members = nn.ModuleList([AudioToMouthMember(config) for _ in range(config.members)])
        self.register_buffer("plain_mean", torch.zeros(PLAIN_BANDS, 1))
        self.register_buffer("plain_deviation", torch.ones(PLAIN_BANDS, 1))
        if config.speech_channels:
            self.register_buffer("speech_mean", torch.zeros(config.speech_channels, 1))
            self.register_buffer("speech_deviation", torch.ones(config.speech_channels, 1))
        self.register_buffer("basis", torch.zeros(config.components, 2 * MOUTH_COUNT))
        if config.calibrated:
            self.register_buffer("calibration", torch.tensor(NOT_CALIBRATED))

    def views(self, rows: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what a member takes.

        Args:
            rows: (N, 89, L).
            tokens: (N, C, M), where the network takes them.

        Returns:
            plain (N, 64, L − 2), phones (N, 126, L − 6), and tokens (N, C, M) where they are given.
        """
        plain = (rows[:, :PLAIN_BANDS, 1 : rows.shape[2] - 1] - self.plain_mean) / self.plain_deviation
        views = (plain, self.likelihoods(rows[:, PLAIN_BANDS:]))
        return views if tokens is None else (*views, (tokens - self.speech_mean) / self.speech_deviation)

    def forward(self, rows: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return the movement, (N, T, 20, 2) x, y in pixels of the 112 px face, 0 at rest.

        Args:
            rows: (N, 89, 4 (T − 1) + 65) float32.
            tokens: (N, C, 2 (T − 1) + 17) float32, where the network takes them.
        """
        views = self.views(rows, tokens)
        coefficients = torch.stack([member(*views) for member in self.members]).mean(dim=0)
        motion = coefficients @ self.basis
        if self.config.calibrated:
            motion = self._calibrated(motion)
        return motion.reshape(*coefficients.shape[:2], MOUTH_COUNT, 2)

    def _calibrated(self, motion: Tensor) -> Tensor:
        """Return motion (N, T, 40) with opening and width calibrated."""
        opens = motion.new_zeros(MOUTH_COUNT, 2)
        opens[[point - MOUTH_POINTS.start for point in INNER_BOTTOM], 1] = 1 / len(INNER_BOTTOM)
        opens[[point - MOUTH_POINTS.start for point in INNER_TOP], 1] = -1 / len(INNER_TOP)
        opens = opens.flatten()
        components = self.basis @ opens
        direction = (components @ self.basis) / components.square().sum().clamp(min=1e-6)  # by 1 px, as people do
        opening = motion @ opens
        wanted = (self.calibration[0] * opening + self.calibration[1]).maximum(opening.clamp(max=0.0))
        moved = motion + (wanted - opening)[..., None] * direction
        return moved * torch.stack([self.calibration[2], self.calibration[2].new_ones(())]).repeat(MOUTH_COUNT)

    def graphs(self) -> tuple[Graph]:
        """``mouth_motion``: rows (1, R, 89), and tokens (1, M, C) if the network takes them → (1, T, 20, 2) px."""
        example = {"logmel": self.basis.new_zeros(1, rows_needed(9), PLAIN_BANDS + PHONE_BANDS)}
        free = {"logmel": {1: "rows"}, "mouth_motion": {1: "frames"}}
        if not self.config.speech_channels:
            return (
                Graph(
                    "mouth_motion", lambda given: {"mouth_motion": self(given["logmel"].transpose(1, 2))}, example, free
                ),
            )
        example["speech"] = self.basis.new_zeros(1, tokens_needed(9), self.config.speech_channels)

        def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"mouth_motion": self(given["logmel"].transpose(1, 2), given["speech"].transpose(1, 2))}

        return (Graph("mouth_motion", run, example, {**free, "speech": {1: "tokens"}}),)
