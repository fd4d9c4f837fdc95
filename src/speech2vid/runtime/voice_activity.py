"""Silero's voice activity detector on ONNX Runtime: the graph ``weights/voice_activity.onnx`` (MIT)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from speech2vid.files import package_weights
from speech2vid.runtime.onnx import open_session

FILE = "voice_activity.onnx"  # silero_vad_16k_sequence.onnx of the PyPI package silero-vad 6.2.3, as it is

Values = NDArray[np.float32]
State = tuple[Values, Values]


@cache
def voice_detector() -> Callable[[Values, State], tuple[Values, State]]:
    """Return the detector: chunks (n, 576) at 16 kHz and a state → probabilities of speech (n,) and the next state.

    Raises:
        WeightsError: the graph is missing or damaged.
    """
    session = open_session(package_weights() / FILE, threads=1)

    def detect(chunks: Values, state: State) -> tuple[Values, State]:
        probabilities, hidden, cell = session.run(None, {"input": chunks, "h": state[0], "c": state[1]})
        return probabilities.ravel(), (hidden, cell)

    return detect
