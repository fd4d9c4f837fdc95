"""``speech2vid train``: sample store → weights."""

from __future__ import annotations

import os
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
    "motion": "motion",
}


def train(
    what: Annotated[
        Literal["talker", "sharpener", "sync", "identity", "redubber", "motion"],
        typer.Argument(metavar="WHAT", help="What to train: talker, sharpener, sync, identity, redubber or motion."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A sample store, made by prepare.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for checkpoints, logs, images and the weights.")
    ],
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="NAME|FILE.toml",
            help="talker: default (the shipped warp talker), evening (the same, in one evening on two cores), "
            "paper-recipe, compact-upsample, content or paper (the paper's network), toy; sharpener: sharpener; "
            "sync: sync, sync-contrastive; identity: identity; redubber: redubber (shipped), compact-audio or paper "
            "(the paper's network), toy; motion: motion; or a file.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TASK.KEY=VALUE",
            help="Replace a setting of the config, e.g. warp_talker.steps=2000. Give it again for several.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where the training in --out was stopped.")] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Device that the networks are trained on.")
    ] = "auto",
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Read faces from the store as needed, also where they would fit into memory."),
    ] = False,
) -> None:
    """Train networks on a sample store. Needs the extra `train`.

    The weights with the best validation are exported to OUT/weights. Ctrl-C and SIGTERM save a checkpoint first;
    --resume continues from it. For several processes or machines, which must share OUT:
    torchrun --no-python --nproc-per-node N speech2vid train …
    """
    require_extra("train")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns of what the loop asks for on purpose
    from speech2vid.training.config import load_config
    from speech2vid.training.train import train as run_training

    settings = load_config(config or DEFAULTS[what], what, overrides or ())
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    with progress_bar(f"train → {out}", "steps", log_lines=first) as progress:
        files = run_training(
            data,
            out,
            settings,
            resume=resume,
            device=device,
            stream=stream or None,
            on_step=lambda task, done, steps: progress(done, steps, task),
        )
    for file in files:
        typer.echo(str(file))


def require_extra(command: str) -> None:
    """Raise MissingExtraError unless all packages of the extra [train] are installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{command} needs {', '.join(missing)}", "install the extra: pip install 'speech2vid[train]'"
        )
