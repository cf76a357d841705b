"""What a sealed store promises: `manifest.json` and its root hash."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.errors import CorruptArtifact, HashMismatch, LimitExceeded, SchemaError
from workbench.jsonio import MAX_JSON_BYTES, canonical_json, digest, parse_json
from workbench.store.files import read_bounded

SCHEMA_NAME, SCHEMA_VERSION = "neuralese-store", 1
SCHEMA = f"{SCHEMA_NAME}/{SCHEMA_VERSION}"
MANIFEST_NAME, JOURNAL_NAME, SHARD_FOLDER = "manifest.json", "manifest.sqlite", "shards"

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]


def shard_name(index: int) -> str:
    """Path of a shard inside its store, with forward slashes."""
    return f"{SHARD_FOLDER}/shard-{index:05d}.safetensors"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ShardRecord(_Record):
    """One shard: which file, which bytes, which problems."""

    index: Count
    file: str
    sha256: Digest
    bytes: Count
    first_example: Count
    """Row number, in the whole run, of the first problem of this shard."""
    n_problems: Count
    rows: list[Count]
    """Rows per site, in the order of the sorted site names."""
    n_nonfinite: list[Count]
    """Rows per site that hold a NaN or an infinity."""


class FileRecord(_Record):
    """Hash and size of one file."""

    sha256: Digest
    bytes: Count


class Manifest(_Record):
    """The whole of `manifest.json`; `root` covers all but the file hash of the SQLite index."""

    schema_: str = Field(alias="schema")
    config: dict[str, Any]
    n_nonfinite: Count
    shards: list[ShardRecord]
    problems: list[Digest]
    """Hash of each problem's canonical JSON record, in the order of the run."""
    index: FileRecord
    root: Digest

    @model_validator(mode="after")
    def _whole(self) -> Self:
        first = 0
        for position, shard in enumerate(self.shards):
            if (shard.index, shard.file, shard.first_example) != (position, shard_name(position), first):
                raise ValueError(f"shard {position} does not follow the one before")
            first += shard.n_problems
        if first != len(self.problems):
            raise ValueError(f"shards hold {first} problems, the list has {len(self.problems)}")
        if sum(sum(shard.n_nonfinite) for shard in self.shards) != self.n_nonfinite:
            raise ValueError("n_nonfinite is not the sum over shards")
        return self


def build_manifest(config: dict[str, Any], shards: list[ShardRecord], problems: list[str], index: FileRecord) -> bytes:
    """Canonical bytes of `manifest.json`; a pure function of its arguments."""
    content = {
        "schema": SCHEMA,
        "config": config,
        "n_nonfinite": sum(sum(shard.n_nonfinite) for shard in shards),
        "shards": [shard.model_dump() for shard in shards],
        "problems": problems,
    }
    root = digest(canonical_json(content))
    return canonical_json({**content, "index": index.model_dump(), "root": root})


def load_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json`: strict, canonical, of a known version, with the root it states.

    Raises:
        SchemaError: written by a newer version.
        CorruptArtifact: missing or unreadable.
        HashMismatch: edited (field ``root``).
    """
    path = folder / MANIFEST_NAME
    data = read_bounded(path, folder, MAX_JSON_BYTES)
    if len(data) > MAX_JSON_BYTES:
        raise LimitExceeded("file is too large", path=path, field="size", expected=f"{MAX_JSON_BYTES} bytes")
    try:
        return _parse_manifest(data, path)
    except RecursionError as error:
        raise CorruptArtifact("nested too deeply", path=path) from error
    except UnicodeDecodeError as error:
        raise CorruptArtifact("not UTF-8", path=path, field=f"byte {error.start}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise CorruptArtifact(f"manifest is damaged: {first['msg']}", path=path, field=field) from error
    except SchemaError as error:
        if error.field == "schema":
            raise
        message = f"manifest is damaged: {error.message}"
        raise CorruptArtifact(message, path=path, field=error.field) from error


def _parse_manifest(data: bytes, path: Path) -> Manifest:
    plain = parse_json(data.decode("utf-8"), path=path)
    check_schema(plain.get("schema") if isinstance(plain, dict) else None, path)
    manifest = Manifest.model_validate(plain)
    root = digest(canonical_json({key: value for key, value in plain.items() if key not in ("index", "root")}))
    if root != manifest.root:
        raise HashMismatch("manifest was edited", path=path, field="root", expected=manifest.root, found=root)
    if canonical_json(plain) != data:
        raise HashMismatch("not in canonical form", path=path, expected="the bytes that were written")
    return manifest


def check_schema(found: object, path: Path) -> None:
    """Refuse another kind of file, and a version that is newer than this program."""
    name, _, version = found.partition("/") if isinstance(found, str) else ("", "", "")
    if name != SCHEMA_NAME or not (version.isascii() and version.isdigit()):
        raise CorruptArtifact("not a capture store", path=path, field="schema", expected=SCHEMA, found=repr(found)[:80])
    if version != str(SCHEMA_VERSION):
        raise SchemaError(
            "written by another version of this program",
            path=path,
            field="schema",
            expected=f"at most {SCHEMA}",
            found=found,
            hint="Update neuralese-workbench and run again; the file was left as it is.",
        )


def is_sealed(folder: Path) -> bool:
    """Whether the store was completed."""
    return (folder / MANIFEST_NAME).is_file()
