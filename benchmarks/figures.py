"""Draw the paper's Figs. 7, 8, 10, 11, 12, 13, 15 and 16 from a sample store.

    make figures DATA=store OUT=figures
    python benchmarks/figures.py --data store --out figures --weights paper --weights default --sharpener RUN/weights

| figure | content |
|---|---|
| 7 | faces blurred as the sharpener's training blurs them, over the originals |
| 8 | MFCC windows as heat maps, over the frames that they belong to |
| 10 | faces as filmed, with their landmarks, over the same faces after registration |
| 11 | two people: the stills on the left, then generated frames over the real ones, with their times |
| 12 | the real frames, and the frames of each set of weights, raw and sharpened |
| 13 | Poisson editing step by step: frame, generated face, region, result |
| 15 | the re-dubbing network: identity, context with the mouth hidden, generated face, real face |
| 16 | a clip with another person's audio: source, Poisson editing, blending network |

The first ``--weights`` draw Figs. 11, 13, 15 and 16. Figures whose network the weights lack are left out with a note.
Faces of other people's footage may not be published because a figure shows them: mind the licence of your data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from speech2vid import load_talker
from speech2vid.audio.windows import windows
from speech2vid.constants import CONTEXT_FACE_PX, FACE_PX, FRAME_RATE_HZ, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import Speech2VidError, WeightsError
from speech2vid.evaluation.generation import track_drive
from speech2vid.evaluation.protocol import five_stills, still_of_context
from speech2vid.evaluation.redubbing import Filmed
from speech2vid.evaluation.runner import FIVE, Runner, WeightsChoice, open_runner, speakers_for
from speech2vid.faces import lip_opening
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import compose, invert, transform_points
from speech2vid.inference.compositing import Composer
from speech2vid.inference.mouth_geometry import plan_aligned
from speech2vid.inference.options import RedubOptions
from speech2vid.inference.redubbers.base import FilmedFace, Person
from speech2vid.inference.redubbers.choose import load_redubber
from speech2vid.inference.redubbers.paper import ContextRedubber, hidden_face
from speech2vid.inference.redubbers.poisson import PoissonBlender, domain_weight
from speech2vid.inference.talkers.base import Canvas
from speech2vid.types import Affine, Floats, Frames, Image, Points

TILE_PX = 168
LABEL_PX = 20
GAP_PX = 3
MOMENTS = 6
BLURS_PX = (0.5, 1.0, 1.25, 1.5, 2.0)  # standard deviations of Fig. 7, within those of the sharpener's training
WHITE, INK = 255, (40, 40, 40)
FIELD = 1.6  # Fig. 10: side of the image shown, in sides of the face


class Clip:
    """A clip with its 224 px faces."""

    def __init__(self, track: Track, jpegs: Sequence[bytes]) -> None:
        self.track = track
        self.filmed = Filmed(track, jpegs)
        self.context = self.filmed.faces(len(track))

    @property
    def faces(self) -> list[Image]:
        """(112, 112, 3) uint8 RGB each."""
        return list(self.track.frames)

    def moments(self, count: int = MOMENTS) -> list[int]:
        """Return frames spread over the clip, the most open mouth among them."""
        spread = np.linspace(0, len(self.track) - 1, count).round().astype(int)
        widest = int(lip_opening(self.track.landmarks).argmax())
        spread[np.abs(spread - widest).argmin()] = widest
        return [int(each) for each in spread]

    def person(self) -> Person:
        """Return the identity, from stills at 224 px."""
        stills = [still_of_context(self.track, at, self.context[at]) for at in five_stills(self.track)]
        return Person(tuple(stills), tuple(stills))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="sample store with 224 px faces")
    parser.add_argument("--out", required=True, type=Path, help="folder of the figures")
    parser.add_argument("--split", default="val")
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--weights", action="append", help="shipped set, folder or file; the default set by default")
    parser.add_argument("--sharpener", type=Path, help="weights of a sharpener, for Fig. 12")
    given = parser.parse_args()
    weights = tuple(given.weights or ["default"])
    clips = longest_clips(SampleStore(given.data), given.split, given.people)
    runner = open_runner(WeightsChoice(weights, given.sharpener))
    given.out.mkdir(parents=True, exist_ok=True)
    figures = {
        "fig07_blur": lambda: blur(clips),
        "fig08_mfcc": lambda: mfcc(clips),
        "fig10_registration": lambda: registration(clips),
        "fig11_identities": lambda: identities(clips[:2], runner),
        "fig12_variants": lambda: variants(clips[0], runner),
        "fig13_poisson_steps": lambda: poisson_steps(clips[:2], weights[0]),
        "fig15_redubbing_network": lambda: redubbing_network(clips[:2], weights[0]),
        "fig16_redubbing": lambda: redubbing(clips, runner),
    }
    for name, draw in figures.items():
        try:
            image = draw()
        except WeightsError as error:
            print(f"{name} is left out: {error.message}", file=sys.stderr)
            continue
        PillowImage.fromarray(image).save(given.out / f"{name}.png", optimize=True)
        print(given.out / f"{name}.png")


def longest_clips(store: SampleStore, split: str, people: int) -> list[Clip]:
    """Return the longest clip of each of a few people."""
    longest: dict[str, Track] = {}
    for track in sorted(store.load(split), key=lambda track: (-len(track), track.record.key)):
        longest.setdefault(track.record.speaker, track)
    wanted = {track.record.key: track for track in list(longest.values())[:people]}
    found = {key: Clip(wanted[key], jpegs) for key, jpegs in store.contexts(split) if key in wanted}
    return [found[key] for key in wanted]


def blur(clips: Sequence[Clip]) -> Image:
    """Fig. 7."""
    faces = [clip.faces[five_stills(clip.track)[2]] for clip in clips]
    pairs = [(cv2.GaussianBlur(face, (0, 0), sigma), face) for face in faces for sigma in BLURS_PX]
    titles = [f"sigma {sigma} px" for _ in faces for sigma in BLURS_PX]
    return np.vstack([row(titles, [soft for soft, _ in pairs]), row([], [sharp for _, sharp in pairs])])


def mfcc(clips: Sequence[Clip]) -> Image:
    """Fig. 8."""
    maps, frames, titles = [], [], []
    for clip in clips[:2]:
        record = clip.track.record
        heard = windows(clip.track.audio_with_context)[record.audio_lead_frames :]
        for at in clip.moments(4):
            maps.append(heat_map(heard[at, 0]))
            frames.append(clip.faces[at])
            titles.append(f"{at / FRAME_RATE_HZ:.2f} s")
    return np.vstack([row(titles, maps), row([], frames)])


def registration(clips: Sequence[Clip]) -> Image:
    """Fig. 10."""
    before, after = [], []
    for clip in clips:
        for at in clip.moments(3)[::2]:
            points, matrix = clip.track.source_landmarks[at], clip.track.transforms[at]
            before.append(with_points(as_filmed(clip.context[at], points, matrix), TILE_PX))
            after.append(with_points((clip.faces[at], clip.track.landmarks[at]), TILE_PX))
    return np.vstack([row(["as filmed"] * len(before), before), row(["registered"] * len(after), after)])


def identities(clips: Sequence[Clip], runner: Runner) -> Image:
    """Fig. 11."""
    rows = []
    for clip in clips:
        generated, photo = says(clip, runner)[0]
        at = clip.moments()
        times = [f"{each / FRAME_RATE_HZ:.2f} s" for each in at]
        rows.append(row(["still", *times], [photo, *(generated[i] for i in at)]))
        rows.append(row(["", *["real"] * len(at)], [blank(), *(clip.faces[i] for i in at)]))
    return np.vstack(rows)


def variants(clip: Clip, runner: Runner) -> Image:
    """Fig. 12."""
    at = clip.moments()
    rows = [row(["real", *[""] * (len(at) - 1)], [clip.faces[i] for i in at])]
    for generator, (frames, _) in zip(runner.generators, says(clip, runner), strict=True):
        rows.append(row([generator.name, *[""] * (len(at) - 1)], [frames[i] for i in at]))
    return np.vstack(rows)


def poisson_steps(clips: Sequence[Clip], weights: str) -> Image:
    """Fig. 13."""
    talker, blender, rows = load_talker(weights), PoissonBlender("lower"), []
    for clip, voice in zip(clips, [*clips[1:], *clips[:1]], strict=True):
        person = clip.person()
        first = person.chosen[0]
        identity = talker.prepare(Canvas(first.image, first.transform, first, crop=True), person.chosen)
        drive = track_drive(voice.track, talker.audio_stream())
        at = min(int(lip_opening(voice.track.landmarks).argmax()), len(clip.track) - 1)
        source, generated = (
            clip.context[at],
            next(Composer(identity).frames(talker.generate(identity, drive[at][None]))),
        )
        blended, weight = blender.lay_in(source, generated)
        result = np.rint(source + weight * (blended - source)).clip(0, 255).astype(np.uint8)
        region = np.rint(source * (0.35 + 0.65 * domain_weight("lower"))).astype(np.uint8)
        pasted = np.rint(source + weight * (generated.astype(np.float32) - source)).clip(0, 255).astype(np.uint8)
        titles = ["frame", "generated face", "region", "pasted", "Poisson editing"]
        rows.append(row(titles, [source, generated, region, pasted, result]))
    return np.vstack(rows)


def redubbing_network(clips: Sequence[Clip], weights: str) -> Image:
    """Fig. 15: the clip's own audio, so that the real face is the target."""
    redubber = load_redubber(RedubOptions.of(None, {"weights": weights, "blend": "network"}))
    if not isinstance(redubber, ContextRedubber):
        raise WeightsError(f"the weights {weights} have no paper_redubber", "train one: speech2vid train redubber")
    rows = []
    for clip in clips:
        person = clip.person()
        times_s = np.arange(len(clip.track)) / FRAME_RATE_HZ
        plan = plan_aligned(clip.track.transforms, clip.track.landmarks, times_s, None)
        prepared = redubber.prepare(person, plan)
        drive = track_drive(clip.track, redubber.audio_stream("hold"))
        for at in clip.moments(4)[1:3]:
            face = FilmedFace(clip.context[at], invert(context_from_face()), plan.landmarks[at])
            difference, _ = redubber.change(face, prepared, plan, at, drive[at])
            generated = np.rint(clip.context[at] + difference).clip(0, 255).astype(np.uint8)
            hidden = hidden_face(clip.context[at], clip.track.landmarks[at]).astype(np.uint8)
            stills = [still.image for still in person.chosen[::2]]
            titles = ["identity", "", "", "context", "generated", "real"]
            rows.append(row(titles, [*stills, hidden, generated, clip.context[at]]))
    return np.vstack(rows)


