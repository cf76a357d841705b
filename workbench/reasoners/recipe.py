"""`reasoner.toml`: how a folder of weights thinks and speaks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from workbench.errors import ConfigError, SchemaError
from workbench.jsonio import read_text

RECIPE_NAME = "reasoner.toml"
MAX_RECIPE_BYTES = 1_000_000
MAX_STEPS = 10_000

PRESETS: dict[str, tuple[str, ...]] = {"feedback": ("coconut",)}
"""Presets that this version runs, by family."""

KNOWN_PRESETS: dict[str, tuple[str, ...]] = {
    "feedback": ("coconut", "codi", "soft-thinking", "latent-mas"),
    "recurrent": ("huginn", "ouro", "hrm-text"),
    "memory": ("memory-bank",),
    "tokens": ("cot",),
}
"""Presets that the file format names."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Thinking(_Table):
    """How latent steps are opened, counted and closed."""

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    begin: str = ""
    end: str = ""
    add_special_tokens: bool = False


class Speaking(_Table):
    """How the model is made to speak, and how its said text is read."""

    prefix: str = ""
    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)]
    stop: str = ""
    claims: str
    separator: Annotated[str, Field(min_length=1)] = " "
    answer: str

    @field_validator("claims", "answer")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        try:
            compiled = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if compiled.groups < 1:
            raise ValueError(f"regular expression {pattern!r} has no group; put what is to be read in ( )")
        return pattern


class Recipe(_Table):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    family: Literal["feedback", "recurrent", "memory", "tokens"]
    preset: str
    thinking: Thinking
    speaking: Speaking

    @model_validator(mode="after")
    def _preset_belongs_to_family(self) -> Self:
        if self.preset not in KNOWN_PRESETS[self.family]:
            raise ValueError(
                f"preset {self.preset!r} is not one of the family {self.family!r}: "
                f"{', '.join(KNOWN_PRESETS[self.family])}"
            )
        return self


def parse_recipe(text: str, *, path: str | Path) -> Recipe:
    """Parse the text of a recipe.

    Raises:
        SchemaError: not TOML, or keys are unknown, missing or of the wrong type; each is named.
        ConfigError: a family or preset that this version cannot run.
    """
    try:
        plain = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SchemaError(f"not valid TOML: {error}", path=path) from error
    try:
        recipe = Recipe.model_validate(plain)
    except ValidationError as error:
        keys = [".".join(str(part) for part in item["loc"]) or "preset" for item in error.errors()]
        explained = [
            f"{key}: {_explain(item['type'], item['msg'])}" for key, item in zip(keys, error.errors(), strict=True)
        ]
        raise SchemaError("; ".join(explained), path=path, field=", ".join(keys)) from error
    if recipe.preset not in PRESETS.get(recipe.family, ()):
        runs = ", ".join(f"{family}/{preset}" for family, presets in PRESETS.items() for preset in presets)
        raise ConfigError(
            f"this version does not run {recipe.family}/{recipe.preset}",
            path=path,
            field="preset",
            expected=runs,
            found=f"{recipe.family}/{recipe.preset}",
        )
    return recipe


def _explain(kind: str, message: str) -> str:
    return {"extra_forbidden": "unknown key", "missing": "missing key"}.get(kind, message.removeprefix("Value error, "))


def read_recipe(folder: Path) -> Recipe:
    """Read `reasoner.toml` of a model folder."""
    path = folder / RECIPE_NAME
    if not path.is_file():
        raise SchemaError(
            f"the model folder has no {RECIPE_NAME}",
            path=path,
            hint="It says how the model thinks and speaks; `workbench organism export honest --out DIR` has one.",
        )
    return parse_recipe(read_text(path, limit=MAX_RECIPE_BYTES), path=path)
