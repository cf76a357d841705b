"""What one run of a reasoner gave: vectors with their addresses, and what was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import UnknownSiteError


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors of one site, one row per visit, in the order of their addresses."""

    vectors: Float[Tensor, "row ..."]
    address: Int[Tensor, "row 4"]
    """Columns: example, step, visit, pos; of a memory, example, episode, slot, pos (`Site.address`)."""

    def at(self, step: int, visit: int = 0) -> Float[Tensor, "example ..."]:
        """Vectors of one step and visit (of a memory: one episode and slot), in the order of their examples."""
        keep = (self.address[:, 1] == step) & (self.address[:, 2] == visit)
        return self.vectors[keep]

    def by_visit(self) -> dict[tuple[int, int], Float[Tensor, "example ..."]]:
        """(step, visit) -> vectors, in the order of the examples that have it."""
        pairs = sorted({(step, visit) for step, visit in self.address[:, 1:3].tolist()})
        return {pair: self.at(*pair) for pair in pairs}


@dataclass(frozen=True, slots=True)
class Trace:
    """One run over a list of problems; row `i` of everything belongs to problem `i`."""

    rows: Mapping[str, Rows]
    said: tuple[str, ...]
    """Said text: the decoded prefix and what the model then emitted, without the trailing stop."""
    emitted: tuple[tuple[int, ...], ...]
    """Token ids that the model emitted after the prefix, the stop included."""
    n_steps: tuple[int, ...]
    agents: tuple[tuple[str, ...], ...]
    """Who thinks at each step of each problem; empty where there is but one."""
    first_logits: Float[Tensor, "example d_vocab"]
    """Next-token logits after the thoughts, the end marker and the prefix."""

    def __getitem__(self, site: str) -> Rows:
        """Rows of one site that was read."""
        if site not in self.rows:
            known = ", ".join(self.rows) or "nothing"
            raise UnknownSiteError(f"site {site!r} was not read in this run; it read {known}", field="read")
        return self.rows[site]
