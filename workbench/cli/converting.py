"""The sub-command that turns pickled weights into safetensors: convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command()(convert)


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder with .bin, .pt or .pth weights, or one such file.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder to write.")],
    memory_limit: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="GIB", help="Memory to read one file in; default: twice the largest and 1 more."),
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Time to read one file in.")] = 1800.0,
    json: Json = False,
) -> int:
    """Turn pickled weights into safetensors, read in a process of its own: tensors only, under limits.

    Configuration, tokenizer and reasoner.toml that lie beside the weights are copied; code never is.

    Example: workbench convert ./downloaded --out my-model
    """
    from workbench.cli.terminal import print_json, progress_on_stderr, shown, stdout
    from workbench.convert import Limits
    from workbench.convert import convert as run

    with progress_on_stderr(quiet=json) as advance:
        done = run(source, out, limits=Limits(memory_limit, time_limit), report=advance)
    if json:
        print_json(done.to_plain())
        return 0
    lines = [f"{done.n_tensors} tensors written to {done.out}", f"copied: {', '.join(done.copied) or 'nothing'}"]
    if done.left_out:
        lines.append(f"left out, beside the weights: {', '.join(done.left_out)}")
    missing = [name for name in ("config.json", "reasoner.toml") if name not in done.copied]
    if missing:
        lines.append(f"still missing to load it: {', '.join(missing)}")
    for line in lines:
        stdout().print(shown(line))
    return 0
