"""What people call the controls of a cell, and what may be said of it."""

from __future__ import annotations

from workbench.reports.fit_cells import CellRecord, Standing

CONTROLS: dict[str, str] = {
    "shuffled": "shuffled labels",
    "shuffled_high": "shuffled labels, 97.5 %",
    "majority": "majority",
    "input_only": "input only",
    "previous_step": "previous step",
    "position_0": "position 0",
    "control_task": "control task",
    "twin": "random twin",
    "logit_lens": "logit lens",
}
"""Field of a cell -> what people call this control."""

STANDINGS: dict[Standing, str] = {
    "readable": "readable after correction",
    "input": "above chance, not beyond other controls",
    "chance": "not above chance after correction",
    "uncorrected": "not corrected",
    "undefined": "undefined or not run",
}
"""What may be said of a cell, in words."""


def control(cell: CellRecord, name: str) -> float | None:
    """One of `CONTROLS` of the cell; None where it was not run."""
    value: float | None = getattr(cell, name)
    return value


def not_run(cell: CellRecord) -> list[str]:
    """Names of the controls that this cell lacks.

    What comes before step 0 is not missed, nor is a lens, nor the control task of a probe that only screens.
    """
    optional = {"logit_lens", "shuffled_high", *(("previous_step", "position_0") if cell.step == 0 else ())}
    if cell.probe != "logistic":
        optional.add("control_task")
    return [name for field, name in CONTROLS.items() if field not in optional and control(cell, field) is None]