def redubbing(clips: Sequence[Clip], runner: Runner) -> Image:
    """Fig. 16."""
    if runner.redubber is None:
        raise WeightsError("nothing re-dubs with these weights", "choose other weights")
    rows = []
    for clip, voice in zip(clips, [*clips[1:], *clips[:1]], strict=True):
        count = min(len(clip.track), len(voice.track))
        made = runner.redubber.redub(clip.filmed, voice.track, count)
        at = np.linspace(0, count - 1, MOMENTS).round().astype(int)
        for title, frames in {"source": clip.context, **made}.items():
            rows.append(row([title, *[""] * (MOMENTS - 1)], [frames[i] for i in at]))
    return np.vstack(rows)


def says(clip: Clip, runner: Runner) -> list[tuple[Frames, Image]]:
    """Return the frames of each generator, (T, 112, 112, 3), and the still that it animates."""
    speakers = speakers_for(clip.track, (FIVE,), 0, runner)
    return [(speaker.says(clip.track), speaker.stills[0].aligned.image) for speaker in speakers.values()]


def as_filmed(context: Image, points: Points, matrix: Affine) -> tuple[Image, Points]:
    """Return the part of the source around a face, from its 224 px face, and the landmarks in it."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = FIELD * float((high - low).max())
    scale = TILE_PX / side
    left, top = (low + high) / 2 - side / 2
    to_tile = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
    from_context = compose(to_tile, invert(compose(context_from_face(), matrix)))
    image = cv2.warpAffine(context, from_context, (TILE_PX, TILE_PX), flags=cv2.INTER_AREA, borderValue=(WHITE,) * 3)
    return image, transform_points(to_tile, points)


def with_points(face: tuple[Image, Points], side: int) -> Image:
    """Draw landmarks on an image of ``side`` px."""
    image, points = face
    scale = side / image.shape[0]
    drawn = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    for x, y in points * scale:
        cv2.circle(drawn, (round(float(x) * 16), round(float(y) * 16)), 24, (255, 60, 60), -1, cv2.LINE_AA, 4)
    return drawn


def heat_map(window: Floats) -> Image:
    """Return a window (12, 35) in colours, low coefficients at the bottom."""
    low, high = np.percentile(window, (2, 98))
    grey = np.rint((window[::-1] - low) / max(1e-6, high - low) * 255).clip(0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(
        cv2.resize(grey, (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST), cv2.COLORMAP_VIRIDIS
    )
    return cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)


def blank() -> Image:
    """Return a white tile."""
    return np.full((TILE_PX, TILE_PX, 3), WHITE, np.uint8)


def row(titles: Sequence[str], images: Sequence[Image]) -> Image:
    """Return images of any square size next to each other, with titles above, if there are any."""
    tiles = []
    for number, image in enumerate(images):
        if image.shape[0] == FACE_PX:  # generated faces are defined on the 109 px target
            image = image[TARGET_OFFSET_PX:][:TARGET_PX, TARGET_OFFSET_PX:][:, :TARGET_PX]
        shrink = image.shape[0] >= CONTEXT_FACE_PX
        tile = cv2.resize(image, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)
        tile = cv2.copyMakeBorder(tile, 0, GAP_PX, 0, GAP_PX, cv2.BORDER_CONSTANT, value=(WHITE,) * 3)
        if titles:
            label = np.full((LABEL_PX, tile.shape[1], 3), WHITE, np.uint8)
            cv2.putText(label, titles[number], (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
            tile = np.vstack([label, tile])
        tiles.append(tile)
    return np.hstack(tiles)


if __name__ == "__main__":
    try:
        main()
    except Speech2VidError as error:
        sys.exit(f"error: {error}")
