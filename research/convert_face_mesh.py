"""Convert MediaPipe's face detectors and attention mesh from TFLite to plain ONNX graphs. Run once, by hand.

    npm pack @mediapipe/face_mesh@0.4.1657299874 @mediapipe/face_detection@0.4.1657300184
    pip install tflite flatbuffers onnx numpy
    python research/convert_face_mesh.py --npm . --out src/speech2vid/weights

Both npm packages are Apache-2.0. The weights stay the float16 numbers of the originals: they are stored as float16
initialisers with a Cast each, which ONNX Runtime folds into float32 constants when it loads the file.

The mesh has three operators that exist in MediaPipe only. Their definitions are in mediapipe/util/tflite/operations:

- Landmarks2TransformMatrix: the rotated bounding box of a subset of points, as an affine matrix from a 16 × 16 grid to
  the feature map; here Gather, ReduceMin, ReduceMax and products (cosine and sine come from the normalised eye or
  mouth axis, so no trigonometry is needed);
- TransformTensorBilinear: sampling of a feature map through that matrix; here GridSample, and a mask, because the
  original returns 0 for every sample whose centre is outside;
- TransformLandmarks: the matrix applied to points; here MatMul.

The refinement that MediaPipe does outside its network (LandmarksRefinementCalculator) is part of the graph as well:
output ``points`` is (N, 478, 3) in pixels of the 192 px crop, ``score`` (N,) the probability of a face.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from flatbuffers import flexbuffers
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
MESH_PACKAGE = "mediapipe-face_mesh-0.4.1657299874.tgz"
DETECTION_PACKAGE = "mediapipe-face_detection-0.4.1657300184.tgz"
PACKED_ASSETS = "package/face_mesh_solution_packed_assets.data"
MESH_BYTES = slice(0, 2_495_952)  # from face_mesh_solution_packed_assets_loader.js
GEOMETRY_BYTES = slice(3_737_848, 3_757_224)

BUILTIN = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}

# LandmarksRefinementCalculator's tables (tensors_to_face_landmarks_with_attention.pbtxt): which of the 468 points each
# refined point replaces
LIPS = [
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
]
LEFT_EYE = [
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189),
    *(35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245),
    *(156, 70, 63, 105, 66, 107, 55, 193),
]
RIGHT_EYE = [
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413),
    *(265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465),
    *(383, 300, 293, 334, 296, 336, 285, 417),
]
EYE_CONTOUR = 16  # the first 16 of an eye give the depth of its iris
MESH_POINTS, ALL_POINTS = 468, 478


class TFLiteGraph:
    """Read operators, tensors and constants of a TFLite model with one subgraph.

    Args:
        data: the flatbuffer.
    """

    def __init__(self, data: bytes) -> None:
        self.model = tflite.Model.GetRootAs(data, 0)
        self.graph = self.model.Subgraphs(0)

    def operators(self) -> list[tuple[str, Any]]:
        """Return (name, operator) in order of execution; custom operators by their own name."""
        found = []
        for index in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(index)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            name = BUILTIN[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            found.append((code.CustomCode().decode() if name == "CUSTOM" else name, operator))
        return found

    def shape(self, tensor: int) -> list[int]:
        """Return the shape of a tensor, in TFLite's order (NHWC)."""
        found = self.graph.Tensors(tensor)
        return [int(size) for size in found.ShapeAsNumpy()] if found.ShapeLength() else []

    def constant(self, tensor: int) -> np.ndarray | None:
        """Return a constant tensor's numbers in its own type, None for an activation."""
        found = self.graph.Tensors(tensor)
        buffer = self.model.Buffers(found.Buffer())
        if buffer.DataLength() == 0:
            return None
        types = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}
        types[tflite.TensorType.INT32] = np.int32
        return np.frombuffer(bytes(buffer.DataAsNumpy()), types[found.Type()]).reshape(self.shape(tensor))

    def name(self, tensor: int) -> str:
        """Return a tensor's name."""
        return str(self.graph.Tensors(tensor).Name().decode())

    def outputs(self) -> dict[str, int]:
        """Return the graph's outputs by name."""
        return {self.name(int(index)): int(index) for index in self.graph.OutputsAsNumpy()}


def _options(operator: Any, kind: Any) -> Any:
    options = kind()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


