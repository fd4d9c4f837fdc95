"""Fit the model of face shapes that `is_plausible_face` measures against, and write face_mesh_shape.npz.

    python research/fit_face_shape.py --frames FOLDER --canonical face_mesh_canonical.npy --out src/speech2vid/weights

Takes pictures with one upright face each, named `<speaker>_<number>.png`. Keeps the mean of the aligned meshes of
MediaPipe's face mesh and their first principal axes; each face counts twice, as it is and mirrored. No picture and no
single face is kept. Prints the residuals of the people left out of the fit, and of meshes placed the wrong way up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from speech2vid.faces import mesh as face_mesh
from speech2vid.faces.blaze import BlazeFaceDetector

AXES = 12
TURNS_DEG = (90.0, 140.0, 180.0, 220.0, 270.0)


def align(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return a mesh (468, 3) moved, turned and scaled onto a centred template."""
    rotation, scale, centre = face_mesh._fit(points, template, np.ones(len(template)))
    return (points - centre) @ rotation / scale


def fit(meshes: list[np.ndarray], canonical: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (468, 3) and the principal axes (AXES, 1404) of meshes, as large as the canonical face."""
    mirrored = canonical * (-1, 1, 1)
    mirror = np.linalg.norm(canonical[:, None] - mirrored[None], axis=2).argmin(axis=1)
    both = meshes + [(each * (-1, 1, 1))[mirror] for each in meshes]
    mean = canonical - canonical.mean(axis=0)
    size = np.sqrt((mean**2).sum())
    for _ in range(5):
        aligned = np.stack([align(each, mean) for each in both])
        mean = aligned.mean(axis=0)
        mean = (mean - mean.mean(axis=0)) * size / np.sqrt(((mean - mean.mean(axis=0)) ** 2).sum())
    aligned = np.stack([align(each, mean) for each in both])
    _, _, axes = np.linalg.svd((aligned - mean).reshape(len(aligned), -1), full_matrices=False)
    return mean, axes[:AXES]


def main() -> None:
    """Fit on even people, report on odd ones, then fit on all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--canonical", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    canonical = np.load(arguments.canonical)
    # large limits: nothing is refused while the model is made
    face_mesh.SURE_SCORE, face_mesh.shape_residual = -1.0, lambda points: 0.0
    detector, landmarker = BlazeFaceDetector(), face_mesh.FaceMeshLandmarker()
    people: dict[str, list[np.ndarray]] = {}
    wrong: dict[str, list[np.ndarray]] = {}
    for path in sorted(arguments.frames.glob("*.png")):
        image = cv2.imread(str(path))[..., ::-1].copy()
        found = detector.detect(image)
        if not found:
            print("no face:", path.name)
            continue
        speaker = path.stem.rsplit("_", 1)[0]
        placed = landmarker.landmarks(image, found[0])
        if placed.score < 0.9:
            print("low score:", path.name, placed.score)
            continue
        people.setdefault(speaker, []).append(face_mesh._in_space(placed.points))
        centre, side, roll = face_mesh._roi(placed.points)
        for turn in TURNS_DEG:
            turned = landmarker._run(image, centre, side, roll + turn, 1)
            wrong.setdefault(speaker, []).append(face_mesh._in_space(turned.points))
    names = sorted(people)
    mean, axes = fit([each for name in names[::2] for each in people[name]], canonical[:, :3].astype(np.float64))
    for title, meshes in (("right", people), ("wrong way up", wrong)):
        rest = []
        for each in (each for name in names[1::2] for each in meshes[name]):
            over = (align(each, mean) - mean).ravel()
            rest.append(np.sqrt(((over - axes.T @ (axes @ over)) ** 2).sum() / len(mean)))
        print(title, len(rest), "residual cm, percentiles 0 1 50 99 100:", np.percentile(rest, [0, 1, 50, 99, 100]))
    mean, axes = fit([each for name in names for each in people[name]], canonical[:, :3].astype(np.float64))
    out = arguments.out / "face_mesh_shape.npz"
    np.savez(out, canonical=canonical.astype(np.float32), mean=mean.astype(np.float32), basis=axes.astype(np.float16))
    print(out, out.stat().st_size, "bytes,", len(names), "people")


if __name__ == "__main__":
    main()
