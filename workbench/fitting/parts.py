"""What one unit leaves behind: scores as JSON and probes as arrays, so that a killed job loses no finished unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes import FrozenProbe, load_probes, save_probes, share_by_group
from probes.errors import ProbeFileError
from probes.questions import Answer, Bin, Reading
from probes.text_files import SavedText, load_texts, save_texts
from workbench.errors import CorruptArtifact
from workbench.fitting.grid import Grid, Unit
from workbench.fitting.texts import FittedText
from workbench.jsonio import canonical_json, digest, read_json
from workbench.store import write_file

ENDS = (".safetensors", ".probes.json", ".texts.safetensors", ".texts.json")

KIND_OF = {"logistic": "multinomial-logistic"}
"""Kinds of a plan as probe files call them, where the names differ."""


@dataclass(frozen=True, slots=True)
class Part:
    """One finished unit, as it travels and as it is kept."""

    scores: dict[str, Any]
    """Plain values: column -> what was measured."""
    files: Mapping[str, bytes]
    """What ends with `ENDS`: packs of probes and of text probes."""

    def write(self, folder: Path, number: int) -> None:
        """Keep it durably; the scores come last, so that a part with scores is whole."""
        for end, data in self.files.items():
            write_file(folder / f"{number:05d}{end}", data)
        scores = {**self.scores, "files": {end: digest(data) for end, data in self.files.items()}}
        write_file(folder / f"{number:05d}.json", canonical_json(scores))


def part_done(folder: Path, number: int) -> bool:
    """Whether this unit is finished; a part that a kill left incomplete is done again."""
    return (folder / f"{number:05d}.json").is_file()


@dataclass(frozen=True, slots=True)
class Finished:
    """A part as it was kept."""

    scores: dict[str, Any]
    probes: dict[str, FrozenProbe]
    texts: dict[str, SavedText]


def read_part(folder: Path, number: int) -> Finished:
    """A finished unit.

    Raises:
        CorruptArtifact: its files are not what was written.
    """
    path = folder / f"{number:05d}.json"
    scores = read_json(path)
    try:
        found = [(folder / f"{number:05d}{end}").read_bytes() for end in ENDS]
        if dict(zip(ENDS, map(digest, found), strict=True)) != scores["files"]:
            raise ProbeFileError("the probes are not those that the scores were written with")
        return Finished(scores, load_probes(*found[:2]), load_texts(*found[2:]))
    except (ProbeFileError, FileNotFoundError, TypeError, KeyError) as error:
        raise CorruptArtifact(
            f"a part of the job is damaged: {error}", path=path, hint="Delete this file and run again."
        ) from error


def part_of(
    unit: Unit,
    answers: Sequence[Answer],
    others: Mapping[str, Mapping[str, Reading]],
    grid: Grid,
    text: FittedText | None = None,
    lenses: Mapping[str, float | None] | None = None,
) -> Part:
    """The part of a unit from what was answered."""
    where = {"source": unit.source, "site": unit.place.site, "step": unit.place.step}
    scores = {**where, "text": None if text is None else text.record}
    probes: dict[str, FrozenProbe] = {}
    columns: dict[str, Any] = {}
    for answer in answers:
        classes = grid.columns[answer.name].classes
        readings = others.get(answer.name, {}) if answer.undefined_because is None else {}
        columns[answer.name] = _plain(answer, readings)
        columns[answer.name]["logit_lens"] = (lenses or {}).get(answer.name)
        if answer.learned is not None:
            learned = answer.learned
            probes[f"{answer.name}/logistic"] = FrozenProbe(
                KIND_OF["logistic"], tuple(classes[k] for k in learned.classes), learned.coef, learned.intercept
            )
        for kind, reading in readings.items():
            probes[f"{answer.name}/{kind}"] = FrozenProbe(
                kind, tuple(classes[k] for k in reading.classes), reading.coef, reading.intercept
            )
    saved = {} if text is None or text.saved is None else {text_name(unit.place.site, unit.place.step): text.saved}
    files = dict(zip(ENDS, (*save_probes(probes), *save_texts(saved)), strict=True))
    return Part({**scores, "columns": columns}, files)


def text_name(site: str, step: int) -> str:
    """What the text probe of a matrix is called in its pack."""
    return f"{site}.step{step:04d}"


def _plain(answer: Answer, others: Mapping[str, Reading]) -> dict[str, Any]:
    learned, code, groups = answer.learned, answer.code, answer.groups
    return {
        "undefined_because": answer.undefined_because,
        "n_fit": answer.n_fit,
        "n": len(groups),
        "n_groups": len(np.unique(groups)),
        "read": None if answer.right is None else _share(answer.right, groups),
        "others": {kind: {"n_fit": one.n_fit, **_share(one.right, groups)} for kind, one in others.items()},
        "log_loss": answer.log_loss,
        "auroc": answer.auroc,
        "n_unseen": answer.n_unseen,
        "majority": answer.majority,
        "shuffles": None if answer.shuffles is None else answer.shuffles.tolist(),
        "control_task": answer.control_task,
        "code": None if code is None else [code.bits, code.plain_bits],
        "curve": [{"n_fit": point.n_fit, **_share(point.right, groups)} for point in answer.curve],
        "reliability": [_bin(one) for one in answer.reliability],
        "confusions": [list(confusion) for confusion in answer.confusions],
        "learned": None if learned is None else {
            "C": learned.C, "n_iter": learned.n_iter, "converged": learned.converged,
            "objective": learned.objective, "gradient": learned.gradient, "sharpness": answer.sharpness,
            "penalty": answer.penalty,
        },
    }  # fmt: skip


def _bin(one: Bin) -> dict[str, Any]:
    share = _share(one.right, one.groups)
    return {
        "low": one.low, "high": one.high, "confidence": min(one.confidence, 1.0),
        "right": share["accuracy"], "interval": share["interval"], "n": len(one.right),
    }  # fmt: skip


def _share(right: NDArray[np.bool_], groups: NDArray[np.intp]) -> dict[str, Any]:
    interval = share_by_group(right, groups)
    return {"accuracy": float(right.mean()), "interval": [interval.low, interval.high]}
