"""The `workbench` command: one sub-command per verb.

Exit codes: 0 done and nothing to report, 1 the gate failed or a model does not fit, 2 usage or tool error,
3 inconclusive, 4 integrity failure, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from workbench.cli import (
    auditing,
    bandwidth,
    benchmarking,
    comparing,
    converting,
    fitting,
    intervening,
    living,
    models,
    reporting,
    serving,
)
from workbench.errors import WorkbenchError

app = typer.Typer(
    name="workbench",
    help="Reads along while a language model thinks in vectors, and shows where its thoughts part from its words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"workbench {version('neuralese-workbench')}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the sub-command."""


# Typer may carry its own copy of click: these are the classes it really raises.
CommandLineError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

INTERRUPTED = 130

auditing.register(app)
intervening.register(app)
fitting.register(app)
bandwidth.register(app)
benchmarking.register(app)
comparing.register(app)
converting.register(app)
living.register(app)
models.register(app)
reporting.register(app)
serving.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; `--debug` shows where an error came from."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when transformers is imported
    try:
        code = app(args=arguments, prog_name="workbench", standalone_mode=False)
    except CommandLineError as error:
        error.show()
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except WorkbenchError as error:
        if debug:
            raise
        _tell(error, as_json="--json" in arguments)
        return error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if debug:
            raise
        named = WorkbenchError(error.strerror or str(error), path=error.filename, hint="Check the path and its rights.")
        _tell(named, as_json="--json" in arguments)
        return named.exit_code
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
        sys.stderr.write("interrupted; what was finished is kept\n")
    return code if isinstance(code, int) else 0


def _tell(error: WorkbenchError, *, as_json: bool) -> None:
    from workbench.cli.terminal import print_json
    from workbench.reports.escape import visible

    if as_json:
        print_json(error.to_dict())
    lines = str(error).split("\n")
    sys.stderr.write("error: " + "\n".join(visible(line) for line in lines) + "\n")
