"""The numbers of the paper (Jamaludin, Chung & Zisserman, IJCV 2019), once each, with their section.

Everything that more than one module must agree on stands here. Derived values are computed by checked divisions,
so that an impossible combination fails at import instead of drifting out of sync.
"""

from __future__ import annotations

from typing import Literal

Landmarks = Literal["paper", "mesh"]  # names of the pairs of face detector and landmarker


def exact_div(numerator: int, denominator: int) -> int:
    """Divide two integers that must divide without remainder."""
    if numerator % denominator:
        raise ValueError(f"{numerator} is not a multiple of {denominator}")
    return numerator // denominator


# Image and audio clocks (Sect. 3.4)
FRAME_RATE_HZ = 25
SAMPLE_RATE_HZ = 16_000
SAMPLES_PER_FRAME = exact_div(SAMPLE_RATE_HZ, FRAME_RATE_HZ)  # 640

# MFCC front end (Sect. 3.4)
MFCC_RATE_HZ = 100
MFCC_HOP = exact_div(SAMPLE_RATE_HZ, MFCC_RATE_HZ)  # 160 samples, 10 ms
MFCC_WINDOW = exact_div(SAMPLE_RATE_HZ * 25, 1000)  # 400 samples, 25 ms
MFCC_FFT = 512
MFCC_PREEMPHASIS = 0.97
MFCC_FILTERS = 40
MFCC_LOW_HZ = 300.0
MFCC_HIGH_HZ = 3700.0
MFCC_CEPSTRA = 13  # coefficient 0 (energy) is computed, then dropped from the windows of the paper's networks
MFCC_LIFTER = 22
MFCC_PER_FRAME = exact_div(MFCC_RATE_HZ, FRAME_RATE_HZ)  # 4 steps a video frame
WINDOW_STEPS = 35  # 0.35 s of MFCC a window; the frame is the middle of its window
WINDOW_COEFFICIENTS = MFCC_CEPSTRA - 1  # 12

# Aligned faces (Sect. 3.4, 4). The face is warped to a 240 px canvas; the 197 px square at (22, 22) becomes 112 px.
CANVAS_PX = 240
CANVAS_CROP_PX = 197
CANVAS_CROP_OFFSET_PX = 22
FACE_PX = 112
TARGET_PX = 109  # rows and columns 1..109 of the 112 px face
TARGET_OFFSET_PX = 1
# The part of the face that `warp` generates: rows 48..111, columns 8..103
REGION_TOP, REGION_LEFT, REGION_HEIGHT, REGION_WIDTH = 48, 8, 64, 96
CONTEXT_FACE_PX = 224  # the re-dubbing network's size (Sect. 6.2)
# The part of it that ours works on, the generated region and a little more: rows 92..219, columns 32..191
BLEND_TOP, BLEND_LEFT, BLEND_HEIGHT, BLEND_WIDTH = 92, 32, 128, 160
IDENTITY_STILLS = 5
IDENTITY_PERCENTILES = (10, 30, 50, 70, 90)  # of lip opening (Fig. 3)
SAMPLE_EVERY_FRAMES = 5  # training uses every 5th frame of a track (Sect. 3.4)

# 68 landmarks, counted from 0 (the paper counts from 1)
LANDMARKS = 68
PAPER_LANDMARKS = "dlib-68 1"  # name and version of the landmarker of stores and weights that name none
JAW = slice(0, 17)
REGISTRATION_POINTS = slice(27, 48)  # nose and eyes: points 28–48 of the paper
MOUTH_POINTS = slice(48, 68)
MOUTH_COUNT = 20
INNER_TOP = (61, 62, 63)  # inner upper lip, and the inner lower lip points below them
INNER_BOTTOM = (67, 66, 65)
