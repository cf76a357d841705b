"""Read a sealed store; no row is returned whose bytes were not checked against the manifest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from workbench.errors import (
    ConfigError,
    CorruptArtifact,
    HashMismatch,
    SchemaError,
    UnknownSiteError,
    UntrustedFormat,
)
from workbench.jsonio import canonical_json, parse_json
from workbench.store.files import read_bytes_checked
from workbench.store.journal import committed_of, read_image
from workbench.store.manifest import JOURNAL_NAME, Manifest, ShardRecord, is_sealed, load_manifest
from workbench.store.selection import Selection, SiteInfo, selection_of
from workbench.store.tables import SiteRows, SiteSpec, decode_shard, site_specs

CACHE_BYTES = 256 * 1024 * 1024


@final
class RunStore:
    """A sealed store.

    Opening checks the manifest, its root, the problem records and the size of every shard; a shard's
    hash is checked whenever its bytes are read, on those very bytes.

    Args:
        path: the folder.
        cache_bytes: how many bytes of checked shards `select` may keep in memory.

    Attributes:
        config: as the capture gave it.
        root: hash over config, shards and problems.
        problems: the record of each problem, in the order of the run.
        sites: what is stored of each site.
        n_nonfinite: rows with a NaN or an infinity, over all sites.

    Raises:
        CorruptArtifact: not a sealed store, or a file missing or of another size.
        HashMismatch: a file was edited.
        SchemaError: written by a newer version.
    """

    def __init__(self, path: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = path.resolve()
        if not is_sealed(self.path):
            raise _not_sealed(path)
        self.manifest = load_manifest(self.path)
        self.config = self.manifest.config
        self.root = self.manifest.root
        self.n_nonfinite = self.manifest.n_nonfinite
        self._specs = _specs_of(self.manifest, self.path)
        self.sites: Mapping[str, SiteInfo] = MappingProxyType(
            {spec.name: self._info(n, spec) for n, spec in enumerate(self._specs)}
        )
        self.problems = self._read_problems()
        self._check_sizes()
        self._cache: OrderedDict[int, list[SiteRows]] = OrderedDict()
        self._cache_left = cache_bytes

    def _info(self, n: int, spec: SiteSpec) -> SiteInfo:
        rows = sum(shard.rows[n] for shard in self.manifest.shards)
        nonfinite = sum(shard.n_nonfinite[n] for shard in self.manifest.shards)
        return SiteInfo(spec.name, spec.dim, spec.dtype, spec.axes, rows, nonfinite)

    def _read_problems(self) -> list[dict[str, Any]]:
        """The problem records, after every row of the index was compared with the manifest."""
        path = self.path / JOURNAL_NAME
        data = read_bytes_checked(path, self.path, self.manifest.index.sha256, self.manifest.index.bytes)
        config, n_shards, shards, problems = read_image(data, path)
        records = [
            shard.record(listed.first_example) for shard, listed in zip(shards, self.manifest.shards, strict=False)
        ]
        if config != canonical_json(self.config) or n_shards != len(shards) or records != self.manifest.shards:
            raise HashMismatch("index and manifest disagree about the shards", path=path, field="shards")
        places = [(problem.shard, problem.position) for problem in problems]
        listed_places = [(s.index, position) for s in self.manifest.shards for position in range(s.n_problems)]
        hashes = [problem.sha256 for problem in problems]
        if hashes != self.manifest.problems or places != listed_places:
            raise HashMismatch("index and manifest disagree about the problems", path=path, field="problems")
        return [parse_json(problem.record, path=path, field=f"problem {n}") for n, problem in enumerate(problems)]

    def _check_sizes(self) -> None:
        for shard in self.manifest.shards:
            path = self.path / shard.file
            if path.is_symlink():
                raise UntrustedFormat("a symbolic link stands in place of this file", path=path)
            if not path.is_file():
                raise CorruptArtifact(
                    f"shard {shard.index} is missing", path=path, expected="the file that was written"
                )
            if path.stat().st_size != shard.bytes:
                # Reads and names the defect; a file of another size cannot pass.
                read_bytes_checked(path, self.path, shard.sha256, shard.bytes)

    def select(
        self,
        site: str,
        *,
        step: int | None = None,
        visit: int | None = None,
        examples: NDArray[Any] | None = None,
    ) -> Selection:
        """The rows of a site, optionally of one step, one visit, or some problems only.

        Args:
            site: a name of `sites`.
            step: keep this step.
            visit: keep this visit.
            examples: keep these row numbers of problems (integers, any order; each counts once).

        Raises:
            UnknownSiteError: the store has no such site.
            ConfigError: `examples` are not row numbers of this run.
        """
        n = self._place_of(site)
        wanted = None if examples is None else self._wanted(examples)
        parts = []
        for shard in self.manifest.shards:
            last = shard.first_example + shard.n_problems
            if wanted is not None and not wanted[shard.first_example : last].any():
                continue
            rows = self._cached(shard)[n]
            keep = np.ones(len(rows.address), dtype=bool)
            for column, value in ((1, step), (2, visit)):
                if value is not None:
                    keep &= rows.address[:, column] == value
            if wanted is not None:
                keep &= wanted[rows.address[:, 0]]
            parts.append((rows.vectors[keep], rows.address[keep]))
        spec = self._specs[n]
        vectors = [part[0] for part in parts] or [np.empty((0, spec.dim), dtype=spec.dtype)]
        address = [part[1] for part in parts] or [np.empty((0, 4), dtype=np.int32)]
        return selection_of(np.concatenate(vectors), np.concatenate(address))

    def blocks(self, site: str) -> Iterator[Selection]:
        """The rows of a site shard by shard, in order; memory is bounded by one shard."""
        n = self._place_of(site)
        for shard in self.manifest.shards:
            rows = self.read_shard(shard)[n]
            yield selection_of(rows.vectors, rows.address)

    def read_shard(self, shard: ShardRecord) -> list[SiteRows]:
        """The rows of every site of a shard, in the order of the sorted names, from checked bytes."""
        path = self.path / shard.file
        data = read_bytes_checked(path, self.path, shard.sha256, shard.bytes)
        tables = decode_shard(data, self._specs, shard.rows, path)
        for spec, rows in zip(self._specs, tables, strict=True):
            example = rows.address[:, 0]
            if (
                len(example)
                and not shard.first_example <= example[0] <= example[-1] < shard.first_example + shard.n_problems
            ):
                raise SchemaError("rows belong to problems of other shards", path=path, field=f"{spec.name}.address")
        return tables

    def _cached(self, shard: ShardRecord) -> list[SiteRows]:
        if shard.index in self._cache:
            self._cache.move_to_end(shard.index)
            return self._cache[shard.index]
        tables = self.read_shard(shard)
        self._cache[shard.index] = tables
        self._cache_left -= shard.bytes
        while self._cache_left < 0 and self._cache:
            oldest, _ = self._cache.popitem(last=False)
            self._cache_left += self.manifest.shards[oldest].bytes
        return tables

    def _place_of(self, site: str) -> int:
        for n, spec in enumerate(self._specs):
            if spec.name == site:
                return n
        raise UnknownSiteError(
            f"no site {site!r} in this store",
            path=self.path,
            expected=", ".join(spec.name for spec in self._specs),
        )

    def _wanted(self, examples: NDArray[Any]) -> NDArray[np.bool_]:
        rows = np.asarray(examples)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise ConfigError(
                "not row numbers",
                field="examples",
                expected="integers [n]",
                found=f"{rows.dtype} {rows.shape}",
            )
        total = len(self.problems)
        if rows.size and not 0 <= rows.min() <= rows.max() < total:
            raise ConfigError(
                "no such problem",
                field="examples",
                expected=f"0 to {total - 1}",
                found=f"{rows.min()} to {rows.max()}",
            )
        wanted = np.zeros(total, dtype=bool)
        wanted[rows] = True
        return wanted


def _specs_of(manifest: Manifest, path: Path) -> tuple[SiteSpec, ...]:
    try:
        specs = site_specs(manifest.config)
    except ConfigError as error:
        raise CorruptArtifact(f"config has no usable sites: {error.message}", path=path, field=error.field) from error
    for shard in manifest.shards:
        if len(shard.rows) != len(specs) or len(shard.n_nonfinite) != len(specs):
            raise CorruptArtifact(
                "shard has other sites than the config", path=path, field=f"shards.{shard.index}.rows"
            )
    return specs


def _not_sealed(path: Path) -> CorruptArtifact:
    if not path.is_dir():
        return CorruptArtifact("no such store", path=path, hint="Check the path.")
    counts = committed_of(path)
    if counts is None:
        return CorruptArtifact("not a capture store", path=path, expected="a folder that workbench capture wrote")
    return CorruptArtifact(
        f"the capture is not finished: {counts[0]} of {counts[1]} shards are stored",
        path=path,
        hint="Run the same capture command again; it goes on where it stopped.",
    )
