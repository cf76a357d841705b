"""A plan of probes over a captured run, and the verb that carries it out."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from probes import merge_duplicate_groups, split_groups
from probes.errors import ProbeDataError
from workbench.errors import InsufficientData, SchemaError
from workbench.evidence import MIN_HONEST, known_values
from workbench.fit import PACK_NAME, fit_record, fit_steps, label_steps, save_fits
from workbench.jsonio import canonical_json, read_text
from workbench.sites import Site, choose_sites
from workbench.store import RunStore, write_file
from workbench.tasks.base import plain_prompt

SCORES_NAME = "fit.json"

Progress = Callable[[int, int], None]


class FitPlan(BaseModel):
    """Which probes to train: `sites` (patterns), `steps` (default: all), `held_out` (share of problems), `seed`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sites: Annotated[list[str], Field(min_length=1)] = ["*"]
    steps: list[Annotated[int, Field(ge=0)]] | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.5
    seed: Annotated[int, Field(ge=0)] = 0


def read_fit_plan(path: Path) -> FitPlan:
    """Read a plan; unknown or wrong keys are errors that name file and key."""
    try:
        return FitPlan.model_validate(tomllib.loads(read_text(path)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SchemaError(f"not valid TOML: {error}", path=path) from error
    except ValidationError as error:
        keys = [".".join(map(str, item["loc"])) for item in error.errors()]
        breaks = [f"{key}: {item['msg']}" for key, item in zip(keys, error.errors(), strict=True)]
        raise SchemaError("; ".join(breaks), path=path, field=", ".join(keys)) from error


def run_fit(run: Path, out: Path, plan: FitPlan, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Train the probes of a plan on a captured run and save them with their scores.

    Returns:
        One row per probe: every score beside its controls, its n and its interval.

    Raises:
        InsufficientData: the run's problems have no known thoughts, or too few.
    """
    store = RunStore(run)
    problems = [record["problem"] for record in store.problems]
    known = [known_values(problem) for problem in problems]
    if sum(bool(values) for values in known) < MIN_HONEST:
        raise InsufficientData(
            "too few problems of this run have known `thoughts`", path=run, field="thoughts",
            expected=f"at least {MIN_HONEST}", found=sum(bool(values) for values in known),
            hint="Capture honest problems with known thoughts, such as a calibration file.",
        )  # fmt: skip
    if plan.steps is not None:
        known = [{step: value for step, value in values.items() if step in plan.steps} for values in known]
    groups = merge_duplicate_groups([p["group"] for p in problems], [plain_prompt(p) for p in problems])
    try:
        held_out = split_groups(groups, max(1, round(plan.held_out * len(problems))), seed=plan.seed)
    except ProbeDataError as error:
        raise InsufficientData(f"the problems cannot be split: {error}", path=run, field="group") from error
    declared = {name: Site(name, ("d_model",), (info.dim,)) for name, info in store.sites.items()}
    cells = [
        step
        for site in choose_sites(plan.sites, declared)
        for step in label_steps(store, known, range(len(problems)), held_out, groups, site=site)
    ]
    fits = fit_steps(cells, None, seed=plan.seed, progress=progress)
    rows = [fit_record(fit) for fit in fits]
    root = save_fits(fits, out)
    write_file(
        out / SCORES_NAME,
        canonical_json({"schema": "neuralese-fit/1", "run_root": store.root, "probes_root": root, "pack": PACK_NAME,
                        "plan": plan.model_dump(), "fits": rows}),
    )  # fmt: skip
    return rows
