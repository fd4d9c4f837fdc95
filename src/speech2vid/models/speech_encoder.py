"""Whisper's audio encoder (Radford et al., 2022), run step by step over audio that arrives: what is being said.

The weights are those of the multilingual model ``base`` (MIT), converted by ``research/convert_whisper.py``; nothing is
trained here. Two convolutions turn log-mel rows at 100 Hz into tokens at 50 Hz, transformer layers follow.

Whisper hears 30 s at once, both ways in time. Here a step takes the tokens that are new and the keys and values of the
tokens before them. The last ``ahead`` tokens of a step only let the others look ahead: they come again in the next
step, then with the audio that follows them. ``inference/speech_features.py`` walks through the audio in this way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.constants import exact_div
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network

FEED_FORWARD = 4  # width of the feed-forward part in widths of a token
CONTEXT_ROWS = 2  # log-mel rows that a token needs before and after its own


@dataclass(frozen=True)
class SpeechEncoderConfig(NetworkConfig):
    """Sizes of the encoder.

    Attributes:
        width: channels of a token.
        heads: attention heads.
        layers: how many of Whisper's layers are there.
        bands: log-mel bands.
        positions: tokens that have a position, at most.
        ahead: tokens at the end of a step that serve as look-ahead only.
    """

    width: int = 512
    heads: int = 8
    layers: int = 6
    bands: int = 80
    positions: int = 320
    ahead: int = 8


class _Layer(nn.Module):
    """Self-attention and feed-forward layer, each behind a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, FEED_FORWARD * width), nn.GELU(), nn.Linear(FEED_FORWARD * width, width)
        )

    def forward(self, x: Tensor, past: Tensor, unused: int) -> tuple[Tensor, Tensor]:
        """Advance by the new tokens.

        Args:
            x: new tokens (1, n, C).
            past: keys and values of the tokens before, (2, H, P, C / H).
            unused: tokens at the end that no output is needed of.

        Returns:
            (1, n − unused, C), and the new keys and values (2, H, n, C / H).
        """
        normed = self.attention_norm(x)
        new = torch.stack([self._split(self.key(normed)), self._split(self.value(normed))])
        keys, values = torch.cat([past, new], dim=2)
        if unused:
            x, normed = x[:, :-unused], normed[:, :-unused]
        queries = self._split(self.query(normed))
        scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
        mixed = (scores.softmax(dim=-1) @ values).transpose(0, 1).flatten(1)[None]
        x = x + self.out(mixed)
        return x + self.feed_forward(self.feed_forward_norm(x)), new

    def _split(self, x: Tensor) -> Tensor:
        """(1, n, C) → (H, n, C / H)."""
        return x[0].reshape(x.shape[1], self.heads, -1).transpose(0, 1)


class SpeechEncoder(Network):
    """Log-mel rows → speech features: 50 tokens a second, token k centred on row 2 k."""

    architecture: ClassVar[str] = "speech_encoder"
    Config: ClassVar[type[NetworkConfig]] = SpeechEncoderConfig
    config: SpeechEncoderConfig
    positions: Tensor

    def __init__(self, config: SpeechEncoderConfig | None = None) -> None:
        config = config or SpeechEncoderConfig()
        super().__init__(config)
        self.conv1 = nn.Conv1d(config.bands, config.width, 3)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2)
        self.register_buffer("positions", torch.zeros(config.positions, config.width))
        self.layers = nn.ModuleList([_Layer(config.width, config.heads) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width)

    def forward(self, rows: Tensor, past: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Advance by n new tokens.

        Args:
            rows: (1, 2 n + 3, bands) log-mel rows in Whisper's scale: those of the tokens and two to either side.
            past: (2 layers, H, P, C / H) keys and values of the tokens before.
            position: (1,) float, position of the first new token.

        Returns:
            features (1, n − ahead, C) and the keys and values (2 layers, H, n − ahead, C / H) of all but the last
            ``ahead`` tokens.
        """
        x = functional.gelu(self.conv1(rows.transpose(1, 2)))
        row = torch.arange(x.shape[2], device=x.device) + 2 * position - 1
        x = functional.gelu(self.conv2(x * (row >= 0)))  # Whisper has zeros before its first row
        place = torch.arange(x.shape[2], device=x.device) + position.long()
        x = x.transpose(1, 2) + self.positions[place]
        ahead, last = self.config.ahead, len(self.layers) - 1
        present = []
        for k, layer in enumerate(self.layers):
            x, new = layer(x, past[2 * k : 2 * k + 2], ahead if k == last else 0)
            present.append(new[:, :, :-ahead])
        return self.norm(x), torch.cat(present)

    def graphs(self) -> tuple[Graph]:
        """``features``: as :meth:`forward`."""
        config, tokens = self.config, self.config.ahead + 10
        head = exact_div(config.width, config.heads)
        example = {
            "rows": self.positions.new_zeros(1, 2 * tokens + 1 + CONTEXT_ROWS, config.bands),
            "past": self.positions.new_zeros(2 * config.layers, config.heads, 20, head),
            "position": self.positions.new_full((1,), 20.0),
        }
        free = {"rows": {1: "rows"}, "past": {2: "before"}, "features": {1: "tokens"}, "present": {2: "tokens"}}

        def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
            features, present = self(given["rows"], given["past"], given["position"])
            return {"features": features, "present": present}

        return (Graph("features", run, example, free),)
