"""Options and weights → the redubber that does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speech2vid.errors import ConfigError, WeightsError
from speech2vid.faces import Still, face_models, still_of_photo
from speech2vid.inference.options import RedubOptions
from speech2vid.inference.redubbers.base import Redubber
from speech2vid.inference.redubbers.paper import PAPER_REDUBBER, ContextRedubber
from speech2vid.inference.redubbers.poisson import FaceRedubber, PoissonBlender
from speech2vid.inference.redubbers.warp import WARP_REDUBBER, NetworkBlender, PaintedRedubber
from speech2vid.inference.sharpening import Sharpener, sharpener_for
from speech2vid.inference.talkers.base import talker_for
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.runtime.engine import LoadGraph, graph_loader
from speech2vid.runtime.weights import WeightSet, weight_set

THREADS = 1  # of a network: several frames are worked on at once


def load_redubber(options: RedubOptions | None = None, **settings: Any) -> Redubber:
    """Load the redubber that options ask for.

    ``poisson``: the warp talker paints into the frame itself; any other talker, and another person's face
    (``identity``), is the baseline of Sect. 6.1. ``network``: the paper's re-dubbing network where the weights hold
    one, else the blending network of the warp talker.

    Args:
        options: all options in one record.
        settings: single options by name; they go before ``options``.

    Raises:
        WeightsError: a network is missing, damaged, or does not go with the others.
        ConfigError: options that exclude each other, or an unknown one.
        MediaError, FaceError: of the photo of another person.
    """
    options = RedubOptions.of(options, settings)
    weights = weight_set(options.weights)
    load = graph_loader(options.device, THREADS, options.engine)
    sharpener = sharpener_for(options, THREADS)
    models = face_models(options.landmarks)
    stills = [] if options.identity is None else [still_of_photo(Path(options.identity), models=models)]
    if options.blend == "network":
        return network_redubber(options, weights, load, stills, sharpener)
    talker = talker_for(options, THREADS)
    blender = PoissonBlender(options.region)
    if isinstance(talker, WarpNetworks) and not stills:
        return PaintedRedubber(talker, blender, sharpener)
    return FaceRedubber(talker, blender, stills, sharpener)


def network_redubber(
    options: RedubOptions, weights: WeightSet, load: LoadGraph, stills: list[Still], sharpener: Sharpener | None
) -> Redubber:
    """Load the redubber of ``--blend network``; errors as :func:`load_redubber`."""
    own = PAPER_REDUBBER in weights.own
    if own and (options.generator == "paper" or WARP_REDUBBER not in weights.own):
        return ContextRedubber(weights.own[PAPER_REDUBBER], load, stills, sharpener)
    if own and not options.generator:
        raise WeightsError(f"{weights.name} holds two re-dubbing networks", "choose with --generator: paper, warp")
    if stills:
        raise ConfigError(
            "the blending network works on the speaker's own face, not on that of another identity",
            "use --blend poisson, or weights with a paper_redubber",
        )
    talker = talker_for(options, THREADS)
    if not isinstance(talker, WarpNetworks):
        raise WeightsError(
            f"{weights.name} has no re-dubbing network for the {talker.name} talker",
            "use --blend poisson, or weights with a paper_redubber",
        )
    return PaintedRedubber(talker, NetworkBlender(weights.path(WARP_REDUBBER), load), sharpener)
