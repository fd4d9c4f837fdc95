"""Every network of the package in one table: its class, its training, its graphs, and which method it serves.

A new generation method is a line here (or an entry point of another package, see docs/how-to/add-a-talker.md). Classes
are named as ``module:Class`` and imported when they are asked for: the table itself loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from types import MappingProxyType
from typing import Any

from speech2vid.errors import ConfigError

TALKERS_GROUP = "speech2vid.talkers"  # entry points of other packages: name → module:Class
METRICS_GROUP = "speech2vid.metrics"  # name → module:NAME
TASKS = "speech2vid.training.tasks"
MODELS = "speech2vid.models"
INFERENCE = "speech2vid.inference"


@dataclass(frozen=True)
class Architecture:
    """A network that has weight files.

    Attributes:
        name: in the header of its weight files; also the stem of its file in a folder of weights, and the name of the
            training task that makes it.
        network: its class.
        task: the class of its training task; "" for a converted network, which is not trained here.
        graphs: names of its ONNX graphs, in the order in which they are exported.
        talker: short name of the talker that it generates faces for, as in ``--generator``; "" for none.
        redubber: short name of the re-dubbing method that it generates faces for; "" for none.
        exported: whether a training leaves its weights in the folder ``weights``; other trainings alone need it if not.
    """

    name: str
    network: str
    task: str
    graphs: tuple[str, ...]
    talker: str = ""
    redubber: str = ""
    exported: bool = True

    def network_class(self) -> Any:
        """Import the network's class; needs torch."""
        return load_reference(self.network)

    def config_class(self) -> Any:
        """Import the class of the network's settings; needs torch."""
        return self.network_class().Config

    def task_class(self) -> Any:
        """Import the class of the training task, which must be there; needs torch."""
        return load_reference(self.task)


ARCHITECTURES: dict[str, Architecture] = {
    each.name: each
    for each in (
        Architecture(
            "warp_talker",
            f"{MODELS}.warp_talker:WarpTalker",
            f"{TASKS}.warp_talker:WarpTalkerTask",
            ("identity", "frames"),
            talker="warp",
        ),
        Architecture(
            "audio_to_mouth",
            f"{MODELS}.audio_to_mouth:AudioToMouth",
            f"{TASKS}.audio_to_mouth:AudioToMouthTask",
            ("mouth_motion",),
        ),
        Architecture(
            "speech_encoder", f"{MODELS}.speech_encoder:SpeechEncoder", task="", graphs=("features",), exported=False
        ),
        Architecture(
            "head_motion",
            f"{MODELS}.head_motion:HeadMotion",
            f"{TASKS}.head_motion:HeadMotionTask",
            ("step",),
        ),
        Architecture(
            "paper_talker",
            f"{MODELS}.paper_talker:PaperTalker",
            f"{TASKS}.paper_talker:PaperTalkerTask",
            ("identity", "frames"),
            talker="paper",
        ),
        Architecture(
            "audio_encoder",
            f"{MODELS}.audio_trunk:AudioTrunk",
            f"{TASKS}.audio_encoder:AudioEncoderTask",
            ("motion",),
            exported=False,
        ),
        Architecture("sharpener", f"{MODELS}.sharpener:Sharpener", f"{TASKS}.sharpener:SharpenerTask", ("sharpen",)),
        Architecture("sync", f"{MODELS}.sync:SyncNetwork", f"{TASKS}.sync:SyncTask", ("video", "audio")),
        Architecture(
            "identity", f"{MODELS}.identity_trunk:IdentityTrunk", f"{TASKS}.identity:IdentityTask", ("embed",)
        ),
        Architecture(
            "warp_redubber",
            f"{MODELS}.warp_redubber:WarpRedubber",
            f"{TASKS}.warp_redubber:WarpRedubberTask",
            ("frames",),
            redubber="warp",
        ),
        Architecture(
            "paper_redubber",
            f"{MODELS}.paper_redubber:PaperRedubber",
            f"{TASKS}.paper_redubber:PaperRedubberTask",
            ("identity", "frames"),
            redubber="paper",
        ),
    )
}

TALKERS = {  # name for --generator → class of the talker
    "warp": f"{INFERENCE}.talkers.warp:WarpNetworks",
    "paper": f"{INFERENCE}.talkers.paper:PaperNetworks",
}


def talker_class(generator: str) -> Any:
    """Import the class of a talker.

    Args:
        generator: ``warp`` or ``paper``, the name of an entry point of the group ``speech2vid.talkers``, or
            ``module:Class`` of anything that Python can import.

    Raises:
        ConfigError: there is no such talker, or it cannot be imported.
    """
    return load_extension("generator", TALKERS_GROUP, generator, TALKERS)


def load_extension(kind: str, group: str, name: str, built_in: Mapping[str, str] = MappingProxyType({})) -> Any:
    """Import an extension: one of the package, of another package's entry point, or of any module.

    Args:
        kind: in messages and as the name of the option, such as ``generator``.
        group: of the entry points.
        name: key of ``built_in``, name of an entry point, or ``module:name``.
        built_in: name → ``module:name``.

    Raises:
        ConfigError: there is none of this name, or it cannot be imported.
    """
    if name in built_in:
        return load_reference(built_in[name])
    reference = extension_reference(kind, group, name, built_in)
    try:
        return load_reference(reference)
    except Exception as error:  # a module of somebody else may raise anything
        raise ConfigError(
            f"the {kind} {reference!r} cannot be imported: {error}",
            "give module:name of a module that Python finds: installed, or in a folder of PYTHONPATH",
        ) from error


def extension_reference(kind: str, group: str, name: str, built_in: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return ``module:name`` of an extension; arguments and errors as :func:`load_extension`."""
    installed = {point.name: point.value for point in metadata.entry_points(group=group)}
    reference = {**installed, **built_in}.get(name, name)
    if ":" not in reference:
        known = ", ".join(sorted({*built_in, *installed}))
        hint = f"choose from: {known}; or give module:name" if known else "give module:name"
        raise ConfigError(f"there is no {kind} {name!r}", hint)
    return reference


def load_reference(reference: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
