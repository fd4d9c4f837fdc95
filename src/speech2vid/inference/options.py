"""The options of ``talk`` and ``redub``: one record each, for the command line, Python, the page and the endpoint.

A field is an option: its default, its help, and what values it takes stand here, once. The command line makes its flags
from the fields (``cli/options.py``); Python takes them as keywords. To add one, add a field and use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from speech2vid.constants import Landmarks
from speech2vid.errors import ConfigError

AnyPath = str | PathLike[str]
Silence = Literal["hold", "follow"]
SharpenArea = Literal["face", "mouth"]
Engine = Literal["onnx", "torch"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Blend = Literal["network", "poisson"]
Region = Literal["lower", "face"]
Length = Literal["audio", "video", "shortest"]
Motion = Literal["natural", "subtle", "still"]


@dataclass(frozen=True)
class Flag:
    """What the command line needs of an option beyond its type and default.

    Attributes:
        help: one sentence.
        metavar: what the value is called; "" for the type's own name.
        name: of the flag, if it is not that of the field; "" for no flag at all.
        least, most: bounds of a number.
    """

    help: str
    metavar: str = ""
    name: str | None = None
    least: int | None = None
    most: int | None = None


def option(default: Any, help: str, **settings: Any) -> Any:
    """Return a dataclass field that is an option; ``settings`` as :class:`Flag`."""
    return field(default=default, metadata={"flag": Flag(help, **settings)})


@dataclass(frozen=True)
class Options:
    """What ``talk`` and ``redub`` share.

    Raises:
        ConfigError: a value that is not among the choices, out of bounds, or (``of``) an unknown option.
    """

    silence: Silence = option("hold", "In silence, keep the mouth closed (hold) or follow all audio (follow).")
    crf: int = option(18, "H.264 quality: 0 is lossless, 51 is worst.", least=0, most=51)
    weights: AnyPath | None = option(
        None,
        "Weights: a bundled set (default, paper), a folder such as the weights/ of a training, or a weight file. "
        "Networks that it lacks come from the default set.",
        metavar="SET|DIR|FILE",
    )
    generator: str = option(
        "",
        "Generation method: warp, paper, an installed entry point, or module:Class (default: that of the weights).",
        metavar="NAME",
    )
    landmarks: Landmarks = option(
        "paper",
        "Face detector and landmarks: paper (HOG and dlib's 68 points) or mesh (BlazeFace and MediaPipe's face mesh; "
        "finds faces at any tilt).",
    )
    sharpen: bool = option(False, "Sharpen the generated face with the sharpening network of the weights.")
    sharpen_area: SharpenArea = option("face", "Area that --sharpen changes: the whole face or the mouth.")
    engine: Engine = option("onnx", "Runtime for the networks: ONNX Runtime, or PyTorch (extra `train`).")
    device: Device = option("auto", "Device that runs the networks. mps (Apple) needs --engine torch.")
    label: bool = option(False, 'Write "AI-generated" in the corner of every frame.')

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for each in fields(self):
            _check(each.name, getattr(self, each.name), hints[each.name], each.metadata["flag"])

    @classmethod
    def of(cls, options: Self | None, settings: Mapping[str, Any]) -> Self:
        """Return the options with single settings changed; None stands for the defaults."""
        known = [each.name for each in fields(cls)]
        for name in settings:
            if name not in known:
                raise ConfigError(f"there is no option {name!r}", _nearest(name, known))
        return replace(options or cls(), **settings)


@dataclass(frozen=True)
class TalkOptions(Options):
    """Options of :func:`speech2vid.talk`."""

    crop: bool = option(False, "Output only the aligned face instead of the whole image.")
    face_index: int | None = option(
        None, "Which face to animate, counted from the left, starting at 0 (default: the largest).", least=0
    )
    max_size_px: int = option(
        1920, "Maximum length of the longer side of the video.", metavar="PX", name="--max-size", least=64
    )
    motion: Motion = option(
        "still",
        "Head motion and blinks: natural, subtle (smaller movements), or still (only the mouth moves).",
    )
    seed: int = option(0, "Seed of the head motion: another one gives other movements.", least=0)


@dataclass(frozen=True)
class RedubOptions(Options):
    """Options of :func:`speech2vid.redub`."""

    blend: Blend = option(
        "poisson", "How to blend the new mouth into the frame: Poisson editing or the blending network."
    )
    region: Region = option("lower", "Region that --blend poisson may change: the lower face or the whole face.")
    length: Length = option(
        "audio",
        "Output duration: audio, video or shortest. If the audio is longer than the video, the last seconds of the "
        "video play back and forth.",
    )
    identity: AnyPath | None = option(
        None, "Put the face of the person in this photo into the video instead of the speaker's own.", metavar="PHOTO"
    )
    face_index: int | None = option(
        None,
        "Person to re-dub, numbered from 0 in order of appearance, then left to right (default: detected from the "
        "audio).",
        least=0,
    )
    speakers: AnyPath | None = option(
        None,
        "TOML file that assigns a recording to each speaker; --audio is the audio track of the output.",
        metavar="MAP.toml",
    )
    preview: AnyPath | None = option(
        None, "Write a before-and-after image of a single frame instead of a video.", metavar="PNG"
    )
    cache: bool | AnyPath = option(True, "Keep the analysis of the video for the next run.", name="")


def _check(name: str, value: Any, hint: Any, flag: Flag) -> None:
    choices = [choice for part in _parts(hint) if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        if value not in choices:
            raise ConfigError(f"{name} cannot be {value!r}", _nearest(str(value), choices))
        return
    kinds = tuple(get_origin(part) or part for part in _parts(hint))
    is_bool_as_number = isinstance(value, bool) and bool not in kinds
    if not isinstance(value, kinds) or is_bool_as_number:
        wanted = " or ".join("nothing" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ConfigError(f"{name} cannot be {value!r}", f"give a value of type {wanted}")
    if isinstance(value, int) and not isinstance(value, bool):
        low, high = flag.least, flag.most
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"{low} to {high}" if high is not None else f"at least {low}"
            raise ConfigError(f"{name} cannot be {value}", f"give a whole number, {bounds}")


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _nearest(given: str, choices: Iterable[str]) -> str:
    choices = list(choices)
    near = difflib.get_close_matches(given, choices, n=1, cutoff=0.5)
    return (
        f"did you mean {near[0]!r}? Choose from: {', '.join(choices)}" if near else f"choose from: {', '.join(choices)}"
    )
