"""The parts of speech2vid and their licences, shown by ``info`` and in docs/licences.md."""

from __future__ import annotations

from typing import NamedTuple


class Licence(NamedTuple):
    """One part: its name, its terms, and what they mean for a user."""

    part: str
    terms: str
    note: str


LICENCES = (
    Licence("speech2vid (code)", "MIT", "the program, not the weights"),
    Licence(
        "speech2vid weights",
        "research use only",
        "trained on video collections offered for research only; see MODEL_CARD.md",
    ),
    Licence(
        "acoustic model inside the audio-to-mouth weights",
        "BSD-2-Clause",
        "CMU Sphinx en-us, Carnegie Mellon University",
    ),
    Licence("speech_encoder (weights and graph)", "MIT", "encoder of Whisper base, OpenAI; converted"),
    Licence("voice_activity.onnx", "MIT", "Silero VAD, Silero Team"),
    Licence("assets/astronaut.jpg", "public domain", "NASA portrait of Eileen Collins; no endorsement is implied"),
    Licence("assets/demo_speech.wav", "CC0-1.0", "synthetic voice, made for this project with eSpeak NG"),
    Licence(
        "dlib 68-landmark model",
        "no commercial use",
        "trained on iBUG 300-W, whose licence excludes commercial use; not used with --landmarks mesh",
    ),
    Licence(
        "face_detector_short.onnx, face_detector_full.onnx (BlazeFace)",
        "Apache-2.0",
        "MediaPipe, Google; converted to ONNX; used with --landmarks mesh",
    ),
    Licence(
        "face_mesh.onnx (face mesh with attention), face_mesh_shape.npz",
        "Apache-2.0",
        "MediaPipe, Google; converted to ONNX; mean and axes of the shape file fitted for this project",
    ),
    Licence("dlib face-recognition model", "CC0-1.0", "dedicated to the public domain by its author"),
    Licence("dlib and its HOG face detector", "BSL-1.0", ""),
    Licence("ONNX Runtime", "MIT", ""),
    Licence("NumPy", "BSD-3-Clause", ""),
    Licence("OpenCV (wheel)", "Apache-2.0", "bundles FFmpeg under LGPL-2.1"),
    Licence(
        "PyAV (wheel)",
        "BSD-3-Clause",
        "bundles FFmpeg (LGPL-3.0) with x264 and x265 (GPL-2.0): the GPL applies if you redistribute them",
    ),
    Licence("Pillow", "MIT-CMU", ""),
    Licence("safetensors", "Apache-2.0", ""),
    Licence("Typer, Rich", "MIT", ""),
    Licence("c2pa-python (extra `c2pa`)", "MIT or Apache-2.0", "Content Credentials; not part of the core install"),
    Licence(
        "FastAPI, Starlette, uvicorn, websockets (extra `serve`)",
        "MIT, BSD-3-Clause",
        "python-multipart, and Swagger UI in fastapi-offline (MIT): Apache-2.0",
    ),
    Licence("Gradio, FastAPI, Uvicorn (extra `app`)", "Apache-2.0, MIT, BSD-3-Clause", "not part of the core install"),
    Licence("PyTorch (extra `train`)", "BSD-3-Clause", "not part of the core install"),
)
