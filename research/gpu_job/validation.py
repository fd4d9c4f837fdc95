"""How the job judges networks on speakers they have not seen; the measures are those of the training tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from research.gpu_job.tracks import Tracks
from torch import Tensor

from speech2vid.constants import TARGET_OFFSET_PX, TARGET_PX
from speech2vid.losses import l1
from speech2vid.models.face_recognition import FaceRecognition, at_its_size
from speech2vid.models.paper_talker import PaperTalker
from speech2vid.training.sampling import percentile_stills

Floats = NDArray[np.floating]

TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)
MOTIONLESS_PX = 1e-3
VALIDATE_TRACKS, VALIDATE_FRAMES, SHEET_SPEAKERS, SHEET_FRAMES = 2, 50, 8, 4
EMBED_EVERY = 10  # frames of a clip whose embedding distance is measured


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


def mouth_slices(box: Sequence[int]) -> tuple[slice, slice]:
    """First and last row, first and last column → rows and columns."""
    return slice(box[0], box[1] + 1), slice(box[2], box[3] + 1)


@torch.no_grad()
def validate(
    network: PaperTalker, val: Tracks, box: Sequence[int], face_network: FaceRecognition | None
) -> tuple[dict[str, float], list[list[NDArray[np.uint8]]]]:
    """Judge a talker on speakers it has not seen.

    Returns:
        measures, each the mean over the speakers: ``mouth_correlation`` and ``mouth_amplitude`` (:func:`movement`),
        ``other_audio`` (the correlation when the audio is another speaker's), ``l1``, ``mse`` (0–255 scale),
        ``embedding`` (distance of generated and target faces; with ``face_network`` only); and rows of images of eight
        speakers to look at: a still, then target and generated in turn.
    """
    rows, columns = mouth_slices(box)
    measured, sheet = [], []
    shown = set(np.linspace(0, len(val.names) - 1, min(SHEET_SPEAKERS, len(val.names))).astype(int).tolist())
    for speaker in range(len(val.names)):
        others = val.tracks_of((speaker + 1) % len(val.names))
        clips = []
        for place, track in enumerate(val.tracks_of(speaker)[:VALIDATE_TRACKS]):
            own = _frames_of(val, track)
            heard = _frames_of(val, others[place % len(others)])[: len(own)]
            openings = val.opening[int(val.first[track]) :][: int(val.length[track])].cpu().numpy()
            picked = percentile_stills(openings, np.random.default_rng(0))
            stills = val.first[track] + torch.from_numpy(picked).to(val.device)
            with autocast(val.device):
                features = network.encode_identity(val.stills(stills[None]))
                generated, other = (network.generate(features, val.windows(each)).float() for each in (own, heard))
            target = val.pixels(own)[..., TARGET, TARGET]
            cut = [each[..., rows, columns].cpu().numpy() for each in (generated, other, target)]
            own_opening = val.opening[own].cpu().numpy()
            followed, amplitude = movement(cut[0], cut[2], own_opening)
            control, _ = movement(cut[1], cut[2][: len(heard)], own_opening[: len(heard)])
            clip = {
                "mouth_correlation": followed,
                "other_audio": control,
                "mouth_amplitude": amplitude,
                "l1": float(l1(generated, target)),
                "mse": float(((generated - target) * 255).square().mean()),
            }
            if face_network is not None:
                faces = (at_its_size(each[::EMBED_EVERY]) for each in (generated, target))
                ours, theirs = (face_network(each).embedding for each in faces)
                clip["embedding"] = float((ours - theirs).norm(dim=1).mean())
            clips.append(clip)
            if speaker in shown and place == 0:
                still = val.pixels(stills[len(stills) // 2 :][:1])[..., TARGET, TARGET]
                chosen = np.linspace(0, len(own) - 1, SHEET_FRAMES).astype(int)
                pairs = [image(each[i]) for i in chosen for each in (target, generated)]
                sheet.append([image(still[0]), *pairs])
        measured.append(_mean(clips))
    return _mean(measured), sheet


def movement(generated: Floats, target: Floats, openings: Floats) -> tuple[float, float]:
    """Return correlation and amplitude of mouth pixels (``mouth_movement`` of the task ``paper_talker``).

    Args:
        generated, target: (T, 3, h, w) in [0, 1].
        openings: (T,) lip opening of the target, px.
    """
    centred = openings - openings.mean()
    pattern = np.tensordot(centred, target - target.mean(0), 1)
    shown = [np.tensordot(each - each.mean(0), pattern, 3) for each in (generated, target)]
    return correlation(shown[0], openings), float(shown[0].std() / max(float(shown[1].std()), 1e-9))


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's correlation of (T,) and (T,); 0 where one of them does not move."""
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    spread = float(a.std()), float(b.std())
    return float(np.mean(a * b)) / (spread[0] * spread[1]) if min(spread) >= MOTIONLESS_PX else 0.0


def image(face: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in [0, 1] → (H, W, 3) uint8."""
    shown: NDArray[np.uint8] = (face.clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
    return shown


def _frames_of(tracks: Tracks, track: int) -> Tensor:
    first, length = int(tracks.first[track]), int(tracks.length[track])
    return torch.arange(first, first + min(length, VALIDATE_FRAMES), device=tracks.device)


def per_speaker(tracks: Tracks, predicted: Tensor, target: Tensor) -> float:
    """Correlation of (N,) and (N,) track by track, mean over each speaker's tracks, then over speakers."""
    ours, theirs = predicted.float().cpu().numpy(), target.cpu().numpy()
    spans = [
        slice(first, first + length)
        for first, length in zip(tracks.first.tolist(), tracks.length.tolist(), strict=True)
    ]
    found = [correlation(ours[span], theirs[span]) for span in spans]
    own = [[found[track] for track in tracks.tracks_of(speaker)] for speaker in range(len(tracks.names))]
    return float(np.mean([np.mean(each) for each in own]))


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
