"""``speech2vid train``: sample store → weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from speech2vid.cli.output import progress_bar
from speech2vid.errors import MissingExtraError

NEEDED = ("torch", "onnx", "tensorboard")
DEFAULTS = {
    "talker": "default",
    "sharpener": "sharpener",
    "sync": "sync",
    "identity": "identity",
    "redubber": "redubber",
}


def train(
    what: Annotated[
        Literal["talker", "sharpener", "sync", "identity", "redubber"],
        typer.Argument(metavar="WHAT", help="What to train: talker, sharpener, sync, identity or redubber."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Sample store created by `prepare`.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Output folder for checkpoints, logs, sample images and weights."),
    ],
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="NAME|FILE.toml",
            help="Preset or TOML file. Presets for talker: default (the bundled network), compact-upsample, content, "
            "paper (the paper's network), toy; sharpener: sharpener; sync: sync, sync-contrastive; identity: identity; "
            "redubber: redubber (the bundled network), compact-audio, paper (the paper's network), toy.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the interrupted training in --out.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Device to train on.")] = "auto",
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Read faces from the store on demand even if they would fit into memory."),
    ] = False,
) -> None:
    """Train networks on a sample store. Needs the extra `train`.

    The weights with the best validation result are written to OUT/weights. To train in several processes or on several
    machines: torchrun --no-python --nproc-per-node N speech2vid train …
    """
    require_extra("train")
    from speech2vid.training.config import load_config
    from speech2vid.training.train import train as run_training

    settings = load_config(config or DEFAULTS[what], what)
    with progress_bar(f"train → {out}", "steps") as progress:
        files = run_training(
            data,
            out,
            settings,
            resume=resume,
            device=device,
            stream=stream or None,
            on_step=lambda task, done, steps: progress(done, steps),
        )
    for file in files:
        typer.echo(str(file))


def require_extra(command: str) -> None:
    """Raise MissingExtraError unless all packages of the extra `train` are installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{command} needs {', '.join(missing)}", "install the extra: pip install 'speech2vid[train]'"
        )
