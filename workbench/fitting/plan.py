"""A plan of probes: which sites, layers, steps and labels, which probes and penalties, how rows are split."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from workbench.errors import SchemaError
from workbench.jsonio import read_text

LABEL = re.compile(r"thought(?:\[(-?\d+)\]|([+-]\d+))?|answer|word\[(-?\d+)\]|file:.+", re.DOTALL)
LABEL_HELP = "thought, thought[2], thought+1, answer, word[-1] or file:NAME"
LAYER = re.compile(r"^blocks\.(\d+)\.")

ProbeKind = Literal["logistic", "lda", "ridge", "mean-difference"]
Natural = Annotated[int, Field(ge=0, lt=2**31)]


class Controls(BaseModel):
    """How much every score is compared with; no control can be switched off."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    shuffles: Annotated[int, Field(ge=19, le=10_000)] = 100
    """Refits on shuffled labels of each cell; 19 are the fewest that can reach p = 0.05."""
    tasks: Annotated[int, Field(ge=1, le=20)] = 3
    """Control tasks of each cell (Hewitt & Liang 2019): labels that are random functions of the last prompt word."""


class FitPlan(BaseModel):
    """What a person asks of `workbench fit`; every key has a default."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sites: Annotated[list[str], Field(min_length=1)] = ["*"]
    """Names or patterns; `*` and `?` as in file names."""
    layers: list[Natural] | None = None
    """Of the sites that lie in a block (`blocks.N.`), those of these layers only; other sites are not touched."""
    steps: list[Natural] | None = None
    """Default: every step that has a label."""
    labels: Annotated[list[str], Field(min_length=1)] = ["thought"]
    labels_file: str | None = None
    """JSON lines `{"id": ..., "labels": {name: value or list of values by step}}` that `file:NAME` looks up."""
    probes: Annotated[list[ProbeKind], Field(min_length=1)] = ["logistic"]
    lambdas: Annotated[list[Annotated[float, Field(gt=0, lt=1e6)]], Field(min_length=1)] = [1.0, 0.1, 0.01, 1e-3, 1e-4]
    """L2 penalties to choose from, in mean log loss + lambda / 2 |W|^2 on rows divided by one number."""
    controls: Controls = Controls()
    text: bool = True
    """Whether text probes and lenses are fitted where a model is given that can read the site."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of groups that are scored on; a group's side follows from its hash and `seed` alone."""
    duplicates: Literal["refuse", "merge"] = "refuse"
    """What happens to equal prompts of different groups that lie on both sides: an error, or one group."""
    seed: Natural = 0
    memory: Annotated[int, Field(ge=16, le=2**20)] = 2048
    """MiB of vectors to hold at once; more means fewer passes over the store, less means that rows are sampled."""

    @field_validator("labels")
    @classmethod
    def _known_labels(cls, labels: list[str]) -> list[str]:
        for label in labels:
            if not LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is no label; there are {LABEL_HELP}")
        return labels

    @field_validator("labels", "probes", "lambdas", "steps", "layers")
    @classmethod
    def _different(cls, items: list[object] | None) -> list[object] | None:
        if items is not None and len(set(items)) < len(items):
            raise ValueError("stands twice in the list")
        return items


def read_fit_plan(path: Path) -> FitPlan:
    """Read a plan; unknown or wrong keys are errors that name file and key."""
    try:
        return FitPlan.model_validate(tomllib.loads(read_text(path)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SchemaError(f"not valid TOML: {error}", path=path) from error
    except ValidationError as error:
        keys = [".".join(map(str, item["loc"])) for item in error.errors()]
        breaks = [f"{key}: {item['msg']}" for key, item in zip(keys, error.errors(), strict=True)]
        allowed = f"known keys are {', '.join(FitPlan.model_fields)}"
        raise SchemaError("; ".join(breaks), path=path, field=", ".join(keys), expected=allowed) from error


def layer_of(site: str) -> int | None:
    """Block that a site lies in; None where it lies in none."""
    found = LAYER.match(site)
    return None if found is None else int(found[1])
