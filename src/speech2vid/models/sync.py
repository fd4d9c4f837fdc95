"""The network that hears and sees: how well a stretch of audio fits a moving mouth (Sect. 4, 7; SyncNet's shape).

Two streams end in unit vectors of the same space, and their scalar product says how well they fit:

* image: 5 consecutive frames of the mouth region, grey and small, together with the landmarks of mouth and chin. Both
  come with their mean over about 3 s taken out (``frontend.mouth_views``): what is left is movement, not the person;
* audio: 0.41 s around the middle frame, by the first layers of the shape predictor, whose phone likelihoods carry over
  to unseen speakers. SyncNet's 13 MFCC of 0.2 s did not, on the few speakers there are to train on.

It is trained by multi-way matching (Chung, Chung & Kang 2019): every time step of the clip is a candidate, see
``losses.matching_loss``. All convolutions over time are "valid": no padding tells where a clip ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.constants import MFCC_PER_FRAME
from speech2vid.models.audio_to_mouth import (
    PHONE_BANDS,
    PLAIN_BANDS,
    AudioToMouth,
    AudioToMouthConfig,
    AudioToMouthMember,
    PhoneLikelihoods,
)
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network

CROP_ROWS, CROP_COLUMNS = 32, 48
POINT_COORDINATES = 58  # x, y of 20 mouth and 9 chin landmarks
VIDEO_FRAMES = 5
VIDEO_REACH = VIDEO_FRAMES // 2
AUDIO_BLOCKS = 2  # of the shape predictor's three
AUDIO_REACH_ROWS = 20
AUDIO_WINDOW_ROWS = 2 * AUDIO_REACH_ROWS + 1


@dataclass(frozen=True)
class SyncConfig(NetworkConfig):
    """Sizes of the network.

    Attributes:
        width: channels of the streams.
        audio_width: channels of the layers taken from the shape predictor.
        embedding: length of the vectors that are compared.
        dropout: share of channels dropped in training.
        window_rows: how many rows of audio one frame sees; no other number is possible.
    """

    width: int = 96
    audio_width: int = 96
    embedding: int = 128
    dropout: float = 0.2
    window_rows: int = AUDIO_WINDOW_ROWS


def audio_rows_needed(frames: int) -> int:
    """Rows from which the vectors of ``frames`` consecutive frames are made."""
    return AUDIO_WINDOW_ROWS + MFCC_PER_FRAME * (frames - 1)


def _layer(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv1d(inputs, outputs, kernel, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(outputs), nn.ReLU())


def _crop_layer(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class CropLayers(nn.Module):
    """Three consecutive images at a time → a vector: (N, T, 32, 48) → (N, width, T − 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_crop_layer(3, 16, 5), _crop_layer(16, 32, 3), _crop_layer(32, 64, 3))
        self.join = nn.Linear(64 * CROP_ROWS // 8 * (CROP_COLUMNS // 8), width)

    def forward(self, crops: Tensor) -> Tensor:
        triples = torch.stack([crops[:, :-2], crops[:, 1:-1], crops[:, 2:]], dim=2)
        vectors: Tensor = self.join(self.layers(triples.flatten(0, 1)).flatten(1))
        return vectors.reshape(triples.shape[0], -1, vectors.shape[1]).transpose(1, 2)


class SyncNetwork(Network):
    """Image and audio → unit vectors, one a frame; see the module.

    Frame i, shown from i/25 s to (i + 1)/25 s, is the middle of images i − 2 … i + 2 and of audio rows
    4 i + 2 − 20 … 4 i + 2 + 20 (``audio.logmel``).
    """

    architecture: ClassVar[str] = "sync"
    Config: ClassVar[type[NetworkConfig]] = SyncConfig
    config: SyncConfig
    plain_mean: Tensor
    plain_deviation: Tensor

    def __init__(self, config: SyncConfig | None = None) -> None:
        config = config or SyncConfig()
        super().__init__(config)
        width, embedding, dropout = config.width, config.embedding, config.dropout
        self.pictures = CropLayers(width)
        self.points = _layer(POINT_COORDINATES, width, 3)
        self.video_head = nn.Sequential(
            nn.BatchNorm1d(2 * width),
            nn.ReLU(),
            nn.Dropout1d(dropout),
            _layer(2 * width, 2 * width, VIDEO_FRAMES - 2),
            nn.Dropout1d(dropout),
            nn.Conv1d(2 * width, embedding, 1),
        )
        self.likelihoods = PhoneLikelihoods()
        self.register_buffer("plain_mean", torch.zeros(PLAIN_BANDS, 1))
        self.register_buffer("plain_deviation", torch.ones(PLAIN_BANDS, 1))
        self.heard = AudioToMouthMember(AudioToMouthConfig(width=config.audio_width, dropout=dropout))
        self.heard.blocks = nn.Sequential(*list(self.heard.blocks)[:AUDIO_BLOCKS])
        self.heard.head = nn.Sequential(
            nn.BatchNorm1d(config.audio_width),
            nn.Dropout1d(dropout),
            _layer(config.audio_width, 2 * width, 1),
            nn.Dropout1d(dropout),
            nn.Conv1d(2 * width, embedding, 1),
        )
        self.log_scale = nn.Parameter(torch.tensor(2.3))  # of the scaled cosine similarity

    def listen_like(self, predictor: AudioToMouth) -> None:
        """Take over the phone model and the first layers of the audio stream from a trained shape predictor."""
        self.likelihoods.load_state_dict(predictor.likelihoods.state_dict())
        self.plain_mean.copy_(predictor.plain_mean)
        self.plain_deviation.copy_(predictor.plain_deviation)
        member = predictor.members[0].state_dict()
        kept = {name: value for name, value in self.heard.state_dict().items() if name.startswith("head.")}
        shared = {name: member[name] for name in self.heard.state_dict() if name not in kept}
        self.heard.load_state_dict({**shared, **kept})

    def video(self, crops: Tensor, points: Tensor) -> Tensor:
        """(N, T, 32, 48) and (N, T, 58) float32, see ``frontend.mouth_views`` → (N, T − 4, E), of length 1."""
        seen = torch.cat([self.pictures(crops), self.points(points.transpose(1, 2))], dim=1)
        return functional.normalize(self.video_head(seen).transpose(1, 2), dim=2)

    def audio(self, rows: Tensor) -> Tensor:
        """Rows (N, 89, 4 (T − 1) + 41) of ``audio.logmel`` → (N, T, E), of length 1."""
        plain = (rows[:, :PLAIN_BANDS, 1 : rows.shape[2] - 1] - self.plain_mean) / self.plain_deviation
        return self.listen(plain, self.likelihoods(rows[:, PLAIN_BANDS:]))

    def listen(self, plain: Tensor, phones: Tensor) -> Tensor:
        """Standardised bands (N, 64, L − 2) and phone likelihoods (N, 126, L − 6) of L rows → (N, T, E)."""
        return functional.normalize(self.heard(plain, phones), dim=2)

    def graphs(self) -> tuple[Graph, ...]:
        """``video``: images, points → vectors; ``audio``: rows (1, R, 89) → vectors."""
        frames = {"crops": self.plain_mean.new_zeros(1, 9, CROP_ROWS, CROP_COLUMNS)}
        frames["points"] = self.plain_mean.new_zeros(1, 9, POINT_COORDINATES)
        rows = {"rows": self.plain_mean.new_zeros(1, audio_rows_needed(9), PLAIN_BANDS + PHONE_BANDS)}
        return (
            Graph(
                "video",
                lambda given: {"vectors": self.video(given["crops"], given["points"])},
                frames,
                {"crops": {1: "frames"}, "points": {1: "frames"}, "vectors": {1: "steps"}},
            ),
            Graph(
                "audio",
                lambda given: {"vectors": self.audio(given["rows"].transpose(1, 2))},
                rows,
                {"rows": {1: "rows"}, "vectors": {1: "frames"}},
            ),
        )
