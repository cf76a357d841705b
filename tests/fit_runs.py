"""Captured runs with planted values, made without a model: small stores for tests of the fit job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workbench.store import SiteRows, StoreWriter

TWIN = {"model": "random twin 0 of sha256:" + "0" * 64}
"""Of the config of a run that stands beside another as its random twin."""
WORDS = ("ash", "birch", "cedar", "elm", "fir", "oak")
SHARD = 32


def planted_problems(n: int, n_steps: int, *, seed: int = 0, n_values: int = 4) -> list[dict]:
    """Problems whose values are independent of their prompts, and of each other from step to step."""
    rng = np.random.default_rng([seed, 0])
    problems = []
    for k in range(n):
        thoughts = [WORDS[v] for v in rng.integers(n_values, size=n_steps)]
        prompt = " ".join(["start", str(k), *rng.choice(["red", "green", "blue"], size=3)])
        problems.append({"id": f"p{k:05d}", "prompt": prompt, "group": f"p{k:05d}", "thoughts": thoughts,
                         "answer": thoughts[-1]})  # fmt: skip
    return problems


def planted_run(
    folder: Path,
    *,
    n: int = 160,
    n_steps: int = 3,
    sites: Sequence[str] = ("thought", "blocks.0.hook_resid_post"),
    empty: Sequence[str] = (),
    d: int = 12,
    strength: float = 3.0,
    seed: int = 0,
    dtype: str = "float32",
    problems: list[dict] | None = None,
    config: dict | None = None,
) -> Path:
    """A sealed store whose vectors at step s hold the value of step s; sites in `empty` hold noise."""
    problems = planted_problems(n, n_steps, seed=seed) if problems is None else problems
    rng = np.random.default_rng([seed, 1])
    means = {site: strength * rng.normal(size=(n_steps, len(WORDS), d)) * (site not in empty) for site in sites}
    settings = {
        "model": "sha256:" + "0" * 64, "seed": seed, "problems": f"planted {seed} {n}",
        "sites": {site: {"dim": d, "dtype": dtype, "axes": ["d_model"]} for site in sites},
        **(config or {}),
    }  # fmt: skip
    n_shards = -(-len(problems) // SHARD)
    with StoreWriter.open(folder, config=settings, n_shards=n_shards) as writer:
        for shard in range(n_shards):
            mine = problems[shard * SHARD : (shard + 1) * SHARD]
            address = np.array(
                [(shard * SHARD + k, step, 0, 0) for k in range(len(mine)) for step in range(n_steps)], dtype=np.int32
            )
            tables = {}
            for site in sites:
                held = np.array([
                    means[site][step, WORDS.index(problem["thoughts"][step] or WORDS[0])]
                    for problem in mine for step in range(n_steps)
                ])  # fmt: skip
                vectors = held + rng.normal(size=held.shape)
                tables[site] = SiteRows(vectors.astype(dtype), address)
            records = [{"problem": p, "role": "problem", "said": "", "n_emitted": 0, "n_steps": n_steps} for p in mine]
            writer.append(shard, tables, records)
        writer.seal()
    return folder
