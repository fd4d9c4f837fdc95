"""Stage ``redubber``, generation ``audio``: the paper's network, sound and stills and a hidden face → that face."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import BLEND_HEIGHT, BLEND_LEFT, BLEND_TOP, BLEND_WIDTH, IDENTITY_STILLS
from speech2vid.inference.occlusion import PART, hide, occlude
from speech2vid.losses import gradient_l1, l1
from speech2vid.models.redubber import Redubber
from speech2vid.training.config import RedubberStageConfig
from speech2vid.training.painting import Paintings
from speech2vid.training.sheet import contact_sheet
from speech2vid.training.stage import Batch, Item, Stage, Validation, pixels, speaker_mean
from speech2vid.training.talker import normalise
from speech2vid.training.tracks import TrackSet

SHEET_FACES = 2  # of a track


class AudioRedubberStage(Stage):
    """Stills, MFCC windows and hidden faces → faces at 224 px."""

    name = "redubber"
    architecture = Redubber.architecture
    config: RedubberStageConfig
    network: Redubber

    def __init__(
        self,
        config: RedubberStageConfig,
        train: TrackSet,
        val: TrackSet,
        device: torch.device,
        paintings: Paintings,
        val_paintings: Paintings,
    ) -> None:
        self.config, self.train, self.val, self.device = config, train, val, device
        self.paintings, self.val_paintings = paintings, val_paintings
        network = Redubber(config.network)
        normalise(network, train, np.random.default_rng(config.seed))
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.samples = len(paintings)
        self.weights = {"l1": config.l1, "gradient": config.gradient}

    def draw(self, rng: np.random.Generator) -> Item:
        return self._item(self.train, self.paintings, int(rng.integers(len(self.paintings))))

    def _item(self, tracks: TrackSet, paintings: Paintings, row: int) -> Item:
        track, frame = tracks[paintings.track[row]], int(paintings.frame[row])
        slots = paintings.stills[row]
        if self.config.network.identity_images != IDENTITY_STILLS:
            slots = slots[[IDENTITY_STILLS // 2]]
        face = paintings.faces[row]
        hidden = hide(track.landmarks[frame][None], paintings.asked[row][None])
        context = face.copy()
        context[PART] = np.rint(occlude(face[PART], hidden.area[0], paintings.colours[row]))
        return {
            "stills": tracks[paintings.still_track[row]].frames[slots],
            "window": track.windows[frame],
            "context": context,
            "face": face,
            "area": hidden.area,
        }

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        made, true = self._made(network, batch), pixels(batch["face"])
        return {"l1": l1(made, true), "gradient": gradient_l1(made, true)}

    def _made(self, network: nn.Module, batch: Batch) -> Tensor:
        faces: Tensor = network(batch["window"], pixels(batch["context"]), pixels(batch["stills"]).flatten(1, 2))
        return faces

    def validate(self, network: nn.Module) -> Validation:
        measured: dict[str, list[dict[str, float]]] = {}
        rows: list[list[Any]] = []
        rows_of: dict[int, list[Any]] = {}
        for row in range(len(self.val_paintings)):
            item = self._item(self.val, self.val_paintings, row)
            batch = {name: torch.from_numpy(np.array(value))[None].to(self.device) for name, value in item.items()}
            made, true = self._made(network, batch), pixels(batch["face"])
            error = (made - true).abs()
            part = error[..., BLEND_TOP : BLEND_TOP + BLEND_HEIGHT, BLEND_LEFT : BLEND_LEFT + BLEND_WIDTH]
            area = batch["area"]
            number = int(self.val_paintings.track[row])
            measured.setdefault(self.val[number].speaker, []).append(
                {"l1": float(error.mean()), "error": float((part * area).sum() / (3 * area.sum()))}
            )
            shown = (made[0].clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
            if number not in rows_of:
                rows.append(rows_of.setdefault(number, []))
            if len(rows_of[number]) < 3 * SHEET_FACES:
                rows_of[number] += [item["context"], shown, item["face"]]
        by_speaker = {speaker: speaker_mean(values) for speaker, values in measured.items()}
        return Validation(by_speaker, "error", sheet=contact_sheet(rows[::2]))

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()
