"""`reasoner.toml`: how a folder of weights thinks and speaks."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from workbench.errors import SchemaError
from workbench.jsonio import read_text

RECIPE_NAME = "reasoner.toml"
MAX_RECIPE_BYTES = 1_000_000
MAX_STEPS = 10_000

PRESETS: dict[str, tuple[str, ...]] = {
    "feedback": ("coconut", "codi", "sim-cot", "soft-thinking", "latent-mas"),
    "recurrent": ("recurrent-depth", "huginn", "ouro", "hrm-text"),
    "memory": ("memory-bank", "memory-llm"),
    "tokens": ("cot",),
}
"""Presets by family."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


PLUGIN_GROUP = "neuralese_workbench.reasoners"


def plugins() -> dict[str, EntryPoint]:
    """Presets that installed packages bring along: entry points that name a loader (see `loading.Loader`)."""
    return {point.name: point for point in entry_points(group=PLUGIN_GROUP)}


TokenId = Annotated[int, Field(ge=0)]


class Thinking(_Table):
    """How latent steps are opened, counted and closed."""

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    """Latent steps; of each agent where there are several; the most where thinking may stop early."""
    begin: str = ""
    end: str = ""
    begin_ids: list[TokenId] = []
    """Ids fed after `begin`, for markers that the tokenizer does not know."""
    end_ids: list[TokenId] = []
    """Ids fed before `end`."""
    add_special_tokens: bool = False


class SoftTokens(_Table):
    """How the next-token distribution becomes one soft token (Soft Thinking)."""

    temperature: Annotated[float, Field(gt=0)] = 0.6
    top_k: Annotated[int, Field(ge=1)] = 30
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.001
    max_topk: Annotated[int, Field(ge=1)] = 30
    """Tokens mixed at most; fewer than `top_k` cuts after the other filters and the Dirichlet noise."""
    entropy_below: Annotated[float, Field(ge=0)] = 0.0
    """Thinking stops once the entropy, nats, stays below this ..."""
    entropy_for: Annotated[int, Field(ge=1)] = 256
    """... for so many steps in a row; an `entropy_below` of 0 never stops."""
    noise: Literal["none", "gumbel", "dirichlet"] = "none"
    """Randomness of the mixture, drawn from each problem's own seed."""
    noise_scale: Annotated[float, Field(gt=0)] = 1.0
    """Temperature of the Gumbel noise, or concentration of the Dirichlet noise."""


class Agent(_Table):
    """One of several agents that think in turn and hand their keys and values on."""

    name: Annotated[str, Field(min_length=1)]
    prompt: str
    """What is fed before this agent thinks; `{prompt}` stands for the problem's prompt."""


class Agents(_Table):
    """Agents of a latent multi-agent system; the last one speaks and does not think (LatentMAS)."""

    thinkers: Annotated[list[Agent], Field(min_length=1)]
    speaker: Agent
    realign: bool = False
    """Whether thoughts go through the realignment matrix, or are only rescaled."""


class Memory(_Table):
    """How an episode is written into the memory."""

    slots: Annotated[int, Field(ge=1, le=1024)] = 1
    """Vectors kept of each episode."""
    write: str = "<write>"
    """Marker fed once per slot after the text of an episode (`memory-bank`)."""
    capacity: Annotated[int, Field(ge=1)] = 1024
    """Slots of each layer (`memory-llm`); when full, random ones are dropped, drawn from the problem's seed."""


class Checkpoint(_Table):
    """What a checkpoint does not say of itself."""

    lora_alpha: Annotated[float, Field(gt=0)]
    """LoRA layers are merged as alpha / rank times their product."""


def folded(phrase: str) -> str:
    """A phrase as paraphrases are compared: case and runs of white space do not matter."""
    return " ".join(phrase.split()).casefold()


class Speaking(_Table):
    """How the model is made to speak, and how its said text is read."""

    prefix: str = ""
    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)]
    stop: str = ""
    claims: str
    separator: Annotated[str, Field(min_length=1)] = " "
    answer: str
    same: dict[str, list[Annotated[str, Field(min_length=1)]]] = {}
    """Value -> other ways to say it: claims and answers in these words count as the value (case and runs of white
    space do not matter)."""

    @field_validator("same")
    @classmethod
    def _mean_one_value(cls, same: dict[str, list[str]]) -> dict[str, list[str]]:
        meant: dict[str, str] = {}
        for value, phrases in same.items():
            for phrase in phrases:
                other = meant.setdefault(folded(phrase), value)
                if other != value:
                    raise ValueError(f"{phrase!r} stands for both {other!r} and {value!r}")
                if folded(phrase) in {folded(one) for one in same if one != value}:
                    raise ValueError(f"{phrase!r}, another way to say {value!r}, is a value of its own")
        return same

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
    soft_tokens: SoftTokens | None = None
    agents: Agents | None = None
    memory: Memory | None = None
    checkpoint: Checkpoint | None = None

    @model_validator(mode="after")
    def _preset_belongs_to_family(self) -> Self:
        known = [*PRESETS[self.family], *plugins()]
        if self.preset not in known:
            raise ValueError(f"preset {self.preset!r} is not one of the family {self.family!r}: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _tables_belong_to_preset(self) -> Self:
        for table, presets in TABLES.items():
            given = getattr(self, table) is not None
            if given and self.preset not in presets:
                raise ValueError(f"table [{table}] belongs to {' and '.join(presets)}, not to {self.preset!r}")
            if not given and table in REQUIRED.get(self.preset, ()):
                raise ValueError(f"preset {self.preset!r} needs a table [{table}]")
        return self


TABLES = {
    "soft_tokens": ("soft-thinking",),
    "agents": ("latent-mas",),
    "memory": ("memory-bank", "memory-llm"),
    "checkpoint": ("codi", "sim-cot", "coconut"),
}
"""Tables that only some presets have."""
REQUIRED = {"latent-mas": ("agents",), "memory-bank": ("memory",), "memory-llm": ("memory",)}


def parse_recipe(text: str, *, path: str | Path) -> Recipe:
    """Parse the text of a recipe.

    Raises:
        SchemaError: not TOML, or keys are unknown, missing or of the wrong type; each is named.
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
