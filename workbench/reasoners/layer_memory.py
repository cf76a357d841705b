"""Per-layer memory in the layout of MemoryLLM (Wang et al. 2024, arXiv:2402.04624).

What is reproduced of the published code (github.com/wangyu-ustc/MemoryLLM, `modeling_memoryllm.py`):

- The pool holds `[layers, slots, d_model]`. A block sees its own layer's slots before the text, as hidden states that
  give keys and values (norm and rotation applied); what it computes at their positions goes no further.
- An episode is written behind the newest `slots` slots only, read behind the whole pool. The slots it leaves are the
  outputs of every block at its last `slots` positions (if its text is shorter, the memory's last positions count).
- Old slots drawn at random go, the others keep their order, the new ones come last.
- A trained pool to start from, `bos_embedding` (one vector per layer before a memory that is not empty) and
  `new_memory_positional_emb` (added to every block's input at the positions that become slots) lie in
  `memory.safetensors` under these names, if at all.

What is not: an empty pool is not filled with copies of the first episode; the drop is the same in all layers
(`drop_memory_per_layer = false`) and drawn from each problem's own seed; adapters that differ between writing and
reading (`add_decoder_lora`); the retrieved long-term memory of M+ (arXiv:2502.00592).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import ConfigError
from workbench.reasoners.backbones import Backbone, Forward
from workbench.reasoners.hooking import Tap
from workbench.reasoners.memory import MemoryReasoner
from workbench.reasoners.memory_pool import Edited, Pool, TrainedMemory
from workbench.reasoners.recipe import Recipe
from workbench.sites import MEMORY_ADDRESS, Site
from workbench.tasks.base import Problem


@dataclass(frozen=True, slots=True)
class LayerState:
    """Where a batch stands."""

    problems: tuple[Problem, ...]
    seeds: tuple[int, ...]
    pool: Pool
    generators: tuple[np.random.Generator, ...]
    """One per example, for the slots that are dropped."""
    episode: int = 0
    forward: Forward | None = None
    """Of the sequence that reads."""
    hidden: Float[Tensor, "example d_model"] | None = None


class LayerMemoryReasoner(MemoryReasoner):
    """A pool of slots for every layer, into which each episode writes `slots` new ones.

    A thought is one slot, `[layer, d_model]`. Its keys and values are sites too; they are taken when the slot is
    written, and whoever reads the slot later, an episode or the prompt, gets the edited ones.
    """

    def __init__(
        self, backbone: Backbone, recipe: Recipe, trained: TrainedMemory | None = None, *, temperature: float = 0.0
    ) -> None:
        super().__init__(backbone, recipe, temperature=temperature)
        n_layers, d_model, capacity = backbone.n_layers, backbone.d_model, self.memory.capacity
        none = torch.empty(n_layers, 0, d_model, device=backbone.device, dtype=backbone.dtype)
        self.trained = trained or TrainedMemory(none)
        least = max(self.memory.slots, self.trained.slots.shape[1])
        if capacity < least:
            raise ConfigError(
                "the memory holds fewer slots than an episode writes or the checkpoint brings",
                field="memory.capacity", expected=f"at least {least}", found=capacity,
            )  # fmt: skip
        thought = Site("thought", ("layer", "d_model"), (n_layers, d_model), normed=False)
        self._key_sites = [name for name in backbone.sites if name.endswith((".hook_k", ".hook_v"))]
        sites = [thought, *(backbone.sites[name] for name in self._key_sites)]
        self.sites = {site.name: replace(site, address=MEMORY_ADDRESS) for site in sites}

    def n_slots(self, n_episodes: int) -> int:
        """Slots of the pool, and the vector before them."""
        return self._columns(self._n_in_pool(n_episodes))

    def _n_in_pool(self, n_episodes: int) -> int:
        return min(self.memory.capacity, self.trained.slots.shape[1] + n_episodes * self.memory.slots)

    def _columns(self, n_slots: int) -> int:
        return n_slots + (self.trained.bos is not None and n_slots > 0)

    def written_ids(self, problem: Problem, episode: int) -> list[int]:
        """The text of an episode."""
        return self.text_ids(problem, episode)

    def positions_to_write(self, problem: Problem, episode: int) -> int:
        """The newest slots and the text.

        Raises:
            ConfigError: no text, or too little to make slots of.
        """
        before = self._columns(min(self.memory.slots, self._n_in_pool(episode)))
        n_tokens = len(self.written_ids(problem, episode))
        if not n_tokens or before + n_tokens < self.memory.slots:
            raise ConfigError(
                f"episode {episode} of problem {problem.id!r} has fewer tokens than it must leave slots",
                field="writes", expected=f"at least {max(1, self.memory.slots - before)}", found=n_tokens,
            )  # fmt: skip
        return before + n_tokens

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> LayerState:
        """The pool that the checkpoint brings, for every problem."""
        slots = self.trained.slots.transpose(0, 1).expand(len(problems), -1, -1, -1)
        noise = tuple(np.random.default_rng(seed) for seed in seeds)
        return LayerState(tuple(problems), tuple(seeds), Pool(slots), noise)

    def step(self, state: LayerState) -> LayerState:
        """Write one episode behind the newest slots, drop old slots if need be, append the new ones."""
        written = self._write(state.pool.newest(self.memory.slots), *self.padded_episode(state.problems, state.episode))
        pool = self._with_room(state.pool, state.generators)
        fresh = Pool(written[:, :0])
        for new in written.unbind(1):
            self.move_to(self._position(len(written), len(pool) + len(fresh)))
            thought = self.tap("thought", new)
            fresh = fresh.appended(Pool(thought[:, None], self._edited_keys(thought)))
        return replace(state, pool=pool.appended(fresh), episode=state.episode + 1)

    def _write(self, memory: Pool, ids: Tensor, mask: Tensor | None) -> Float[Tensor, "example slot layer d_model"]:
        n, m = len(ids), self._columns(len(memory))
        real = torch.ones(n, m + ids.shape[1], dtype=torch.long, device=self.device)
        if mask is not None:
            real[:, m:] = mask
        left = []

        def keep(vectors: Tensor) -> Tensor:
            left.append(vectors[new].reshape(n, self.memory.slots, -1))
            return vectors

        new = self._become_slots(real)
        taps = self._with_memory(memory, new) | {f"blocks.{layer}.hook_resid_post": keep for layer in self._layers}
        with self.backbone.hooked(taps):
            self.backbone.forward_vectors(self._inputs(n, m, ids), mask=None if mask is None else real)
        return torch.stack(left, 2)

    def _become_slots(self, real: Int[Tensor, "example pos"]) -> Bool[Tensor, "example pos"]:
        """The last positions that are no padding."""
        return real.bool() & (real.flip(1).cumsum(1).flip(1) <= self.memory.slots)

    def _inputs(self, n: int, m: int, ids: Tensor | None) -> Float[Tensor, "example pos d_model"]:
        """Embedded text behind `m` positions of memory, whose vectors come block by block."""
        empty = torch.zeros(n, m, self.backbone.d_model, device=self.device, dtype=self.dtype)
        return empty if ids is None else torch.cat([empty, self.backbone.embed(ids)], 1)

    @property
    def _layers(self) -> range:
        return range(self.backbone.n_layers)

    def _with_memory(self, memory: Pool, new: Bool[Tensor, "example pos"] | None = None) -> dict[str, Tap]:
        """Taps that put each layer's slots at the first positions, and edited keys and values where there are any."""
        columns, first = memory.slots, self._columns(len(memory)) - len(memory)
        if first:
            assert self.trained.bos is not None
            columns = torch.cat([self.trained.bos.expand(len(columns), 1, -1, -1), columns], 1)

        def put(edited: Edited) -> Tap:
            m = first + len(memory)
            return lambda came: torch.cat([came[:, :first], edited.put(came[:, first:m]), came[:, m:]], 1)

        return self._block_inputs(columns, new) | {name: put(edited) for name, edited in memory.edited.items()}

    def _block_inputs(self, columns: Float[Tensor, "example m layer d_model"], new: Tensor | None) -> dict[str, Tap]:
        added = None if self.trained.new is None or new is None else new[..., None] * self.trained.new

        def put(layer: int) -> Tap:
            def through(vectors: Tensor) -> Tensor:
                vectors = torch.cat([columns[:, :, layer], vectors[:, columns.shape[1] :]], 1)
                return vectors if added is None else vectors + added

            return through

        return {f"blocks.{layer}.hook_resid_pre": put(layer) for layer in self._layers}

    def _with_room(self, pool: Pool, generators: Sequence[np.random.Generator]) -> Pool:
        n_kept = min(len(pool), self.memory.capacity - self.memory.slots)
        if n_kept == len(pool):
            return pool
        kept = np.stack([np.sort(one.permutation(len(pool))[:n_kept]) for one in generators])
        return pool.chosen(torch.from_numpy(kept).to(self.device))

    def _edited_keys(self, slot: Float[Tensor, "example layer d_model"]) -> dict[str, Edited]:
        """Let keys and values of a new slot pass; what edits made of them comes back."""
        watched = [name for name in self._key_sites if self.watches(name)]
        edited: dict[str, Edited] = {}

        def note(name: str) -> Callable[[Tensor], Tensor]:
            def through(vectors: Tensor) -> Tensor:
                came = vectors[:, 0]
                passed = self.tap(name, came)
                if passed is not came:
                    changed = (passed != came).flatten(1).any(1, keepdim=True)
                    edited[name] = Edited(passed[:, None], changed)
                return vectors

            return through

        if watched:
            taps = self._block_inputs(slot[:, None], None) | {name: note(name) for name in watched}
            with self.backbone.hooked(taps):
                self.backbone.forward_vectors(torch.zeros_like(slot[:, :1]))
        return edited

    def _position(self, n: int, n_before: int) -> Int[Tensor, " example"]:
        return torch.full((n,), self._columns(n_before + 1) - 1, device=self.device)

    def positions(self, state: LayerState) -> Tensor:
        """Where the next slot would be read, were it the last one."""
        n_kept = min(len(state.pool), self.memory.capacity - self.memory.slots)
        return self._position(len(state.problems), n_kept)

    def turn_to_speak(self, state: LayerState) -> LayerState:
        """Put the whole pool before the sequence that reads, then feed what reads it."""
        inputs = self._inputs(len(state.problems), self._columns(len(state.pool)), None)
        with self.backbone.hooked(self._with_memory(state.pool)):
            forward = self.backbone.forward_vectors(inputs)
        ready: LayerState = super().turn_to_speak(replace(state, forward=forward))
        return ready

    def unembed(
        self,
        vectors: Float[Tensor, "row *layer_and_d_model"],  # noqa: F821
        site: str = "thought",
    ) -> Float[Tensor, "row d_vocab"]:
        """Logit lens on what a slot holds for the last layer, which is what the last block made of its position.

        Vectors may come flat, as a store keeps them.
        """
        last = vectors.reshape(len(vectors), self.backbone.n_layers, self.backbone.d_model)[:, -1]
        return self.backbone.unembed(last, normed=self.reads_normed(site))

    def unembedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """Rows of the model's head."""
        rows: Tensor = self.backbone.model.get_output_embeddings().weight
        return rows.detach()

    @torch.no_grad()
    def lens_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """The lens on the last slot of the first episode."""
        return self.unembed(self.run([problem], read=["thought"])["thought"].at(0, self.memory.slots - 1))[0]

    @torch.no_grad()
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits of the model's own head after the first episode (behind the trained memory, if any)."""
        memory = Pool(self.trained.slots.transpose(0, 1)[None]).newest(self.memory.slots)
        m, ids = self._columns(len(memory)), torch.tensor([self.written_ids(problem, 0)], device=self.device)
        new = self._become_slots(torch.ones(1, m + ids.shape[1], dtype=torch.long, device=self.device))
        plain = m == 0 and self.trained.new is None
        with self.backbone.hooked({} if plain else self._with_memory(memory, new)):
            inputs = {"input_ids": ids} if plain else {"inputs_embeds": self._inputs(1, m, ids)}
            return self.backbone.model(**inputs).logits[0, -1]  # type: ignore[no-any-return]

    def watch(self, sites: Collection[str]) -> AbstractContextManager[None]:
        """Nothing is hooked beforehand: keys and values are tapped as a slot is written."""
        return nullcontext()
