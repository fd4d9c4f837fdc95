"""Audio comes as 16 kHz mono, whole or in chunks, in time with the picture."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import resample_poly

from speech2vid.errors import MediaError
from speech2vid.media import load_audio, read_audio

RATE_HZ = 16_000


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_resampled_like_scipy(tmp_path, chirp, rate_hz):
    wave = chirp(1.237, rate_hz)
    wavfile.write(tmp_path / "a.wav", rate_hz, wave)
    found = load_audio(tmp_path / "a.wav")
    ratio = Fraction(RATE_HZ, rate_hz)
    wanted = resample_poly(wave.astype(np.float64), ratio.numerator, ratio.denominator)
    assert found.dtype == np.float32
    assert len(found) == round(len(wave) * ratio)
    middle = slice(400, len(found) - 400)
    assert np.abs(found[middle] - wanted[: len(found)][middle]).max() < 0.005


def test_chunks_are_the_whole(tmp_path, chirp):
    wavfile.write(tmp_path / "a.wav", 44_100, chirp(3.0, 44_100))
    chunks = list(read_audio(tmp_path / "a.wav"))
    assert len(chunks) > 10
    assert np.array_equal(np.concatenate(chunks), load_audio(tmp_path / "a.wav"))


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4", "f8"])
def test_sample_formats(tmp_path, chirp, kind):
    wave = chirp(0.5, RATE_HZ)
    scaled = {"u1": wave * 127 + 128, "i2": wave * 32767, "i4": wave.astype("f8") * (2**31 - 1)}.get(kind, wave)
    wavfile.write(tmp_path / "a.wav", RATE_HZ, scaled.astype(kind))
    assert np.abs(load_audio(tmp_path / "a.wav") - wave).max() < (0.02 if kind == "u1" else 1e-4)


def test_stereo_is_averaged(tmp_path, chirp):
    wave = chirp(0.5, RATE_HZ)
    wavfile.write(tmp_path / "a.wav", RATE_HZ, np.stack([wave, np.zeros_like(wave)], axis=1))
    assert np.allclose(load_audio(tmp_path / "a.wav"), wave / 2, atol=1e-6)


def test_surround_leaves_the_bass_out(tmp_path, chirp):
    centre, bass = chirp(0.5, 48_000), np.full(24_000, 0.9, np.float32)
    silent = np.zeros_like(centre)
    samples = np.stack([silent, silent, centre, bass, silent, silent])  # FL FR FC LFE BL BR
    path = tmp_path / "surround.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=48_000, layout="5.1")
        frame = av.AudioFrame.from_ndarray((samples.T.reshape(1, -1) * 32767).astype(np.int16), "s16", "5.1")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = load_audio(path, 48_000)
    assert np.abs(found - centre).max() < 1e-3


def test_no_number_is_silence(tmp_path, chirp):
    wave = chirp(0.5, RATE_HZ)
    wave[100], wave[200] = np.nan, np.inf
    wavfile.write(tmp_path / "a.wav", RATE_HZ, wave)
    found = load_audio(tmp_path / "a.wav")
    assert np.isfinite(found).all()
    assert (found[100], found[200]) == (0, 0)


@pytest.mark.parametrize(("codec", "suffix"), [("aac", "m4a"), ("mp3", "mp3"), ("flac", "flac"), ("libopus", "ogg")])
def test_lossy_codecs_keep_time(tmp_path, chirp, codec, suffix):
    """The encoder's lead-in must not shift the audio."""
    wave = chirp(1.5, 48_000)
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        stream.bit_rate = 128_000
        sample_format = stream.codec_context.codec.audio_formats[0].name
        frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        for converted in av.AudioResampler(sample_format, "mono", 48_000).resample(frame):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    found, wanted = load_audio(path), resample_poly(wave, 1, 3)
    lags = range(-40, 41)
    middle = slice(4000, 16_000)
    scores = [float(np.dot(np.roll(found, -lag)[middle], wanted[middle])) for lag in lags]
    assert lags[int(np.argmax(scores))] == 0
    assert abs(len(found) - len(wanted)) <= RATE_HZ // 25


@pytest.mark.parametrize("late_s", [Fraction(0), Fraction(1, 2), Fraction(-1, 4)])
def test_audio_is_counted_from_the_first_image(tmp_path, make_clip, chirp, late_s):
    """Picture from 2 s on; audio later, with it or earlier."""
    wave = chirp(1.0, RATE_HZ)
    start = round((2 + late_s) * RATE_HZ)
    pts = [2000 + 40 * k for k in range(25)]
    path = make_clip(tmp_path / "a.mkv", pts, Fraction(1, 1000), audio=wave, audio_start=start)
    found = load_audio(path)
    shift = round(late_s * RATE_HZ)
    wanted = np.concatenate([np.zeros(shift), wave]) if shift >= 0 else wave[-shift:]
    assert len(found) == len(wanted)
    assert np.abs(found - wanted).max() < 1e-3


def test_gaps_become_silence(tmp_path, chirp):
    wave = chirp(1.0, RATE_HZ)
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for start, piece in ((0, wave[:8000]), (16_000, wave[8000:])):
            frame = av.AudioFrame.from_ndarray((piece * 32767).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = load_audio(path)
    assert len(found) == 24_000
    assert not found[8000:16_000].any()
    assert np.abs(found[16_000:] - wave[8000:]).max() < 1e-3


def test_rounded_time_stamps_make_no_holes(tmp_path, chirp):
    """Matroska rounds to 1 ms: 512 samples of 44.1 kHz are 11.6 ms."""
    wave = chirp(2.0, 44_100)
    path = tmp_path / "fine.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=44_100, layout="mono")
        for start in range(0, len(wave), 512):
            piece = (wave[start : start + 512] * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(piece, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = load_audio(path, 44_100)
    assert len(found) == len(wave)
    assert np.abs(found - wave).max() < 1e-3


def test_a_tenth_of_a_second(tmp_path, chirp):
    wavfile.write(tmp_path / "a.wav", 48_000, chirp(0.1, 48_000))
    assert len(load_audio(tmp_path / "a.wav")) == 1600


def test_cut_wav_gives_what_is_there(tmp_path, chirp):
    wavfile.write(tmp_path / "a.wav", RATE_HZ, chirp(1.0, RATE_HZ))
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    assert len(load_audio(tmp_path / "a.wav")) == pytest.approx(8000, abs=1024)


def test_wav_without_samples(tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE_HZ, np.zeros(0, np.int16))
    with pytest.raises(MediaError, match=r"a\.wav"):
        load_audio(tmp_path / "a.wav")


def test_no_audio_stream(tmp_path, make_clip):
    path = make_clip(tmp_path / "mute.mp4", [0, 3600], Fraction(1, 90_000))
    with pytest.raises(MediaError, match=r"mute\.mp4 has no audio stream"):
        load_audio(path)
