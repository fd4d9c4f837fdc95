"""Audio augmentation: other voices, rooms, microphones and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.framing import hz_of, mel_of
from speech2vid.audio.logmel import PLAIN_FLOOR, PLAIN_HIGH_HZ, PLAIN_LOW_HZ
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.types import Waveform

Rows = NDArray[np.float32]

VOCAL_TRACT = 0.15  # largest natural logarithm of the factor on frequencies
ECHO_ROWS, ECHO_DECAY_ROWS = 30, 8.0
NOISE_DB = (5.0, 35.0)  # below the speech
WAVE_NOISE_DB = (6.0, 30.0)
REVERB_SAMPLES, REVERB_SHARE = 3200, 0.4
NOISE_SAMPLES, NOISE_LEVELS_DB = 32000, np.linspace(-90, -30, 24)


def change(plain: Rows, rng: np.random.Generator, *, voice: float, room: float, noise: float, hide: float) -> Rows:
    """Return (L, 64) log-mel of the same words in another voice, room and noise, with parts hidden.

    Args:
        voice, room, noise, hide: probability of each change.
    """
    energy = np.maximum(np.exp(plain) - PLAIN_FLOOR, 0.0)
    bands = energy.shape[1]
    if rng.random() < voice:
        energy = _another_voice(energy, np.exp(rng.uniform(-VOCAL_TRACT, VOCAL_TRACT)))
        energy = energy * 10 ** (_colour(bands, rng) / 10)
    if rng.random() < room:
        energy = _echo(energy, rng.uniform(0.02, 0.2))
    if rng.random() < noise:
        added = _noise(energy.shape, rng)
        energy = energy + added * (energy.mean() / added.mean() * 10 ** (-rng.uniform(*NOISE_DB) / 10))
    changed = np.log(energy + PLAIN_FLOOR)
    if rng.random() < hide:
        width = rng.integers(1, 10)
        first = rng.integers(0, bands - width)
        changed[:, first : first + width] = changed.mean()
    if rng.random() < hide / 2:
        length = rng.integers(2, 12)
        first = rng.integers(0, len(changed) - length)
        changed[first : first + length] = changed.mean()
    return changed.astype(np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return energies (L, bands) of coloured noise, mean about 1."""
    place = np.linspace(0, 1, shape[1])
    colour = rng.normal(0, 6) * (2 * place - 1) + rng.normal(0, 4) * np.cos(2 * np.pi * place + rng.uniform(0, 6))
    return rng.gamma(2.0, 0.5, shape) * 10 ** (colour / 10) * np.linspace(1, 6, shape[1])


def _colour(bands: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a gain for each band, dB: loudness, tilt, and a smooth curve."""
    place = np.linspace(0, 1, bands)
    gain = rng.uniform(-7, 7) + rng.normal(0, 4) * (2 * place - 1)
    for waves in (2, 3, 4):
        gain = gain + rng.normal(0, 2.5) * np.cos(np.pi * waves * place + rng.uniform(0, 6))
    return gain


def _another_voice(energy: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Return energies as of a vocal tract longer by ``factor``: frequency f moves to f / factor."""
    bands = energy.shape[1]
    mels = np.linspace(mel_of(PLAIN_LOW_HZ), mel_of(PLAIN_HIGH_HZ), bands + 2)[1:-1]
    source = np.interp(mel_of(hz_of(mels) * factor), mels, np.arange(bands))
    below = np.minimum(source.astype(int), bands - 2)
    part = source - below
    changed: NDArray[np.float64] = energy[:, below] * (1 - part) + energy[:, below + 1] * part
    return changed


def _echo(energy: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    out = energy.copy()
    for row in range(1, min(ECHO_ROWS, len(energy))):
        out[row:] += strength * np.exp(-row / ECHO_DECAY_ROWS) * energy[:-row]
    return out


def degraded(audio: Waveform, rng: np.random.Generator) -> Waveform:
    """Return audio (n,) with coloured noise, through another microphone, at another level, sometimes in a room."""
    n = len(audio)
    noise = _coloured(n, rng.uniform(-0.9, 0.9), rng)
    loudness = np.sqrt(np.mean(audio**2) / np.mean(noise**2))
    worse = audio + noise * loudness * 10 ** (-rng.uniform(*WAVE_NOISE_DB) / 20)
    worse = np.convolve(worse, rng.uniform(-0.6, 0.6) ** np.arange(20))[:n] * 10 ** (rng.uniform(-18, 6) / 20)
    if rng.random() < REVERB_SHARE:
        tail = np.exp(-np.arange(REVERB_SAMPLES) / (SAMPLE_RATE_HZ * rng.uniform(0.02, 0.08)))
        echo = rng.standard_normal(REVERB_SAMPLES) * tail
        echo *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(echo**2))
        echo[0] = 1.0
        size = n + REVERB_SAMPLES
        worse = np.fft.irfft(np.fft.rfft(worse, size) * np.fft.rfft(echo, size), size)[:n]
    return np.clip(worse, -1, 1).astype(np.float32)


def revoiced(audio: Waveform, factor: float) -> Waveform:
    """Return audio (n,) with all frequencies times ``factor``: pitch, vocal tract and speed; (n / factor,) samples."""
    count = max(1, round(len(audio) / factor))
    spectrum = np.fft.rfft(audio)
    found = np.zeros(count // 2 + 1, complex)
    kept = min(len(spectrum), len(found))
    found[:kept] = spectrum[:kept]
    return np.clip(np.fft.irfft(found, count) * (count / len(audio)), -1, 1).astype(np.float32)


def noises(rng: np.random.Generator) -> list[Waveform]:
    """Return two seconds each of digital silence and of coloured noise from −90 to −30 dB: the mouth rests."""
    found = [np.zeros(NOISE_SAMPLES, np.float32)]
    for level_db in NOISE_LEVELS_DB:
        noise = _coloured(NOISE_SAMPLES, rng.uniform(-0.95, 0.95), rng)
        found.append((noise * 10 ** (level_db / 20) / np.sqrt(np.mean(noise**2))).astype(np.float32))
    return found


def _coloured(samples: int, colour: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.convolve(rng.standard_normal(samples), colour ** np.arange(60))[:samples]
