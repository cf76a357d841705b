"""The record of a fit: what `fit.json` holds, and nothing that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from workbench.jsonio import read_json
from workbench.reports.fields import FileRecord, Record, Share
from workbench.reports.fit_cells import (
    SIGNIFICANT_P,
    CellKey,
    CellRecord,
    Confusion,
    Count,
    CurvePoint,
    ReliabilityBin,
    Standing,
    TextRecord,
)  # fmt: skip
from workbench.reports.reading import parse_record

__all__ = [
    "FIT_NAME", "FIT_SCHEMA", "SIGNIFICANT_P", "CellKey", "CellRecord", "Confusion", "Correction", "CurvePoint",
    "FitRecord", "NearDuplicates", "ReliabilityBin", "Standing", "TextRecord", "parse_fit", "read_fit",
]  # fmt: skip

FIT_SCHEMA = "neuralese-fit/2"
FIT_NAME = "fit.json"


class NearDuplicates(Record):
    """Prompts of the two sides of the split that are nearly the same text."""

    n_pairs: Count
    n_rows: Count
    threshold: Share


class Correction(Record):
    """How p-values were corrected for the size of the grid."""

    method: str
    n_permutations: Annotated[int, Field(ge=1)]
    n_cells: Count


class FitRecord(FileRecord):
    """A finished (or partial) fit."""

    schema_: Literal["neuralese-fit/2"] = Field(default="neuralese-fit/2", alias="schema")
    status: Literal["complete", "partial"]
    run_root: str
    """Hash of the capture store that every number was computed from."""
    probes_root: str
    """Hash of the fitted probes."""
    texts_root: str | None = None
    """Hash of the text probes, where there are any."""
    model: str | None = None
    """Fingerprint of the model that was captured."""
    twin_root: str | None = None
    """Hash of the run of the model's random twin, where there was one."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of the packages that computed the numbers."""
    pack: str
    """File of the probes in the same folder."""
    plan: dict[str, JsonValue]
    n_cells: Count
    """Cells of the plan."""
    n_undefined: Count
    near_duplicates: NearDuplicates | None
    correction: Correction | None
    fit_prompts: str = ""
    """Hashes of the prompts that were learned from (see `hashes_of`): other runs may hold the same problems."""
    fits: list[CellRecord]
    text: list[TextRecord]

    @model_validator(mode="after")
    def _counts_add_up(self) -> Self:
        undefined = sum(cell.accuracy is None for cell in self.fits)
        if undefined != self.n_undefined:
            raise ValueError(f"{self.n_undefined} undefined cells do not add up to the {undefined} that are listed")
        whole = len(self.fits) == self.n_cells if self.status == "complete" else len(self.fits) <= self.n_cells
        if not whole:
            raise ValueError(f"a {self.status} fit of {self.n_cells} cells lists {len(self.fits)}")
        if len({cell.key for cell in self.fits}) != len(self.fits):
            raise ValueError("a cell is listed twice")
        if len({(row.site, row.step) for row in self.text}) != len(self.text):
            raise ValueError("a text probe is listed twice")
        return self


def parse_fit(plain: Any, *, path: Path) -> FitRecord:
    """The record of these plain values.

    Raises:
        SchemaError: they break the schema (all breaks are listed).
    """
    hint = "Fit again: workbench fit RUN --out DIR"
    return parse_record(FitRecord, plain, path=path, what="fit", schema=FIT_SCHEMA, hint=hint)


def read_fit(folder: Path) -> FitRecord:
    """Read `fit.json` of a folder that `workbench fit` wrote.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema.
    """
    path = folder / FIT_NAME
    return parse_fit(read_json(path), path=path)
