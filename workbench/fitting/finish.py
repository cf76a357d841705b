"""From the parts of a finished job to its results: one table of cells, one pack of probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from probes import FrozenProbe, save_probes
from probes.correction import max_statistic
from probes.text_files import SavedText, save_texts
from workbench.fitting.grid import Cell, Grid, Source
from workbench.fitting.learned_from import hashes_of
from workbench.fitting.parts import read_part
from workbench.fitting.plan import FitPlan, ProbeKind, layer_of
from workbench.jsonio import digest
from workbench.reports.fit_records import (
    SIGNIFICANT_P,
    CellRecord,
    Confusion,
    Correction,
    CurvePoint,
    FitRecord,
    NearDuplicates,
    ReliabilityBin,
    TextRecord,
)
from workbench.store import RunStore
from workbench.tasks.base import plain_prompt

PACK_NAME, SPEC_NAME = "probes.safetensors", "probes.json"
TEXTS_NAME, TEXTS_SPEC_NAME = "texts.safetensors", "texts.json"

SOLVER = ("C", "converged", "n_iter", "objective", "gradient")
"""What the solver tells of a fit."""

TOLD_OF_A_CELL = (
    "site", "layer", "step", "label", "n_fit", "n", "n_groups", "accuracy", "interval", "shuffled", "corrected_p",
    "input_only", "readable", "C", "converged", "seed",
)  # fmt: skip
"""What the metadata of a probe repeat of the cell that it was scored in."""

Key = tuple[Source, str, int]
Scores = Mapping[str, Any]
"""What one column's part says."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Scores of every unit, by where their vectors come from."""

    scores: Mapping[Key, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path, grid: Grid) -> Parts:
        """All parts of a finished job."""
        found: dict[Key, Mapping[str, Any]] = {}
        for number, unit in enumerate(grid.units):
            found[unit.source, unit.place.site, unit.place.step] = read_part(folder, number).scores
        return cls(found)

    def column(self, source: Source, site: str, step: int, name: str) -> Scores | None:
        """What was measured of a column there; None where nothing was asked."""
        unit = self.scores.get((source, site, step))
        return None if unit is None else unit["columns"].get(name)

    def accuracy(self, source: Source, site: str, step: int, name: str) -> float | None:
        """Accuracy of a column there, as somebody's control; None where it was not asked or is undefined."""
        found = self.column(source, site, step, name)
        return None if found is None or found["read"] is None else found["read"]["accuracy"]

    def texts(self) -> list[TextRecord]:
        """Text probes of all units that have one."""
        found = [unit["text"] for unit in self.scores.values() if unit["text"] is not None]
        return [TextRecord.model_validate(text) for text in found]


def assemble(
    folder: Path, grid: Grid, plan: FitPlan, store: RunStore, *, twin_root: str | None, versions: Mapping[str, str]
) -> tuple[FitRecord, dict[str, bytes]]:
    """The record of a finished job, and its packs by file name."""
    parts = Parts.read(folder, grid)
    corrected, n_corrected = _corrected(parts, grid)
    cells = [
        _cell(parts, cell, kind, plan, corrected.get((cell.place.site, cell.place.step, cell.column)), grid)
        for cell in grid.cells
        for kind in plan.probes
    ]
    model = store.config.get("model")
    learned = np.flatnonzero(grid.known & ~grid.held_out)
    packs = dict(zip((PACK_NAME, SPEC_NAME), save_probes(dict(_named_probes(folder, grid, plan, cells, store))),
                     strict=True))  # fmt: skip
    if texts := _named_texts(folder, grid, store):
        packs |= zip((TEXTS_NAME, TEXTS_SPEC_NAME), save_texts(texts), strict=True)
    record = FitRecord(
        status="complete",
        run_root=store.root,
        probes_root=digest(packs[PACK_NAME] + packs[SPEC_NAME]),
        texts_root=digest(packs[TEXTS_NAME] + packs[TEXTS_SPEC_NAME]) if texts else None,
        model=model if isinstance(model, str) else None,
        twin_root=twin_root,
        versions=dict(versions),
        pack=PACK_NAME,
        plan=plan.model_dump(mode="json"),
        n_cells=len(cells),
        n_undefined=sum(cell.accuracy is None for cell in cells),
        near_duplicates=NearDuplicates(
            n_pairs=grid.near.n_pairs, n_rows=grid.near.n_rows, threshold=grid.near.threshold
        ),
        correction=Correction(method="max-statistic", n_permutations=plan.controls.shuffles, n_cells=n_corrected),
        fit_prompts=hashes_of(plain_prompt(store.problems[k]["problem"]) for k in learned),
        fits=cells,
        text=parts.texts(),
    )
    return record, packs


def _corrected(parts: Parts, grid: Grid) -> tuple[dict[tuple[str, int, str], float], int]:
    """Corrected p-value of each matrix and column, over all that have a score, each counted once."""
    keys = sorted({(cell.place.site, cell.place.step, cell.column) for cell in grid.cells})
    scored = [(key, parts.column("run", *key)) for key in keys]
    known = [(key, np.array(found["shuffles"])) for key, found in scored if found and found["shuffles"] is not None]
    p_values = max_statistic([accuracies for _, accuracies in known])
    return {key: float(p) for (key, _), p in zip(known, p_values, strict=True)}, len(known)


