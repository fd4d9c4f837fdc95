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
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A sample store, made by prepare.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for checkpoints, logs, pictures and the weights.")
    ],
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="NAME|FILE.toml",
            help="talker: default (what is shipped), compact-upsample, content or paper (the paper's network), toy; "
            "sharpener: sharpener; sync: sync, sync-contrastive; identity: identity; redubber: redubber (what is "
            "shipped), compact-audio or paper (the paper's network), toy; or a file.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Carry on where --out was stopped.")] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="What the networks are trained on.")
    ] = "auto",
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Read faces from the store as needed, also where they would fit into memory."),
    ] = False,
) -> None:
    """Train networks on a sample store. Needs the extra `train`.

    The weights that are best on the split val come into OUT/weights, ready for talk --weights. For several processes
    or machines: torchrun --no-python --nproc-per-node N speech2vid train …
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
    """Raise MissingExtraError unless everything of the extra [train] is there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{command} needs {', '.join(missing)}", "install the extra: pip install 'speech2vid[train]'"
        )
