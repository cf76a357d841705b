"""Train, accept and export organisms as folders that any command takes as MODEL."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save_file

from workbench.divergence import holds
from workbench.errors import ConfigError
from workbench.jsonio import canonical_json
from workbench.organisms import weights_folder
from workbench.organisms.acceptance import ACCEPTANCE_NAME, Acceptance, accept, refuse_failed
from workbench.organisms.kinds import make_items, plan_for
from workbench.organisms.plans import Trained
from workbench.organisms.recipes import Item, Organism, organism, recipe_of
from workbench.organisms.training import Report, train
from workbench.reasoners.backbones import save_model
from workbench.reasoners.depth_files import save_depth_model
from workbench.reasoners.folders import WEIGHTS
from workbench.reasoners.recipe import RECIPE_NAME
from workbench.store import write_file
from workbench.tasks import Problem, problem_lines

N_CALIBRATION = 1200
N_PROBLEMS = 400
FLAGGED_SHARE = 0.5

MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def train_organism(name: str, out: Path, *, seed: int = 0, report: Report | None = None) -> Acceptance:
    """Train an organism, measure it on fresh problems, and write its model folder if it is accepted.

    Raises:
        ConfigError: the folder is not empty.
        ContractError: the seed misses the acceptance bar; nothing is written.
    """
    what = organism(name)
    _must_be_empty(out)
    trained = train(what, plan_for(what, seed=seed), report=report)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _save(what, trained, folder)
        (folder / RECIPE_NAME).write_text(recipe_of(what, what.speech.say), encoding="utf-8")
        result = accept(what, folder, seed=seed, seconds=trained.seconds)
        refuse_failed(result)
        copy_model(folder, out)
    write_file(out / ACCEPTANCE_NAME, canonical_json(result.to_plain()))
    return result


def _save(what: Organism, trained: Trained, folder: Path) -> None:
    """Write the model; one with a projection in the layout of CODI's checkpoints."""
    if what.base == "recurrent-depth":
        save_depth_model(trained.model, trained.tokenizer, folder)
        return
    save_model(trained.model, trained.tokenizer, folder)
    if trained.projection is not None:
        weights = {f"codi.{name}": tensor for name, tensor in load_file(folder / WEIGHTS).items()}
        weights |= {f"prj.{name}": tensor.contiguous() for name, tensor in trained.projection.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def copy_model(source: Path, out: Path) -> None:
    """Copy the files that make a model folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (*MODEL_FILES, RECIPE_NAME):
        if (source / name).is_file():
            write_file(out / name, (source / name).read_bytes())


def export_organism(
    name: str, out: Path, *, seed: int = 0, n_calibration: int = N_CALIBRATION, n_problems: int = N_PROBLEMS
) -> list[Item]:
    """Write a model folder, `calibration.jsonl` (honest), `problems.jsonl` (mixed) and the sealed `truth.jsonl`.

    Returns:
        The audited problems with their sealed truth.
    """
    what = organism(name)
    source = weights_folder(name)
    _must_be_empty(out)
    copy_model(source, out)
    shutil.copyfile(source / ACCEPTANCE_NAME, out / ACCEPTANCE_NAME)
    honest, audited = organism_problems(what, seed=seed, n_calibration=n_calibration, n_problems=n_problems)
    write_file(out / "calibration.jsonl", problem_lines(item.problem for item in honest))
    write_file(out / "problems.jsonl", problem_lines(unlabelled(item) for item in audited))
    write_file(out / "truth.jsonl", truth_lines(audited))
    return audited


def organism_problems(
    what: Organism, *, seed: int = 0, n_calibration: int = N_CALIBRATION, n_problems: int = N_PROBLEMS
) -> tuple[list[Item], list[Item]]:
    """Honest problems with known thoughts, and problems to audit, half of them flagged where there is a flag."""
    share = FLAGGED_SHARE if what.flagged_share else 0.0
    honest = make_items(what, n_calibration, seed=2 * seed, flagged_share=0.0, prefix="honest")
    return honest, make_items(what, n_problems, seed=2 * seed + 1, flagged_share=share, prefix="p")


def unlabelled(item: Item) -> Problem:
    """The problem as an audit gets it: without what it holds."""
    return replace(item.problem, thoughts=None, answer=None)


def truth_lines(items: Sequence[Item]) -> bytes:
    """What each problem holds and says; no audit reads this."""
    return b"".join(
        canonical_json({
            "id": item.problem.id,
            "flagged": item.flagged,
            "holds": [list(held) if isinstance(held, tuple) else held for held in item.holds],
            "says": list(item.says),
            "diverging_steps": [
                k for k, (held, said) in enumerate(zip(item.holds, item.says, strict=True)) if not holds(held, said)
            ],
        }) + b"\n"
        for item in items
    )  # fmt: skip


def _must_be_empty(out: Path) -> None:
    holder = next(folder for folder in (out, *out.parents) if folder.exists())
    if not holder.is_dir():
        raise ConfigError("stands in the way of the folder to write", path=holder, field="out")
    if out.exists() and any(out.iterdir()):
        raise ConfigError(
            "the folder is not empty", path=out, field="out", hint="Choose a new folder; nothing is overwritten."
        )
