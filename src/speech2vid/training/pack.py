"""Trained networks → the files that ``talk`` runs: weights at half the size, and graphs that point into them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from speech2vid.errors import OutputError, WeightsError
from speech2vid.inference.fields import TALKER, VOICE
from speech2vid.inference.network_blend import REDUBBER
from speech2vid.models.checkpoint import load, save
from speech2vid.models.export import export_graphs
from speech2vid.models.identity_trunk import IdentityTrunk
from speech2vid.models.network import Network
from speech2vid.models.redubber import Redubber
from speech2vid.models.shape_predictor import ShapePredictor
from speech2vid.models.sharpener import Sharpener
from speech2vid.models.sync import SyncNetwork
from speech2vid.models.talker import Talker
from speech2vid.models.warp_redubber import WarpRedubber
from speech2vid.models.warp_talker import WarpTalker
from speech2vid.weightfile import read_header, write_whole

NETWORKS: dict[str, type[Network]] = {
    each.architecture: each
    for each in (
        WarpTalker,
        ShapePredictor,
        Talker,
        Sharpener,
        SyncNetwork,
        IdentityTrunk,
        WarpRedubber,
        Redubber,
    )
}
# stage → stem of its weight file
FILES = {
    "picture": TALKER,
    "sound": VOICE,
    **{stage: stage for stage in ("identity", "talker", "sharpener", "sync")},
    "redubber": REDUBBER,
}
OPENING_RATIO, LEAST_RATIO = 1.0, 0.3  # lip opening's movement, made / true: what it is calibrated to, from what on
LICENCE = "that of the data it was trained on"


def pack(best: Mapping[str, Path], out: Path, *, data: str, licence: str = LICENCE) -> list[Path]:
    """Write what a training ends in.

    Args:
        best: stage → file of its best weights; stages that nothing is shipped of are left out.
        out: folder for the weight files and graphs.
        data, licence: for the headers.

    Returns:
        the files.

    Raises:
        OutputError: they cannot be written.
    """
    files: list[Path] = []
    with _writing(out):
        for stage, source in best.items():
            if stage not in FILES:
                continue
            network, header = load(source, _class_of(source))
            if isinstance(network, ShapePredictor):  # what is predicted from sound moves less than the truth
                network.basis.mul_(OPENING_RATIO / max(LEAST_RATIO, header.metrics["opening_ratio"]))
            target = out / f"{FILES[stage]}.safetensors"
            save(network, target, data=data, metrics=header.metrics, licence=licence, half=True)
            files += [target, *export_graphs(target, type(network))]
    return files


def export(out: Path, weights: Path | None = None) -> list[Path]:
    """Copy weight files and make their graphs beside them.

    Args:
        out: folder.
        weights: a weight file, or a folder of them; the package's own by default.

    Returns:
        the files in ``out``.

    Raises:
        WeightsError: there are none, or one is damaged or of an unknown network.
        OutputError: they cannot be written.
    """
    weights = weights or Path(str(resources.files("speech2vid") / "weights"))
    sources = [weights] if weights.is_file() else sorted(weights.glob("*.safetensors"))
    if not sources:
        raise WeightsError(f"there is no weight file in {weights}", "give a .safetensors file, or a folder with some")
    kinds = [_class_of(source) for source in sources]
    files: list[Path] = []
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for source, kind in zip(sources, kinds, strict=True):
            target = out / source.name
            if not (target.exists() and target.samefile(source)):
                write_whole(target, source.read_bytes())
            files += [target, *export_graphs(target, kind)]
    return files


def _class_of(path: Path) -> type[Network]:
    architecture = read_header(path).architecture
    if architecture not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise WeightsError(
            f"{path} holds a {architecture}, which has no graphs", f"give the weights of one of: {known}"
        )
    return NETWORKS[architecture]


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{folder} cannot be written: {reason}", "check its permissions and the free space"
        ) from error
