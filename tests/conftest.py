"""Fixtures every kind of test may use."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from speech2vid.data.records import Track

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(str(resources.files("speech2vid") / "assets"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def photo() -> Path:
    """A photo with one frontal face, free to use."""
    return ASSETS / "astronaut.jpg"


@pytest.fixture(scope="session")
def speech() -> Path:
    """A few seconds of synthetic speech."""
    return ASSETS / "demo_speech.wav"


@pytest.fixture(scope="session")
def speech2vid() -> Run:
    """Run the program in a process of its own, as a person would: ``speech2vid("talk", "--face", …)``."""

    def run(*arguments: str | Path, timeout_s: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from speech2vid.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)  # type: ignore[call-overload]

    return run


@pytest.fixture(scope="session")
def drawn_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights that need no training: the lower lip follows how loud the voice is, by geometry alone.

    The decoder's learned part is silenced, which leaves the flow that carries the still's lips to the wanted ones; the
    closed mouth is taken to be the still's own; the voice network adds up log-mel energies.
    """
    import torch
    from torch import Tensor, nn

    from speech2vid.audio.logmel import silent_row
    from speech2vid.constants import FACE_PX, MOUTH_COUNT, MOUTH_POINTS
    from speech2vid.models.config import NetworkConfig
    from speech2vid.models.network import Graph, Network
    from speech2vid.models.warp_talker import WarpTalker, WarpTalkerConfig
    from speech2vid.runtime.torch import save
    from speech2vid.training.export import export_graphs

    bands = len(silent_row())

    @dataclass(frozen=True)
    class VoiceConfig(NetworkConfig):
        window_rows: int = 13

    class Voice(Network):
        architecture = "drawn_audio_to_mouth"
        Config = VoiceConfig

        def __init__(self, config: VoiceConfig | None = None) -> None:
            super().__init__(config or VoiceConfig())
            self.sum = nn.Conv1d(bands, 2 * MOUTH_COUNT, 13, 4)

        def graphs(self) -> tuple[Graph, ...]:
            free = {"logmel": {1: "rows"}, "mouth_motion": {1: "frames"}}
            return (Graph("mouth_motion", self.run, {"logmel": torch.zeros(1, 45, bands)}, free),)

        def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            moved = torch.relu(self.sum(inputs["logmel"].transpose(1, 2)).transpose(1, 2))
            return {"mouth_motion": moved.unflatten(2, (MOUTH_COUNT, 2))}

    folder = tmp_path_factory.mktemp("drawn_weights")
    torch.manual_seed(0)
    talker = WarpTalker(WarpTalkerConfig(width=8)).eval()
    with torch.no_grad():
        last = [layer for layer in talker.decoder.paint.modules() if isinstance(layer, nn.Conv2d)][-1]
        last.weight.zero_()
        last.bias.zero_()
        last.bias[talker.config.stills] = -20.0  # the residual's mask
        talker.rest.weight.zero_()
        for coordinate in range(2 * MOUTH_COUNT):
            talker.rest.weight[coordinate, 2 * MOUTH_POINTS.start + coordinate] = FACE_PX
    save(talker, folder / "warp_talker.safetensors")
    export_graphs(folder / "warp_talker.safetensors", WarpTalker)
    voice = Voice().eval()
    with torch.no_grad():
        voice.sum.weight.zero_()
        voice.sum.bias.zero_()
        for point in (5, 6, 7, 8, 9, 10, 11, 17, 18, 19):  # the lower lip: down 2 px a neper
            voice.sum.weight[2 * point + 1, :, 5:8] = 2.0 / (3 * bands)
            voice.sum.bias[2 * point + 1] = 8.0
    save(voice, folder / "audio_to_mouth.safetensors")
    export_graphs(folder / "audio_to_mouth.safetensors", Voice)
    return folder


