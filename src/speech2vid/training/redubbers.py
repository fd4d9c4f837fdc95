"""Which stage trains a re-dubbing network, and the faces it learns from."""

from __future__ import annotations

from pathlib import Path

import torch

from speech2vid.data.sampling import StillMix
from speech2vid.training.config import RedubberStageConfig
from speech2vid.training.painting import paint, training_examples, validation_examples
from speech2vid.training.processes import Processes
from speech2vid.training.redubber import WarpRedubberStage
from speech2vid.training.redubber_audio import AudioRedubberStage
from speech2vid.training.redubber_stage import PaintedSplits
from speech2vid.training.stage import Stage
from speech2vid.training.tracks import TRAIN, VAL, TrackSet


def redubber_stage(
    config: RedubberStageConfig, train: TrackSet, val: TrackSet, data: Path, folder: Path, here: Processes
) -> Stage:
    """The stage, its faces painted into ``folder`` by the first process.

    Raises:
        DataError: the store is damaged, or has no faces at 224 px.
        OutputError: they cannot be written.
    """
    what = config.network.generation
    mix = StillMix(config.single, config.two, config.other_track, every=1)
    examples = training_examples(train, mix, config.people, config.frames, config.seed, config.near)
    judged_by = validation_examples(val)

    def painted() -> Stage:
        faces = paint(folder / "train", data, TRAIN, train, examples, what=what, noise_px=config.shape_noise)
        val_faces = paint(folder / "val", data, VAL, val, judged_by, what=what)
        torch.manual_seed(config.seed)  # of the first weights
        kind = WarpRedubberStage if what == "warp" else AudioRedubberStage
        return kind(config, PaintedSplits(train, val, faces, val_faces), here.device)

    if here.first:
        stage = painted()
        here.same(0.0)
        return stage
    here.same(0.0)  # wait until they are there
    return painted()
