"""Laying a generated mouth into a filmed face: light, border, what stays."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.constants import CONTEXT_FACE_PX
from speech2vid.errors import ConfigError
from speech2vid.inference.redubbers.poisson import PoissonBlender, domain_weight, harmonic

NO_POINTS = np.zeros((1, 68, 2), np.float32), np.zeros((1, 20, 2), np.float32)


def test_a_membrane_is_harmonic_and_meets_its_border() -> None:
    y, x = np.mgrid[0:30.0, 0:40.0]
    patch = np.stack([3 * x - y + 2, x * x - y * y], axis=-1)  # both harmonic: the solution is known
    np.testing.assert_allclose(harmonic(patch), patch[1:-1, 1:-1], atol=1e-3)


def _faces() -> np.ndarray:
    noise = np.random.default_rng(0).integers(90, 160, (CONTEXT_FACE_PX // 8, CONTEXT_FACE_PX // 8, 3), np.uint8)
    return np.kron(noise, np.ones((8, 8, 1), np.uint8))[None]


@pytest.mark.parametrize("region", ["lower", "face"])
def test_another_light_on_the_whole_painted_frame_is_taken_away(region: str) -> None:
    source = _faces()
    painted = source + np.uint8(30)
    blended = PoissonBlender(region).blend(source, painted, *NO_POINTS)  # type: ignore[arg-type]
    assert abs(blended.astype(int) - source).max() <= 1


def test_what_is_painted_well_inside_stays_and_what_is_outside_is_the_source() -> None:
    source = _faces()
    painted = source.copy()
    inner = np.s_[:, 150:170, 90:130]
    painted[inner] = 20
    blended = PoissonBlender("lower").blend(source, painted, *NO_POINTS)
    assert abs(blended[inner].astype(int) - 20).max() <= 1
    outside = domain_weight("lower")[..., 0] == 0
    assert np.array_equal(blended[0][outside], source[0][outside])
    assert 0.1 < (~outside).mean() < 0.5


def test_an_unknown_region_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown value 'upper' for region"):
        PoissonBlender("upper")  # type: ignore[arg-type]
