"""Head motion from audio and the recent past: a recurrent mixture density network that is sampled step by step.

A step is 0.16 s. Given how the head was in the last two steps, what is heard, how long ago the last blink was, and how
lively the head is to be, it returns a distribution of the next movement, a mixture of Gaussians, and the probability of
a blink. One gated recurrent unit remembers what was before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network

POSE = 7
LEAST_DEVIATION = -4.0  # logarithm, in standard deviations of the movement


@dataclass(frozen=True)
class HeadMotionConfig(NetworkConfig):
    """Sizes.

    Attributes:
        audio: values that are heard in a step.
        width: of the recurrent state.
        components: Gaussians of the mixture.
        dropout: of what is seen and of the state, in training.
    """

    audio: int = 21
    width: int = 64
    components: int = 4
    dropout: float = 0.15


class HeadMotion(Network):
    """Seen, state → distribution of the next movement, probability of a blink, next state.

    Seen, (N, 14 + audio + 2): pose of the last known step and its difference from the one before (7 values each, see
    :mod:`speech2vid.faces.head_motion`), audio, seconds since the last blink, liveliness (logarithm of the mean
    movement relative to the mean clip, 0 as in the mean clip).
    """

    architecture = "head_motion"
    Config = HeadMotionConfig
    config: HeadMotionConfig

    pose_scale: Tensor
    movement_scale: Tensor
    liveliness: Tensor

    def __init__(self, config: HeadMotionConfig) -> None:
        super().__init__(config)
        seen = 2 * POSE + config.audio + 2
        self.register_buffer("pose_scale", torch.ones(POSE))
        self.register_buffer("movement_scale", torch.ones(POSE))
        self.register_buffer("liveliness", torch.zeros(2))  # mean and standard deviation over clips
        self.enter = nn.Linear(seen, config.width)
        self.gates = nn.Linear(2 * config.width, 2 * config.width)
        self.candidate = nn.Linear(2 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.mixture = nn.Linear(config.width, config.components * (1 + 2 * POSE))
        self.blink = nn.Linear(config.width + seen, 1)

    def initial_state(self, people: int) -> Tensor:
        """Return the state before the first step, (N, width)."""
        return self.pose_scale.new_zeros(people, self.config.width)

    def forward(self, seen: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Take a step.

        Returns:
            logits (N, K) of the components, their means (N, K, 7) and log standard deviations (N, K, 7) in units of
            ``movement_scale``, logit (N,) of a blink, next state (N, width).
        """
        pose, movement, rest = seen[:, :POSE], seen[:, POSE : 2 * POSE], seen[:, 2 * POSE :]
        scaled = torch.cat([pose / self.pose_scale, movement / self.movement_scale, rest], dim=1)
        entered = torch.tanh(self.enter(self.dropout(scaled)))
        reset, update = torch.sigmoid(self.gates(torch.cat([entered, state], dim=1))).chunk(2, dim=1)
        fresh = torch.tanh(self.candidate(torch.cat([entered, reset * state], dim=1)))
        state = update * state + (1 - update) * fresh
        kept = self.dropout(state)
        count = self.config.components
        logits, means, deviations = self.mixture(kept).split([count, count * POSE, count * POSE], dim=1)
        deviations = deviations.clamp(LEAST_DEVIATION, 2.0)
        blink = self.blink(torch.cat([kept, scaled], dim=1))[:, 0]
        return logits, means.reshape(-1, count, POSE), deviations.reshape(-1, count, POSE), blink, state

    def graphs(self) -> tuple[Graph, ...]:
        """See :class:`Network`: one step."""
        seen = self.pose_scale.new_zeros(1, 2 * POSE + self.config.audio + 2)

        def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
            logits, means, deviations, blink, state = self(given["seen"], given["state"])
            return {
                "shares": torch.softmax(logits, dim=1),
                "means": means * self.movement_scale,
                "deviations": deviations.exp() * self.movement_scale,
                "blink": torch.sigmoid(blink),
                "next_state": state,
            }

        return (Graph("step", run, {"seen": seen, "state": self.initial_state(1)}),)
