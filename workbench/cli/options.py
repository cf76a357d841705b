"""Options that several sub-commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from workbench.engines import Engine
    from workbench.reasoners.loading import LoadedModel

MODEL_HELP = "organism:NAME, or a folder of Hugging Face files plus reasoner.toml."

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every split, donor and direction.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: an accelerator where there is one.")]
Dtype = Annotated[Literal["float32", "bfloat16"], typer.Option(help="Type that the weights are cast to.")]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that lies in the model folder (Huginn, Ouro); read it first."),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads for the model; narrow ones are fastest with one.")]
EngineName = Annotated[Literal["local", "ray"], typer.Option("--engine", help="Where the work runs.")]
Workers = Annotated[int, typer.Option(min=1, help="Workers at once, each with its own copy of what it needs.")]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Of a running Ray cluster; without, Ray is started here.")
]
WorkerThreads = Annotated[int, typer.Option("--threads", min=1, help="Threads of each worker.")]
Problems = Annotated[Path, typer.Option("--problems", metavar="FILE", help="Problems, JSON lines.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; a half-written one is resumed.")]


def use_threads(threads: int) -> None:
    """Give the model this many threads; small models are fastest with one or two."""
    import torch

    torch.set_num_threads(threads)


def choose_engine(name: str, *, workers: int, address: str | None, threads: int, device: str = "cpu") -> Engine:
    """The engine that the options of a command name; this process gets the threads of one worker.

    Ray sets one accelerator aside for each worker where the device is one.
    """
    from workbench.engines import open_engine
    from workbench.reasoners.loading import choose_device

    use_threads(threads)
    gpus = float(choose_device(device).startswith("cuda"))
    return open_engine(name, workers=workers, address=address, threads=threads, gpus=gpus)


def load(model: str, *, device: str, dtype: str, trust_remote_code: bool) -> LoadedModel:
    """Load MODEL as the options of a command say."""
    import torch

    from workbench.reasoners.loading import load_model

    chosen = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    return load_model(model, device=device, dtype=chosen, trust_remote_code=trust_remote_code)
