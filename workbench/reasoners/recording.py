"""What one run of a reasoner reads and edits: vectors, their addresses, the step they belong to, and what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.edits import Edit
from workbench.errors import ConfigError, SchemaError
from workbench.sites import Visit
from workbench.traces import Rows


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a batch said."""

    said: tuple[str, ...]
    emitted: tuple[tuple[int, ...], ...]
    first_logits: Float[Tensor, "example d_vocab"]
    n_steps: tuple[int, ...] = ()
    """Steps that each example took; filled in by `run`."""


@dataclass(slots=True)
class Recording:
    """What one `run` reads and edits, and what it has read so far."""

    read: frozenset[str]
    edits: Mapping[str, Edit]
    vectors: dict[str, list[Tensor]]
    address: dict[str, list[Tensor]]
    unused: frozenset[str]
    """Sites that fire after the last step only."""
    examples: tuple[int, ...] = ()
    rows: Tensor | None = None
    """Rows of the batch that the examples are; None for all."""
    pos: Tensor | None = None
    step: int | None = None
    fired: Counter[str] = field(default_factory=Counter)
    sites: frozenset[str] = field(init=False)
    _addresses: Tensor | None = None
    """Of this step's first visit: the same for every site."""

    def __post_init__(self) -> None:
        self.sites = self.read.union(self.edits)

    def keep(self, visit: Visit, vectors: Tensor) -> None:
        """Keep what was read, with its address."""
        if self._addresses is None:
            assert self.pos is not None
            examples = torch.tensor(visit.examples)
            same = torch.zeros_like(examples)
            self._addresses = torch.stack([examples, same + visit.step, same, self.pos.cpu()], 1)
        address = self._addresses
        if visit.visit:
            address = address.clone()
            address[:, 2] = visit.visit
        self.vectors[visit.site].append(vectors.clone())
        self.address[visit.site].append(address)

    def at(self, step: int, places: Sequence[int], going: Tensor | None, pos: Tensor) -> None:
        """Get ready for one step of those examples of a batch that are still going."""
        self.step, self.fired, self._addresses = step, Counter(), None
        if going is None or bool(going.all()):
            self.rows, self.examples, self.pos = None, tuple(places), pos
        else:
            self.rows = going.nonzero()[:, 0].to(pos.device)  # who goes may be counted on the processor
            self.examples, self.pos = tuple(places[row] for row in self.rows.tolist()), pos[self.rows]

    def moved_to(self, pos: Tensor) -> None:
        """Go on at another position of the same step."""
        self.pos, self._addresses = pos, None

    def refuse_silent(self, *, unused: bool) -> None:
        """No site that is read or edited may stay silent."""
        silent = sorted(site for site in self.sites if (site in self.unused) == unused and not self.fired[site])
        if silent:
            raise ConfigError(
                f"site {silent[0]!r} never fired in step {self.step}: nothing was read or edited there",
                field="site",
                hint="Run `workbench check-model` on the folder to see which sites fire.",
            )


def checked(edited: Any, came: Tensor, visit: Visit) -> Tensor:
    """What an edit returned, if it is of the shape and type that it was given."""
    if not isinstance(edited, Tensor) or edited.shape != came.shape or edited.dtype != came.dtype:
        found = f"{tuple(edited.shape)} {edited.dtype}" if isinstance(edited, Tensor) else type(edited).__name__
        raise SchemaError(
            f"edit of {visit.site} at step {visit.step} returned another shape or type than it was given",
            field=visit.site,
            expected=f"{tuple(came.shape)} {came.dtype}",
            found=found,
        )
    return edited


def in_order(vectors: list[Tensor], address: list[Tensor], shape: tuple[int, ...]) -> Rows:
    """Rows of one site in the order of their addresses."""
    if not vectors:
        return Rows(torch.empty(0, *shape), torch.empty(0, 4, dtype=torch.long))
    joined = torch.cat(address)
    order = sorted(range(len(joined)), key=joined.tolist().__getitem__)
    return Rows(torch.cat(vectors)[order], joined[order])


def batches(kinds: Sequence[tuple[int, int]], batch_size: int) -> Iterator[list[int]]:
    """Places of problems that run together: of one kind, in the order given."""
    for kind in sorted(set(kinds)):
        places = iter([i for i, other in enumerate(kinds) if other == kind])
        while batch := list(islice(places, batch_size)):
            yield batch