def _cell(parts: Parts, cell: Cell, kind: ProbeKind, plan: FitPlan, corrected: float | None, grid: Grid) -> CellRecord:
    site, step, name = cell.place.site, cell.place.step, cell.column
    found = parts.column("run", site, step, name)
    assert found is not None
    read = found["read"] if kind == "logistic" else found["others"].get(kind)
    because = found["undefined_because"]
    if read is None and because is None:
        because = f"the {kind} probe cannot be fitted to its rows"
    shuffles = None if found["shuffles"] is None else np.array(found["shuffles"])
    controls = {
        "majority": found["majority"],
        "input_only": parts.accuracy("words", "", 0, name),
        "previous_step": parts.accuracy("run", site, step - 1, name) if step else None,
        "position_0": parts.accuracy("run", site, 0, name) if step else None,
        "twin": parts.accuracy("twin", site, step, name),
    }
    accuracy = None if read is None else read["accuracy"]
    shuffled = None if shuffles is None or accuracy is None else float(shuffles[1:].mean())
    return CellRecord(
        site=site, layer=layer_of(site), step=step, label=cell.label, probe=kind,
        undefined_because=because if accuracy is None else None,
        n_fit=(read or found).get("n_fit", found["n_fit"]),
        n=found["n"], n_groups=found["n_groups"], n_classes=len(grid.columns[name].classes),
        accuracy=accuracy, interval=None if read is None else read["interval"],
        shuffled=shuffled,
        shuffled_high=None if shuffles is None else float(np.quantile(shuffles[1:], 0.975)),
        n_shuffles=0 if shuffles is None else len(shuffles) - 1,
        selectivity_p=None if shuffles is None else float((1 + (shuffles[1:] >= shuffles[0]).sum()) / len(shuffles)),
        corrected_p=None if accuracy is None else corrected,
        logit_lens=found["logit_lens"], **controls,
        **_of_the_logistic(found, kind, accuracy, grid.columns[name].classes),
        readable=_readable(read, corrected, shuffled, controls),
        seed=plan.seed,
    )  # fmt: skip


def _readable(
    read: Scores | None, corrected: float | None, shuffled: float | None, controls: Mapping[str, float | None]
) -> bool:
    """Above its controls after correction, and not read as well from the words of the prompt."""
    if read is None or corrected is None or shuffled is None or corrected > SIGNIFICANT_P:
        return False
    low, high = read["interval"]
    return bool(low > max(shuffled, controls["majority"] or 0.0) and high >= (controls["input_only"] or 0.0))


def _of_the_logistic(found: Scores, kind: str, accuracy: float | None, classes: Sequence[str]) -> dict[str, Any]:
    """What is known of the reported probe and not of those that screen beside it."""
    learned = found["learned"] if kind == "logistic" else None
    code = found["code"] if learned is not None else None
    task = found["control_task"] if learned is not None else None
    full = learned is not None
    return {
        "log_loss": found["log_loss"] if full else None,
        "auroc": found["auroc"] if full else None,
        "control_task": task,
        "selectivity": None if task is None or accuracy is None else accuracy - task,
        "mdl_bits": code and code[0],
        "mdl_plain_bits": code and code[1],
        "mdl_compression": code and code[1] / max(code[0], np.finfo(np.float64).tiny),
        "learning_curve": [CurvePoint.model_validate(point) for point in found["curve"]] if full else [],
        "reliability": [ReliabilityBin.model_validate(one) for one in found["reliability"]] if full else [],
        "confusions": [
            Confusion(value=classes[value], read=classes[read], n=n) for value, read, n in found["confusions"]
        ] if full else [],
        **{key: None if learned is None else learned[key] for key in SOLVER},
    }  # fmt: skip


def probe_name(site: str, step: int, label: str, kind: str) -> str:
    """What a probe is called in its pack."""
    plain = f"{site}.step{step:04d}"
    return plain if (label, kind) == ("thought", "logistic") else f"{plain}.{label}.{kind}"


def _named_probes(
    folder: Path, grid: Grid, plan: FitPlan, cells: Sequence[CellRecord], store: RunStore
) -> Iterator[tuple[str, FrozenProbe]]:
    """Probes of all cells with what they were fitted on and how well they read."""
    record_of = {cell.key: cell for cell in cells}
    for number, unit in enumerate(grid.units):
        if not unit.cells:
            continue
        probes = read_part(folder, number).probes
        for cell in unit.cells:
            for kind in plan.probes:
                record = record_of[cell.place.site, cell.place.step, cell.label, kind]
                probe = probes.get(f"{cell.column}/{kind}")
                if probe is not None and record.accuracy is not None:
                    name = probe_name(cell.place.site, cell.place.step, cell.label, kind)
                    yield name, replace(probe, metadata=_metadata(record, cell, plan, store))


def _named_texts(folder: Path, grid: Grid, store: RunStore) -> dict[str, SavedText]:
    """Text probes of all units that have one."""
    found: dict[str, SavedText] = {}
    for number, unit in enumerate(grid.units):
        if unit.cells:
            found |= read_part(folder, number).texts
    origin = {"run_root": store.root, "model": store.config.get("model")}
    return {name: replace(text, metadata={**text.metadata, **origin}) for name, text in found.items()}


def _metadata(record: CellRecord, cell: Cell, plan: FitPlan, store: RunStore) -> dict[str, Any]:
    plain = record.to_plain()
    return {
        **{key: plain[key] for key in TOLD_OF_A_CELL},
        "probe": record.probe,
        "column": cell.column,
        "held_out": plan.held_out,
        "run_root": store.root,
        "model": store.config.get("model"),
    }