class Converter:
    """Build an ONNX graph from a TFLite one. Activations with four axes are NCHW inside, the batch size is free.

    Args:
        source: the TFLite graph.
        input_px: height and width of its input.
    """

    def __init__(self, source: TFLiteGraph, input_px: int) -> None:
        self.source = source
        self.input_px = input_px
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}
        self.floats: dict[int, np.ndarray] = {}  # constants by tensor, before they are transposed for ONNX
        self.values: dict[int, str] = {}  # activations by tensor
        self.affine: dict[int, tuple[str, str]] = {}  # custom matrices by tensor: (N, 2, 2) and (N, 2, 1)
        self.count = 0

    def op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        self.count += 1
        output = f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def const(self, values: Any, dtype: Any = np.float32) -> str:
        """Return the name of a constant of the given type, stored once."""
        array = np.ascontiguousarray(values, dtype)
        name = "c_" + hashlib.sha1(array.tobytes() + str((array.shape, array.dtype)).encode()).hexdigest()[:12]
        self.initialisers.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, values: np.ndarray) -> str:
        """Return the name of a float32 value that is stored as float16 (exactly: the original is float16)."""
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values.astype(np.float32)):
            return self.const(values)
        return self.op("Cast", [self.const(half, np.float16)], to=TensorProto.FLOAT)

    def run(self) -> None:
        """Convert every operator.

        Raises:
            NotImplementedError: an operator or an option that these models do not use.
        """
        (image,) = (int(index) for index in self.source.graph.InputsAsNumpy())
        self.values[image] = self.op("Transpose", ["image"], perm=[0, 3, 1, 2])
        for name, operator in self.source.operators():
            inputs = [int(index) for index in operator.InputsAsNumpy()]
            (output,) = (int(index) for index in operator.OutputsAsNumpy())
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise NotImplementedError(name)
            method(operator, inputs, output)

    def _numbers(self, tensor: int) -> np.ndarray:
        found = self.floats.get(tensor)
        if found is None:
            found = self.source.constant(tensor)
        assert found is not None
        return found

    def _dequantize(self, operator: Any, inputs: list[int], output: int) -> None:
        self.floats[output] = self._numbers(inputs[0]).astype(np.float32)

    def _padding(self, padding: int, tensor: int, kernel: tuple[int, int], strides: tuple[int, int]) -> list[int]:
        if padding == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        before, after = [], []
        for size, width, stride in zip(self.source.shape(tensor)[1:3], kernel, strides, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + width - size)
            before.append(total // 2)
            after.append(total - total // 2)
        return before + after

    def _activated(self, name: str, activation: int) -> str:
        if activation == tflite.ActivationFunctionType.NONE:
            return name
        if activation == tflite.ActivationFunctionType.RELU:
            return self.op("Relu", [name])
        raise NotImplementedError(f"activation {activation}")

    def _convolve(self, options: Any, inputs: list[int], output: int, weight: np.ndarray, group: int) -> None:
        strides = (options.StrideH(), options.StrideW())
        assert (options.DilationHFactor(), options.DilationWFactor()) == (1, 1)
        kernel = weight.shape[2:]
        names = [self.values[inputs[0]], self.weight(weight), self.weight(self._numbers(inputs[2]))]
        found = self.op(
            "Conv",
            names,
            kernel_shape=list(kernel),
            strides=list(strides),
            group=group,
            pads=self._padding(options.Padding(), inputs[0], kernel, strides),
        )
        self.values[output] = self._activated(found, options.FusedActivationFunction())

    def _conv_2d(self, operator: Any, inputs: list[int], output: int) -> None:
        weight = self._numbers(inputs[1]).transpose(0, 3, 1, 2)
        self._convolve(_options(operator, tflite.Conv2DOptions), inputs, output, weight, 1)

    def _depthwise_conv_2d(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.DepthwiseConv2DOptions)
        weight = self._numbers(inputs[1]).transpose(3, 0, 1, 2)
        self._convolve(options, inputs, output, weight, weight.shape[0] // options.DepthMultiplier())

    def _prelu(self, operator: Any, inputs: list[int], output: int) -> None:
        # a x + (1 - a) relu(x) as two depthwise 1 × 1 convolutions: ONNX Runtime keeps its blocked layout through
        # these, and the mesh takes half the time that it takes with PRelu
        slope, found = self._numbers(inputs[1]).reshape(-1, 1, 1, 1), self.values[inputs[0]]
        kept = self.weight(slope)
        rest = self.op("Sub", [self.const(1.0), kept])
        scaled = self.op("Conv", [found, kept], group=len(slope), kernel_shape=[1, 1])
        positive = self.op("Conv", [self.op("Relu", [found]), rest], group=len(slope), kernel_shape=[1, 1])
        self.values[output] = self.op("Add", [positive, scaled])

    def _relu(self, operator: Any, inputs: list[int], output: int) -> None:
        self.values[output] = self.op("Relu", [self.values[inputs[0]]])

    def _add(self, operator: Any, inputs: list[int], output: int) -> None:
        found = self.op("Add", [self.values[each] for each in inputs])
        self.values[output] = self._activated(found, _options(operator, tflite.AddOptions).FusedActivationFunction())

    def _max_pool_2d(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.Pool2DOptions)
        kernel = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        pads = self._padding(options.Padding(), inputs[0], kernel, strides)
        self.values[output] = self.op(
            "MaxPool", [self.values[inputs[0]]], kernel_shape=list(kernel), strides=list(strides), pads=pads
        )

    def _pad(self, operator: Any, inputs: list[int], output: int) -> None:
        pads = self._numbers(inputs[1])[[0, 3, 1, 2]]
        self.values[output] = self.op("Pad", [self.values[inputs[0]], self.const(pads.T.reshape(-1), np.int64)])

    def _resize_bilinear(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.ResizeBilinearOptions)
        mode = "asymmetric"
        if options.HalfPixelCenters():
            mode = "half_pixel"
        elif options.AlignCorners():
            mode = "align_corners"
        (_, height, width, _), (_, rows, columns, _) = self.source.shape(inputs[0]), self.source.shape(output)
        scales = self.const([1, 1, rows / height, columns / width])
        self.values[output] = self.op(
            "Resize", [self.values[inputs[0]], "", scales], mode="linear", coordinate_transformation_mode=mode
        )

    def _reshape(self, operator: Any, inputs: list[int], output: int) -> None:
        found = self.values[inputs[0]]
        if len(self.source.shape(inputs[0])) == 4:
            found = self.op("Transpose", [found], perm=[0, 2, 3, 1])
        shape = self.source.shape(output)
        self.values[output] = self.op("Reshape", [found, self.const([-1, *shape[1:]], np.int64)])

    def _concatenation(self, operator: Any, inputs: list[int], output: int) -> None:
        axis = _options(operator, tflite.ConcatenationOptions).Axis()
        assert axis == 1
        assert len(self.source.shape(output)) == 3
        self.values[output] = self.op("Concat", [self.values[each] for each in inputs], axis=axis)

    def _mul(self, operator: Any, inputs: list[int], output: int) -> None:
        factor = self._numbers(inputs[1]).astype(np.float32)
        if inputs[0] in self.affine:
            matrix, shift = self.affine[inputs[0]]
            matrix = self.op("Mul", [matrix, self.const(factor[:, :2, :2])])
            self.affine[output] = matrix, self.op("Mul", [shift, self.const(factor[:, :2, 3:])])
        else:
            self.values[output] = self.op("Mul", [self.values[inputs[0]], self.const(factor)])

    def _strided_slice(self, operator: Any, inputs: list[int], output: int) -> None:
        self.values[output] = self.values[inputs[0]]  # the mesh's own output, whole

    def _landmarks2transformmatrix(self, operator: Any, inputs: list[int], output: int) -> None:
        options = flexbuffers.Loads(bytearray(operator.CustomOptionsAsNumpy()))
        assert options["target_rotation_radians"] == 0.0
        points = self.op("Slice", [self.values[inputs[0]], *(self.const([n], np.int64) for n in (0, 2, 2))])
        ends = [options["left_rotation_idx"], options["right_rotation_idx"]]
        left, right = (self.op("Gather", [points, self.const([end], np.int64)], axis=1) for end in ends)
        axis = self.op("Sub", [right, left])  # (N, 1, 2)
        axis = self.op("Div", [axis, self.op("ReduceL2", [axis], axes=[2], keepdims=1)])
        # rows: the axis (cos, sin), and its perpendicular (-sin, cos)
        across = self.op("MatMul", [axis, self.const([[0, 1], [-1, 0]])])
        rotation = self.op("Concat", [axis, across], axis=1)  # (N, 2, 2): image to upright
        back = self.op("Transpose", [rotation], perm=[0, 2, 1])  # upright to image
        subset = self.const(np.reshape(options["subset_idxs"], -1), np.int64)
        upright = self.op("MatMul", [self.op("Gather", [points, subset], axis=1), back])
        high = self.op("ReduceMax", [upright], axes=[1], keepdims=1)
        low = self.op("ReduceMin", [upright], axes=[1], keepdims=1)  # (N, 1, 2)
        middle = self.op("Mul", [self.op("Add", [high, low]), self.const(0.5)])
        width, height = options["output_width"], options["output_height"]
        grid_px = [options["scale_x"] / width, options["scale_y"] / height]
        scale = self.op("Mul", [self.op("Sub", [high, low]), self.const(grid_px)])
        matrix = self.op("Mul", [back, scale])  # columns scaled
        centre = self.op("Transpose", [self.op("MatMul", [middle, rotation])], perm=[0, 2, 1])  # (N, 2, 1)
        half = self.op("MatMul", [matrix, self.const([[width / 2], [height / 2]])])
        self.affine[output] = matrix, self.op("Sub", [centre, half])

    def _transformtensorbilinear(self, operator: Any, inputs: list[int], output: int) -> None:
        _, height, width, _ = self.source.shape(inputs[0])
        _, rows, columns, _ = self.source.shape(output)
        matrix, shift = self.affine[inputs[1]]
        y, x = np.mgrid[0:rows, 0:columns] + 0.5
        grid = self.op("MatMul", [matrix, self.const(np.stack([x.ravel(), y.ravel()]))])  # (N, 2, rows * columns)
        grid = self.op("Add", [grid, shift])  # pixel edges are whole numbers here
        last = self.const([[width - 1], [height - 1]])
        centre = self.op("Sub", [grid, self.const(0.5)])
        inside = self.op("Equal", [centre, self.op("Min", [self.op("Max", [centre, self.const(0.0)]), last])])
        inside = self.op("ReduceMin", [self.op("Cast", [inside], to=TensorProto.FLOAT)], axes=[1], keepdims=1)
        unit = self.op("Sub", [self.op("Mul", [grid, self.const([[2 / width], [2 / height]])]), self.const(1.0)])
        unit = self.op("Transpose", [unit], perm=[0, 2, 1])
        unit = self.op("Reshape", [unit, self.const([-1, rows, columns, 2], np.int64)])
        sampled = self.op(
            "GridSample", [self.values[inputs[0]], unit], mode="bilinear", padding_mode="border", align_corners=0
        )
        mask = self.op("Reshape", [inside, self.const([-1, 1, rows, columns], np.int64)])
        self.values[output] = self.op("Mul", [sampled, mask])

    def _transformlandmarks(self, operator: Any, inputs: list[int], output: int) -> None:
        matrix, shift = self.affine[inputs[1]]
        moved = self.op("MatMul", [self.values[inputs[0]], self.op("Transpose", [matrix], perm=[0, 2, 1])])
        self.values[output] = self.op("Add", [moved, self.op("Transpose", [shift], perm=[0, 2, 1])])

    def finish(self, outputs: dict[str, tuple[str, list[int | str]]], path: Path, origin: str) -> None:
        """Write the model.

        Args:
            outputs: value and shape of each output by its name.
            path: where to.
            origin: package, version and licence, kept in the file.
        """
        for name, (value, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        image_shape = ["n", self.input_px, self.input_px, 3]
        graph = helper.make_graph(
            _used(self.nodes, list(outputs)),
            path.stem,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, image_shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, (_, shape) in outputs.items()],
            list(self.initialisers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        model.producer_name = "convert_face_mesh"
        helper.set_model_props(model, {"origin": origin, "licence": "Apache-2.0"})
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
        print(path, path.stat().st_size, "bytes, sha256", hashlib.sha256(path.read_bytes()).hexdigest())


def _used(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """Return the nodes that an output needs, in order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    return kept[::-1]


def convert_mesh(data: bytes, path: Path, origin: str) -> None:
    """Convert the attention mesh and append the refinement of lips, eyes and irises.

    Args:
        data: face_landmark_with_attention.tflite.
        path: the ONNX file to write.
        origin: package, version and licence.
    """
    source = TFLiteGraph(data)
    convert = Converter(source, 192)
    convert.run()
    outputs = source.outputs()

    def points(name: str, axes: int) -> str:
        shape = convert.const([-1, source.shape(outputs[name])[-1] // axes, axes], np.int64)
        return convert.op("Reshape", [convert.values[outputs[name]], shape])

    mesh = points("output_mesh_identity", 3)
    plane, depth = (
        convert.op("Slice", [mesh, *(convert.const([n], np.int64) for n in (start, end, 2))])
        for start, end in ((0, 2), (2, 3))
    )
    refined = ("output_lips", "output_left_eye", "output_right_eye", "output_left_iris", "output_right_iris")
    stacked = convert.op("Concat", [plane, *(points(name, 2) for name in refined)], axis=1)
    chosen = np.arange(ALL_POINTS)
    start = MESH_POINTS
    for indices in (LIPS, LEFT_EYE, RIGHT_EYE, [*range(468, 473)], [*range(473, 478)]):
        chosen[indices] = start + np.arange(len(indices))
        start += len(indices)
    plane = convert.op("Gather", [stacked, convert.const(chosen, np.int64)], axis=1)
    irises = []
    for eye in (LEFT_EYE, RIGHT_EYE):
        contour = convert.op("Gather", [depth, convert.const(eye[:EYE_CONTOUR], np.int64)], axis=1)
        mean = convert.op("ReduceMean", [contour], axes=[1], keepdims=1)
        irises += [mean] * 5
    depth = convert.op("Concat", [depth, *irises], axis=1)
    score = convert.op("Sigmoid", [convert.values[outputs["conv_faceflag"]]])
    score = convert.op("Reshape", [score, convert.const([-1], np.int64)])
    named: dict[str, tuple[str, list[int | str]]] = {
        "points": (convert.op("Concat", [plane, depth], axis=2), ["n", ALL_POINTS, 3]),
        "score": (score, ["n"]),
    }
    convert.finish(named, path, origin)


def convert_detector(data: bytes, path: Path, input_px: int, origin: str) -> None:
    """Convert a BlazeFace detector.

    Args:
        data: the TFLite file.
        path: the ONNX file to write. Outputs: ``boxes`` (N, anchors, 16), offsets from the anchors in input pixels,
            and ``logits`` (N, anchors).
        input_px: height and width of the input.
        origin: package, version and licence.
    """
    source = TFLiteGraph(data)
    convert = Converter(source, input_px)
    convert.run()
    by_width = {source.shape(tensor)[2]: tensor for tensor in source.outputs().values()}
    anchors = source.shape(by_width[1])[1]
    logits = convert.op("Reshape", [convert.values[by_width[1]], convert.const([-1, anchors], np.int64)])
    named: dict[str, tuple[str, list[int | str]]] = {
        "boxes": (convert.values[by_width[16]], ["n", anchors, 16]),
        "logits": (logits, ["n", anchors]),
    }
    convert.finish(named, path, origin)


def canonical_face(data: bytes) -> np.ndarray:
    """Return the canonical face of MediaPipe's geometry pipeline.

    Args:
        data: geometry_pipeline_metadata_landmarks.binarypb: field 1 a mesh (its field 3 the vertex buffer, 468 × 5
            unpacked floats: position and texture coordinate), field 2 the points that carry a pose, with their weights.

    Returns:
        (468, 4) float32: x (to the face's left), y (up), z (out of the face) in cm, and the weight in a pose fit,
        0 for points that move with the expression.
    """
    floats: list[float] = []
    face = np.zeros((MESH_POINTS, 4), np.float32)
    for field, value in _fields(data):
        if field == 1:
            floats += [np.frombuffer(number, "<f4")[0] for inner, number in _fields(value) if inner == 3]
        elif field == 2:
            index, weight = (number for _, number in _fields(value))
            face[int.from_bytes(index, "little"), 3] = np.frombuffer(weight, "<f4")[0]
    face[:, :3] = np.reshape(floats, (MESH_POINTS, 5))[:, :3]
    return face


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Return the fields of a protocol buffer message: number, and bytes (a varint as little-endian bytes)."""

    def varint(start: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (data[start] & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if data[start - 1] < 0x80:
                return value, start

    at, found = 0, []
    while at < len(data):
        key, at = varint(at)
        size = 4
        if key & 7 == 0:
            number, at = varint(at)
            found.append((key >> 3, number.to_bytes(8, "little")))
            continue
        if key & 7 == 2:
            size, at = varint(at)
        found.append((key >> 3, data[at : at + size]))
        at += size
    return found


def _member(package: Path, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package.read_bytes())) as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


def main() -> None:
    """Convert the three networks, and leave the canonical face next to the packages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npm", type=Path, required=True, help="folder with the two .tgz packages")
    parser.add_argument("--out", type=Path, required=True, help="folder for the ONNX files")
    arguments = parser.parse_args()
    mesh_package, detection_package = arguments.npm / MESH_PACKAGE, arguments.npm / DETECTION_PACKAGE
    for package in (mesh_package, detection_package):
        print(package.name, "sha256", hashlib.sha256(package.read_bytes()).hexdigest())
    assets = _member(mesh_package, PACKED_ASSETS)
    origin = f"{mesh_package.stem} face_landmark_with_attention.tflite"
    convert_mesh(assets[MESH_BYTES], arguments.out / "face_mesh.onnx", origin)
    for kind, input_px in (("short", 128), ("full", 192)):
        name = f"face_detection_{kind}_range.tflite"
        data = _member(detection_package, f"package/{name}")
        out = arguments.out / f"face_detector_{kind}.onnx"
        convert_detector(data, out, input_px, f"{detection_package.stem} {name}")
    np.save(arguments.npm / "face_mesh_canonical.npy", canonical_face(assets[GEOMETRY_BYTES]))


if __name__ == "__main__":
    main()
