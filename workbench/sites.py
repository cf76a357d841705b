"""Named places where vectors are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from workbench.errors import UnknownSiteError

ADDRESS = ("example", "step", "visit", "pos")
"""Columns of an address."""
MEMORY_ADDRESS = ("example", "episode", "slot", "pos")
"""The same columns where vectors are written into a memory: a step is an episode, a visit one of its slots."""
AXES = ("example", "step", "visit", "pos", "layer", "head", "slot", "d_model", "d_head", "d_vocab")


@dataclass(frozen=True, slots=True)
class Site:
    """A place in TransformerLens spelling, and the shape of what passes there at one visit."""

    name: str
    axes: tuple[str, ...]
    """Names of the axes after `example`, in the order of the tensor."""
    shape: tuple[int, ...]
    """Sizes of those axes."""
    normed: bool | None = None
    """Whether the final norm has been applied already; None where the model's head reads no such vector."""
    unused: bool = False
    """Fires once, after the last step, with a vector that was computed and not put back."""
    derived: bool = False
    """Computed for reading only: nothing goes on from it, so that an edit there is refused."""
    address: tuple[str, ...] = ADDRESS
    """What the columns of an address are called here."""

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.shape) or not set(self.axes) <= set(AXES):
            raise ValueError(f"site {self.name}: axes {self.axes} do not fit shape {self.shape}")

    @property
    def size(self) -> int:
        """Numbers in one vector of this site, all axes flattened."""
        product = 1
        for length in self.shape:
            product *= length
        return product


@dataclass(frozen=True, slots=True)
class Visit:
    """One firing of a site."""

    site: str
    step: int
    """Latent step, from 0; of a memory, the episode."""
    visit: int
    """How often the site fired in this step before, from 0; of a memory, the slot within the episode."""
    examples: tuple[int, ...]
    """Which problems the rows of the tensor belong to: places in the list given to `run`."""


def thought_sites(sites: Iterable[str]) -> list[str]:
    """The thought, and what it was made of."""
    return [name for name in sites if name == "thought" or name.startswith("thought.")]


def channel_sites(sites: Iterable[str]) -> list[str]:
    """Keys and values: what passes beside the thought."""
    return [name for name in sites if name.endswith((".attn.hook_k", ".attn.hook_v"))]


def channel_gap(sites: Mapping[str, Site]) -> str | None:
    """Why not all that passes beside the thought can be edited; None where every block has keys and values.

    A model that attends keeps something of every position: where no site of it is known, it passes all the same.
    Blocks are counted by their inputs, or by the layers of a thought that has one vector for each.
    """
    complete = {name.removesuffix("k") for name in channel_sites(sites) if name.removesuffix("k") + "v" in sites}
    if not complete:
        return "keys and values of this model cannot be reached, so what passes beside its thoughts cannot be edited"
    layers = [site.shape[site.axes.index("layer")] for site in sites.values() if "layer" in site.axes]
    n_blocks = max(sum(name.endswith(".hook_resid_pre") for name in sites), *layers, 0)
    if len(complete) < n_blocks:
        return (
            f"keys and values of {n_blocks - len(complete)} of {n_blocks} blocks cannot be reached, so what passes "
            "there beside the thoughts cannot be edited"
        )
    return None


def choose_sites(patterns: Iterable[str], sites: Mapping[str, Site]) -> list[str]:
    """Names of the sites that match any of the patterns (`*` and `?` as in file names), in the reasoner's order.

    Raises:
        UnknownSiteError: a pattern matches nothing; an empty capture is never silent.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in sites if fnmatchcase(name, pattern)}
        if not matches:
            raise UnknownSiteError(
                f"no site {pattern!r}; this reasoner has {', '.join(sites)}", field="sites", found=pattern
            )
        chosen |= matches
    return [name for name in sites if name in chosen]
