"""The channels of a recording → the mono signal in which its speech is heard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import av
import numpy as np
from numpy.typing import NDArray

from speech2vid.types import Waveform

BASS = {"LFE", "LFE2"}  # carries no speech
CENTRE = "FC"  # carries the dialogue of surround sound
HALF_LIFE_S = 1.0  # of what is remembered of the channels' power
LEAST_POWER = 1e-9  # -90 dB: below, nothing is decided
CENTRE_HEARD, CENTRE_GONE = 1e-3, 1e-4  # power relative to the loudest channel: from here on it is used, and no longer
CHANNEL_HEARD = 1e-4
OPPOSED = 6.0  # power of the difference of two channels over that of their sum: they cancel
INVERTED = -0.5  # correlation with the loudest channel


@dataclass(frozen=True)
class AudioBlock:
    """Consecutive audio. ``samples`` (C, N) float32 at ``rate_hz``; ``layout`` is FFmpeg's name of the channels."""

    samples: NDArray[np.float32]
    rate_hz: int
    layout: str

    @cached_property
    def channel_names(self) -> list[str]:
        """FFmpeg's names of the channels, such as FL; empty ones where it has none."""
        try:
            names = [channel.name for channel in av.AudioLayout(self.layout).channels]
        except ValueError:  # "16 channels", without an order
            names = []
        return names if len(names) == len(self.samples) else [""] * len(self.samples)


class SpeechMixer:
    """Mixes consecutive blocks to mono so that speech neither cancels nor fades.

    * Mono stays as it is; stereo is averaged. Where the two channels are of opposite polarity and would cancel, one of
      them is inverted.
    * Of more channels, the centre is taken where it carries sound: that is where the dialogue is. Otherwise the mean of
      the channels that carry sound is taken, inverted ones turned back. The bass channel never counts.

    What the channels carry is judged by their power in the recent past, the present block included; a change of mind is
    faded over one block.
    """

    def __init__(self) -> None:
        self._layout: tuple[str, int] | None = None
        self._products: NDArray[np.float64] = np.zeros((0, 0))  # power of each channel, and products of any two
        self._weights: NDArray[np.float32] = np.zeros(0, np.float32)
        self._usual: NDArray[np.float32] = np.zeros(0, np.float32)
        self._begun = False

    def __call__(self, block: AudioBlock) -> Waveform:
        """Return the mono signal of the next block, (N,) float32."""
        samples = block.samples
        if len(samples) == 1:
            return np.asarray(samples[0], np.float32)
        if self._layout != (block.layout, len(samples)):
            self._start(block)
        before, self._weights = self._weights, self._choose(block)
        changed = self._begun and not np.array_equal(before, self._weights)
        self._begun = True
        if changed:
            share = np.linspace(0, 1, samples.shape[1], dtype=np.float32)
            return np.asarray(before @ samples * (1 - share) + self._weights @ samples * share, np.float32)
        if np.array_equal(self._weights, self._usual):
            return np.asarray(samples[self._usual > 0].mean(axis=0), np.float32)
        return np.asarray(self._weights @ samples, np.float32)

    def _start(self, block: AudioBlock) -> None:
        channels = len(block.samples)
        self._layout = (block.layout, channels)
        self._products = np.zeros((channels, channels))
        speech = np.array([name not in BASS for name in block.channel_names])
        speech = speech if speech.any() else np.ones(channels, np.bool_)
        self._usual = self._weights = np.asarray(speech / speech.sum(), np.float32)
        self._begun = False

    def _choose(self, block: AudioBlock) -> NDArray[np.float32]:
        samples = block.samples.astype(np.float64)
        count = samples.shape[1]
        share = 1 - 0.5 ** (count / block.rate_hz / HALF_LIFE_S)
        self._products += share * (samples @ samples.T / max(1, count) - self._products)
        power = self._products.diagonal()
        if power.max() < LEAST_POWER:
            return self._weights
        return self._of_two() if len(power) == 2 else self._of_many(block.channel_names, power)

    def _of_two(self) -> NDArray[np.float32]:
        common = float(self._products.sum())
        difference = float(self._products.trace() - 2 * self._products[0, 1])
        opposed = difference > (common if self._weights[1] < 0 else OPPOSED * common)
        return np.array([0.5, -0.5], np.float32) if opposed else self._usual

    def _of_many(self, names: list[str], power: NDArray[np.float64]) -> NDArray[np.float32]:
        power = np.where(self._usual > 0, power, 0)
        loudest = int(power.argmax())
        if CENTRE in names:
            centre = names.index(CENTRE)
            alone = np.zeros(len(names), np.float32)
            alone[centre] = 1
            in_use = np.array_equal(self._weights, alone)
            if power[centre] > power[loudest] * (CENTRE_GONE if in_use else CENTRE_HEARD):
                return alone
        heard = power > CHANNEL_HEARD * power[loudest]
        alike = self._products[loudest] / np.sqrt(np.maximum(power * power[loudest], LEAST_POWER**2))
        signs = np.where(alike < INVERTED, -1.0, 1.0)
        return np.asarray(heard * signs / max(1, heard.sum()), np.float32)
