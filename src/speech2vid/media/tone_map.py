"""HDR (PQ and HLG, ITU-R BT.2100) to the SDR that networks and 8-bit video expect, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.types import Floats, Image

PQ, HLG = 16, 18  # AVColorTransferCharacteristic
BT2020 = 9  # AVColorPrimaries
WHITE_NITS = 203.0  # diffuse white of HDR (ITU-R BT.2408), which becomes the white of SDR
HLG_PEAK_NITS, HLG_GAMMA = 1000.0, 1.2
HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # of PQ
KNEE = 0.8  # linear light above it is compressed, so that highlights keep some structure
SDR_GAMMA = 2.4  # of a display (ITU-R BT.1886)
BRIGHTEST = 10_000 / WHITE_NITS
LUMA = np.array([0.2627, 0.6780, 0.0593])  # BT.2020
BT709_OF_BT2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
CODES = 65536


@dataclass(frozen=True)
class ToneMap:
    """The mapping between the code values of an HDR video and SDR.

    Attributes:
        transfer: ``PQ`` or ``HLG``.
        wide: whether the primaries are those of BT.2020.
    """

    transfer: int
    wide: bool

    def sdr(self, codes: NDArray[np.uint16]) -> Image:
        """Return BT.709 SDR, (H, W, 3) uint8, from RGB code values (H, W, 3) over the whole range of uint16."""
        light = _light_of_codes(self.transfer)[codes]
        if self.transfer == HLG:
            gain = HLG_PEAK_NITS / WHITE_NITS * self._luma(light) ** (HLG_GAMMA - 1)
            light = np.asarray(light * gain, np.float32)
        if self.wide:
            light = np.asarray(cv2.transform(light, BT709_OF_BT2020), np.float32)
        level = np.sqrt(np.clip(light, 0, BRIGHTEST) * np.float32(1 / BRIGHTEST)) * np.float32(CODES - 1)
        return np.asarray(_sdr_of_levels()[level.astype(np.uint16)], np.uint8)

    def codes(self, sdr: Floats) -> Floats:
        """Return the RGB code values, 0–1, that show an SDR image, (H, W, 3) float 0–1."""
        light = np.clip(sdr, 0, 0.998).astype(np.float64) ** SDR_GAMMA
        bright = light > KNEE
        light[bright] = KNEE - (1 - KNEE) * np.log(1 - (light[bright] - KNEE) / (1 - KNEE))
        if self.wide:
            light = np.maximum(light @ np.linalg.inv(BT709_OF_BT2020).T, 0)
        if self.transfer == HLG:
            light = light * (WHITE_NITS / HLG_PEAK_NITS)
            light = light / np.maximum(self._luma(light), 1e-6) ** (1 - 1 / HLG_GAMMA)
            high = HLG_A * np.log(np.maximum(12 * light - HLG_B, 1e-6)) + HLG_C
            return np.asarray(np.where(light <= 1 / 12, np.sqrt(3 * light), high), np.float32)
        power = (light * WHITE_NITS / 10_000) ** M1
        return np.asarray(((C1 + C2 * power) / (1 + C3 * power)) ** M2, np.float32)

    @staticmethod
    def _luma(light: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(light @ LUMA.astype(light.dtype), light.dtype)[..., None]


def tone_map_of(transfer: int, primaries: int) -> ToneMap | None:
    """Return the tone mapping of a video with these colour tags (FFmpeg's numbers); None for SDR."""
    return ToneMap(transfer, primaries == BT2020) if transfer in (PQ, HLG) else None


@cache
def _light_of_codes(transfer: int) -> Floats:
    """Linear light of each code: relative to diffuse white for PQ, scene light 0–1 for HLG."""
    code = np.arange(CODES) / (CODES - 1)
    if transfer == HLG:
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - HLG_C) / HLG_A) + HLG_B) / 12)
        return light.astype(np.float32)
    power = code ** (1 / M2)
    light = (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1)
    return np.asarray(light * BRIGHTEST, np.float32)


@cache
def _sdr_of_levels() -> NDArray[np.uint8]:
    """SDR code of each level, the square root of linear light up to the brightest."""
    light = (np.arange(CODES) / (CODES - 1)) ** 2 * BRIGHTEST
    bright = light > KNEE
    light[bright] = KNEE + (1 - KNEE) * (1 - np.exp(-(light[bright] - KNEE) / (1 - KNEE)))
    return np.rint(255 * light ** (1 / SDR_GAMMA)).astype(np.uint8)