@pytest.fixture(scope="session")
def paper_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of weights as the paper's trainings leave them, drawn at random: ``talker``, ``redubber``, ``sharpener``.

    The faces are far enough from grey to tell sounds apart; the sharpener adds something.
    """
    import torch

    from speech2vid.models.paper_redubber import PaperRedubber, RedubberConfig
    from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig
    from speech2vid.models.sharpener import Sharpener, SharpenerConfig
    from speech2vid.runtime.torch import save
    from speech2vid.training.export import export_graphs

    folder = tmp_path_factory.mktemp("paper_weights")
    torch.manual_seed(0)
    talker = PaperTalker(PaperTalkerConfig(size="small")).eval()
    redubber = PaperRedubber(RedubberConfig("audio", "compact", 1)).eval()
    sharpener = Sharpener(SharpenerConfig(layers=3, channels=4)).eval()
    with torch.no_grad():
        talker.face_decoder.conv9[1].weight.mul_(30)
        redubber.decoder.picture.weight.mul_(10)
        sharpener.residual.weight.normal_(std=0.1)
    for network in (talker, redubber, sharpener):
        path = folder / network.architecture.removeprefix("paper_") / f"{network.architecture}.safetensors"
        path.parent.mkdir()
        save(network, path)
        export_graphs(path, type(network))
    return folder


@pytest.fixture(scope="session")
def face_clip(photo: Path, speech: Path) -> Callable[..., Path]:
    """Write a small video of a face that drifts, with audio: ``face_clip(path, frames=30)``."""
    import cv2
    import numpy as np

    from speech2vid.media import VideoWriter, load_photo

    portrait = cv2.resize(load_photo(photo)[:300, 60:360], (200, 200), interpolation=cv2.INTER_AREA)

    def write(
        path: Path,
        *,
        frames: int = 30,
        hidden: range = range(0),  # frames that show no face
        rate_hz: int = 25,
        audio: Path | None = speech,
        shift_px: float = 0.0,  # makes another clip of it
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(
            path, 200, 200, rate_hz, audio_source=audio, audio_limit_s=frames / rate_hz, preset="ultrafast", crf=10
        ) as writer:
            for index in range(frames):
                move = np.array([[1, 0, shift_px + 6 * np.sin(index / 9)], [0, 1, 0.1 * index]])
                moved = cv2.warpAffine(portrait, move, (200, 200), borderMode=cv2.BORDER_REPLICATE)
                writer.write(np.full_like(moved, 90) if index in hidden else moved)
        return path

    return write


@pytest.fixture(scope="session")
def drawn_tracks() -> Callable[..., list[Track]]:
    """Cartoon faces that speak: ``drawn_tracks(speakers=2, tracks=2, frames=30, first=0)``.

    The mouth of speaker n opens with the loudness of a hum that comes and goes; colours and hum differ by speaker.
    """
    import cv2
    import numpy as np

    from speech2vid.constants import FACE_PX, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
    from speech2vid.data.records import Track, TrackRecord
    from speech2vid.faces.align import canonical_points

    def make(speakers: int = 2, tracks: int = 2, frames: int = 30, first: int = 0, split: str = "train") -> list[Track]:
        generated = []
        for speaker in range(first, first + speakers):
            for number in range(tracks):
                rng = np.random.default_rng([speaker, number])
                bumps = np.abs(np.sin(np.arange(frames) * rng.uniform(0.4, 0.7) + rng.uniform(0, 3)))
                landmarks = np.repeat(canonical_points(FACE_PX)[None], frames, axis=0).astype(np.float32)
                closed = landmarks[:, 48:68].mean(axis=1, keepdims=True)
                landmarks[:, 60:68, 1] = closed[..., 1]
                landmarks[:, [65, 66, 67, 55, 56, 57, 58, 59], 1] += (6 * bumps)[:, None].astype(np.float32)
                faces = np.empty((frames, FACE_PX, FACE_PX, 3), np.uint8)
                for face, points in zip(faces, landmarks, strict=True):
                    face[:] = rng.integers(60, 90, 3)
                    cv2.ellipse(face, (56, 56), (44, 54), 0, 0, 360, (200 - 20 * speaker, 150, 120), -1)
                    cv2.fillPoly(face, [points[48:60].round().astype(int)], (180, 60, 70 + 20 * speaker))
                    cv2.fillPoly(face, [points[60:68].round().astype(int)], (30, 10, 10))
                times = np.arange(frames * SAMPLES_PER_FRAME) / SAMPLE_RATE_HZ
                hum = sum(np.sin(2 * np.pi * (110 + 20 * speaker) * k * times) / k for k in range(1, 12))
                loud = np.interp(times * 25 - 0.5, np.arange(frames), bumps)
                audio = (8000 * loud * hum / 3).clip(-32000, 32000).astype(np.int16)
                key = f"speaker{speaker}-{number}"
                record = TrackRecord(
                    key, f"{key}.mp4", "0" * 64, f"speaker{speaker}", split, 0.0, frames, 0, 112.0, 0.0, 0.1, 2.0, {}
                )
                transforms = np.repeat(np.eye(2, 3)[None], frames, axis=0)
                generated.append(Track(record, faces, landmarks, landmarks.copy(), transforms, audio))
        return generated

    return make


@pytest.fixture(scope="session")
def drawn_store(drawn_tracks: Callable[..., list[Track]]) -> Callable[..., Path]:
    """Write a sample store of cartoon faces: three speakers in the split train, two in val with ``clips`` of each.

    ``wide``: with the faces at 224 px.
    """
    from speech2vid.constants import CONTEXT_FACE_PX
    from speech2vid.data.jpeg import encode_jpeg
    from speech2vid.data.records import FaceTrack, TrackAudio, TrackEntry
    from speech2vid.data.report import PrepareReport
    from speech2vid.data.shards import TarWriter, members_of
    from speech2vid.faces.align import context_from_face, warp

    def write(folder: Path, clips: int = 2, wide: bool = True) -> Path:
        folder.mkdir(parents=True)
        entries, shards = [], []
        for split, tracks in (("train", drawn_tracks(3)), ("val", drawn_tracks(2, clips, first=3, split="val"))):
            with TarWriter(folder / f"{split}-000000.tar") as archive:
                for track in tracks:
                    record = track.record
                    images = [encode_jpeg(face) for face in track.frames]
                    shown = track.frames if wide else ()
                    contexts = [encode_jpeg(warp(face, context_from_face(), CONTEXT_FACE_PX)) for face in shown]
                    points = (track.landmarks, track.source_landmarks, track.transforms)
                    face = FaceTrack(0, images, *points, 0.1, contexts)
                    archive.add(record.key, members_of(record, face, TrackAudio(track.audio, 0)))
                    facts = [getattr(record, name) for name in ("face_px", "turn", "sharpness", "opening_std")]
                    place = (record.key, archive.path.name, split, record.speaker, record.source, 0.0, record.frames)
                    entries.append(TrackEntry(*place, *facts))
                shards.append(archive.keep())
        PrepareReport([], entries, shards).write(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Any]:
    """Write a certificate with its chain, and its key: ``make_pair(folder, "p256").cert``."""
    import certificates

    return certificates.make_pair


@pytest.fixture(scope="session")
def pages() -> ModuleType:
    """``tests/page.py``: a page in a process of its own, and its visitors."""
    pytest.importorskip("gradio", reason="the extra `app` is not installed")
    import page

    return page


@pytest.fixture(scope="module")
def page(pages: ModuleType, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that must end without a complaint, with the ``LIMITS`` of the module."""
    with pages.flawless_page(tmp_path_factory.mktemp("page"), request.module.LIMITS) as running:
        yield running


@pytest.fixture
def browser(pages: ModuleType, page: Any) -> Iterator[Any]:
    """A visitor of the page."""
    visitor = pages.Browser(page)
    yield visitor
    visitor.close()


@pytest.fixture(scope="session")
def cut_speech(speech: Path) -> Callable[..., Path]:
    """Write the first seconds of the speech, said again where it is too short: ``cut_speech(path, 1.2)``."""

    def write(path: Path, seconds: float) -> Path:
        with wave.open(str(speech)) as source, wave.open(str(path), "wb") as target:
            target.setparams(source.getparams())
            missing = round(seconds * source.getframerate())
            while missing > 0:
                target.writeframes(source.readframes(missing))
                missing -= source.tell()
                source.rewind()
        return path

    return write


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory, cut_speech: Callable[..., Path]) -> Path:
    """A second of speech."""
    return cut_speech(tmp_path_factory.mktemp("sound") / "second.wav", 1)


@pytest.fixture(scope="session")
def short_speech(tmp_path_factory: pytest.TempPathFactory, cut_speech: Callable[..., Path]) -> Path:
    """1.2 s of speech."""
    return cut_speech(tmp_path_factory.mktemp("short") / "short.wav", 1.2)
