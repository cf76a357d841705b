"""Pickled weights into safetensors: a separate, isolated process reads them, and a whole folder is written or none."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench import errors
from workbench.errors import ConfigError, CorruptArtifact, LimitExceeded, SchemaError, UntrustedFormat, WorkbenchError
from workbench.interrupts import StopFlag, stop_on_signal
from workbench.jsonio import canonical_json, read_json
from workbench.reasoners.folders import (
    ADAPTER,
    FINGERPRINTED,
    PICKLE_STARTS,
    PICKLED,
    WEIGHTS,
    WEIGHTS_INDEX,
)

GIB = 1 << 30
PICKLED_WEIGHTS = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
NOT_WEIGHTS = ("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*", "scaler.*")
"""What training loops leave beside the weights."""
COPIED = tuple(pattern for pattern in FINGERPRINTED if "safetensors" not in pattern and not pattern.endswith(".py"))
WORKER = Path(__file__).with_name("convert_worker.py")
POLL_SECONDS = 0.05
ERRORS = ("UntrustedFormat", "CorruptArtifact", "LimitExceeded", "SchemaError")
HINTS = {
    "UntrustedFormat": "Nothing of it was run. Ask its authors for weights alone, or for safetensors.",
    "LimitExceeded": "Give a larger --memory-limit if you trust the file.",
}
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

Report = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process that reads a pickle may use, for each file."""

    memory_gib: float | None = None
    """None: twice the largest file and one more."""
    seconds: float = 1800.0

    def __post_init__(self) -> None:
        for name, value in (("memory-limit", self.memory_gib), ("time-limit", self.seconds)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError("not a limit", field=name, expected="a number above 0", found=value)

    def memory(self, largest: int) -> int:
        """Bytes, for files of which the largest has so many."""
        return 2 * largest + GIB if self.memory_gib is None else int(self.memory_gib * GIB)


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written."""

    out: str
    sources: tuple[str, ...]
    n_tensors: int
    copied: tuple[str, ...]
    """Configuration, tokenizer and recipe that lay beside the weights."""
    left_out: tuple[str, ...]
    """What else the files held beside the weights: names only."""

    def to_plain(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def convert(source: Path, out: Path, *, limits: Limits | None = None, report: Report = lambda *_: None) -> Converted:
    """Write a model folder whose weights are the safetensors of a pickled checkpoint.

    Args:
        source: a folder with pickled weights, in one file or several, or one such file.
        out: new or empty folder.
        limits: what the reading process may use.
        report: progress, in files.

    Raises:
        ConfigError: `out` is not empty.
        SchemaError: `source` has no pickled weights, or several that may be meant.
        UntrustedFormat: the files hold more than tensors.
        CorruptArtifact: a file is cut off.
        LimitExceeded: memory, time or file size ran out.
        Interrupted: someone asked to stop; nothing was written.
    """
    limits = limits or Limits()
    files = pickled_files(source)
    beside = source if source.is_dir() else source.parent
    _refuse_large(files, limits)
    out = out.absolute()
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ConfigError("the folder to write is not empty", path=out, field="out", hint="Name a new one.")
    home = next(folder for folder in out.parents if folder.is_dir())
    with (
        stop_on_signal() as flag,
        tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=home, ignore_cleanup_errors=True) as scratch,
    ):
        done = Path(scratch) / out.name
        done.mkdir()
        answers = []
        report("convert", 0, len(files))
        for k, file in enumerate(files):
            answers.append(_run_worker(file, done / _shard_name(k, len(files)), limits, files, flag))
            report("convert", k + 1, len(files))
        if len(files) > 1:
            _write_index(done)
        copied = _copy_beside(beside, done)
        flag.check(hint="Nothing was written; run the same command again.")
        out.parent.mkdir(parents=True, exist_ok=True)
        done.replace(out)
    left_out = sorted({name for answer in answers for name in answer["left_out"]})
    n_tensors = sum(answer["n_tensors"] for answer in answers)
    return Converted(str(out), tuple(str(file) for file in files), n_tensors, copied, tuple(left_out))


def pickled_files(source: Path) -> list[Path]:
    """The files of pickled weights that are meant.

    Raises:
        SchemaError: there are none, or several that may be meant.
        UntrustedFormat: an index that points out of its folder, or a PEFT adapter.
    """
    if source.is_file():
        return [_pickle(source)]
    if not source.is_dir():
        raise SchemaError("no such file or folder", path=source)
    if (source / ADAPTER).exists():
        raise UntrustedFormat(
            "an adapter names weights that lie elsewhere", path=source / ADAPTER,
            hint="Merge it into its model first: model.merge_and_unload().save_pretrained(DIR).",
        )  # fmt: skip
    if (source / PICKLED_INDEX).is_file():
        return _indexed(source / PICKLED_INDEX)
    if (source / PICKLED_WEIGHTS).is_file():
        return [_pickle(source / PICKLED_WEIGHTS)]
    found = sorted(
        path
        for path in {path for pattern in PICKLED for path in source.glob(pattern)}
        if path.is_file() and not any(path.match(pattern) for pattern in NOT_WEIGHTS)
    )
    if len(found) == 1:
        return [_pickle(found[0])]
    there = ", ".join(path.name for path in found[:5]) or "none"
    raise SchemaError(
        "the folder has several files of pickled weights" if found else "the folder has no pickled weights",
        path=source, expected=f"{PICKLED_WEIGHTS}, its index, or one of {', '.join(PICKLED)}", found=there,
        hint="Give the file itself.",
    )  # fmt: skip


def _indexed(index: Path) -> list[Path]:
    plain = read_json(index)
    places = plain.get("weight_map") if isinstance(plain, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise SchemaError("names no files of weights", path=index, field="weight_map")
    names = sorted(set(places.values()))
    for name in names:
        if Path(name).name != name:
            raise UntrustedFormat("weights must lie in the folder", path=index, field="weight_map", found=name)
        if not (index.parent / name).is_file():
            raise SchemaError("a file of weights is missing", path=index.parent / name)
    return [_pickle(index.parent / name) for name in names]


def _pickle(path: Path) -> Path:
    with path.open("rb") as stream:
        start = stream.read(9)
    if start[8:9] == b"{":
        raise SchemaError("these weights are safetensors already", path=path, hint="Load the folder as it is.")
    if not start.startswith(PICKLE_STARTS):
        raise CorruptArtifact("neither a pickle nor a file of torch.save", path=path)
    return path


def _refuse_large(files: list[Path], limits: Limits) -> None:
    for file in files:
        size, memory = file.stat().st_size, limits.memory(max(f.stat().st_size for f in files))
        if size > memory:
            raise LimitExceeded(
                "the file is larger than the memory limit", path=file, field="memory-limit",
                expected=f"at least {size / GIB:.3g} GiB", found=f"{memory / GIB:.3g} GiB",
            )  # fmt: skip


def _shard_name(k: int, n: int) -> str:
    return WEIGHTS if n == 1 else f"model-{k + 1:05d}-of-{n:05d}.safetensors"


def _run_worker(file: Path, target: Path, limits: Limits, files: list[Path], flag: StopFlag) -> dict[str, Any]:
    """Let a separate process read one file; whatever happens to it, it is gone when this returns."""
    memory = limits.memory(max(f.stat().st_size for f in files))
    # -I: neither the current folder nor PYTHON* variables decide what is imported.
    command = [sys.executable, "-I", str(WORKER), str(file.absolute()), str(target)]
    command += [str(memory), str(math.ceil(limits.seconds))]
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL, env=environment,
            cwd=target.parent, start_new_session=True,
        )  # fmt: skip
        try:
            _wait(worker, file, limits.seconds, flag)
        finally:
            worker.kill()
            worker.wait()
        said.seek(0)
        return _answer(file, worker.returncode, said.read(1 << 20))


def _wait(worker: subprocess.Popen[bytes], file: Path, seconds: float, flag: StopFlag) -> None:
    deadline = time.monotonic() + seconds
    while worker.poll() is None:
        flag.check(hint="Nothing was written; run the same command again.")
        if time.monotonic() > deadline:
            raise LimitExceeded(
                "reading took longer than allowed", path=file, field="time-limit", expected=f"{seconds:g} s",
                hint="Give a larger --time-limit if you trust the file.",
            )  # fmt: skip
        time.sleep(POLL_SECONDS)


def _answer(file: Path, code: int, said: bytes) -> dict[str, Any]:
    """What the process said, or the error that its end amounts to."""
    try:
        answer = json.loads(said)
    except ValueError:
        answer = None
    if code == 0 and isinstance(answer, dict):
        if "error" not in answer:
            return answer
        kind: type[WorkbenchError] = getattr(errors, answer["error"]) if answer["error"] in ERRORS else CorruptArtifact
        raise kind(str(answer["message"]), path=file, field=answer.get("field"), hint=HINTS.get(answer["error"]))
    raise CorruptArtifact(
        "the process that read the file ended without an answer", path=file, found=f"exit code {code}",
        hint="The file is damaged, or needs a larger --memory-limit.",
    )  # fmt: skip


def _write_index(folder: Path) -> None:
    """Say which shard holds which weight."""
    from safetensors import safe_open

    places: dict[str, str] = {}
    size = 0
    for shard in sorted(folder.glob("*.safetensors")):
        size += shard.stat().st_size
        with safe_open(shard, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118  # not a mapping
                if key in places:
                    raise SchemaError(f"a weight lies in two files, {places[key]} and {shard.name}", field=key)
                places[key] = shard.name
    (folder / WEIGHTS_INDEX).write_bytes(canonical_json({"metadata": {"total_size": size}, "weight_map": places}))


def _copy_beside(source: Path, out: Path) -> tuple[str, ...]:
    """Copy configuration, tokenizer and recipe; code is never copied."""
    found = {path for pattern in COPIED for path in source.glob(pattern) if path.is_file() and path.suffix != ".py"}
    for path in found:
        shutil.copyfile(path, out / path.name)
    return tuple(sorted(path.name for path in found))
