"""Synthetic records of fits with planted readable cells. Used by tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.reports.fields import Interval
from workbench.reports.fit_records import (
    CellRecord,
    Confusion,
    Correction,
    CurvePoint,
    FitRecord,
    NearDuplicates,
    ReliabilityBin,
    TextRecord,
)

ROOMS = ("atrium", "bakery", "cellar", "dairy", "forge", "garden", "library", "vault")
TITLE = "document.title='pwned'"
HOSTILE = (
    f"<script>{TITLE}</script>",
    f'<img src=x onerror="{TITLE}">',
    f'"><svg onload="{TITLE}">',
    f"</title><script>{TITLE}</script>",
    f"</style><script>{TITLE}</script>",
    f"<!--<script>{TITLE}//-->",
    f"javascript:{TITLE}",
    f'<a href="javascript:{TITLE}">x</a>',
    f"'-{TITLE}-'",
    "![x](https://evil.test/x.png)",
    "[x](https://evil.test/x)",
    ":red[vault] **md** `code`",
    "{{ 7 * 7 }}{% raw %}",
    "$\\alpha$ &lt;b&gt; %{x}",
    "safe \u202etxet desrever\u202c \u200bzero\u200d",
    "\x1b[31mred\x1b[0m",
    "=1+1",
    '@SUM(A1) & "x"',
    "-2+3+cmd|' /C calc'!A0",
    "+44\r\nSet-Cookie: x",
)
"""Texts that try to run, to fetch, to hide, or to be a formula."""


def _near(value: float, width: float = 0.03) -> Interval:
    return Interval(low=max(0.0, value - width), high=min(1.0, value + width))


def _curve(accuracy: float, chance: float) -> list[CurvePoint]:
    points = []
    for place, n_fit in enumerate((30, 75, 150, 300)):
        reached = chance + (accuracy - chance) * (place + 1) / 4
        points.append(CurvePoint(n_fit=n_fit, accuracy=reached, interval=_near(reached, 0.06 - 0.01 * place)))
    return points


def _bins(accuracy: float) -> list[ReliabilityBin]:
    bins = []
    for low in (0.3, 0.5, 0.7, 0.9):
        confidence = low + 0.06
        right = min(1.0, confidence * (0.5 + accuracy / 2))
        n = round(20 + 300 * (low == 0.9))
        bins.append(
            ReliabilityBin(low=low, high=min(1.0, low + 0.2), confidence=confidence, right=right,
                           interval=_near(right, 0.1), n=n)
        )  # fmt: skip
    return bins


def cell_of(
    site: str = "blocks.1.hook_resid_post", step: int = 0, accuracy: float | None = 0.97, **more: Any
) -> CellRecord:
    """A readable cell unless told otherwise; chance is 0.12."""
    chance = 0.12
    read = 0.5 if accuracy is None else min(accuracy, 1.0)
    above = accuracy is not None and read > 0.3
    layer = next((int(part) for part in site.split(".") if part.isdigit()), None)
    plain: dict[str, Any] = {
        "site": site, "layer": layer, "step": step, "label": "thought", "probe": "logistic",
        "undefined_because": None, "n_fit": 300, "n": 300, "n_groups": 290, "n_classes": len(ROOMS),
        "accuracy": accuracy, "interval": _near(read), "log_loss": 0.11, "auroc": 0.99 if above else 0.52,
        "shuffled": chance, "shuffled_high": 0.16, "n_shuffles": 100,
        "selectivity_p": 0.0099 if above else 0.48, "corrected_p": 0.0099 if above else 0.9,
        "majority": 0.15, "input_only": 0.31, "previous_step": 0.42 if step else None, "position_0": 0.14,
        "control_task": 0.2, "selectivity": read - 0.2, "twin": 0.22, "logit_lens": None,
        "mdl_bits": 210.0, "mdl_plain_bits": 900.0, "mdl_compression": 900 / 210,
        "learning_curve": _curve(read, chance), "reliability": _bins(read),
        "confusions": [Confusion(value="vault", read="cellar", n=3), Confusion(value="forge", read="dairy", n=1)],
        "C": 0.3, "converged": True, "n_iter": 20, "objective": 0.01, "gradient": 1e-5,
        "readable": above, "seed": 0,
    }  # fmt: skip
    return CellRecord(**(plain | more))


def undefined_cell(because: str = "one value in the fit rows", **more: Any) -> CellRecord:
    names = (
        "accuracy", "interval", "log_loss", "auroc", "shuffled", "shuffled_high", "selectivity_p", "corrected_p",
        "majority", "input_only", "previous_step", "position_0", "control_task", "selectivity", "twin",
        "mdl_bits", "mdl_plain_bits", "mdl_compression", "C", "converged", "n_iter", "objective", "gradient",
    )  # fmt: skip
    lists = {name: [] for name in ("learning_curve", "reliability", "confusions")}
    empty = dict.fromkeys(names) | lists | {"undefined_because": because, "readable": False, "n_classes": 1}
    return cell_of(**(empty | more))


def text_of(step: int = 0, site: str = "thought", exact: float = 0.98, **more: Any) -> TextRecord:
    plain: dict[str, Any] = {
        "site": site, "step": step, "undefined_because": None, "n_fit": 300, "n": 300, "n_groups": 300,
        "n_offsets": 1, "exact_match": exact, "interval": _near(exact, 0.02), "top_1": [exact], "top_5": [1.0],
        "shuffled": 0.08, "n_shuffles": 20, "p_value": 0.048, "variance_explained": 0.7,
        "variance_explained_true": 0.71, "variance_explained_shuffled": -0.1, "logit_lens": 0.9, "tuned_lens": 0.95,
        "details": {"ridge": 1.0},
    }  # fmt: skip
    return TextRecord(**(plain | more))


def undefined_text(step: int = 0, **more: Any) -> TextRecord:
    names = ("exact_match", "interval", "shuffled", "p_value", "variance_explained", "variance_explained_true",
             "variance_explained_shuffled", "logit_lens", "tuned_lens")  # fmt: skip
    gone = dict.fromkeys(names) | {"top_1": [], "top_5": [], "undefined_because": "no token stands for a value"}
    return text_of(step, **(gone | more))


def grid_cells(n_steps: int = 4, n_layers: int = 3, **more: Any) -> list[CellRecord]:
    """Readable from the middle layer on; at chance below."""
    sites = [f"blocks.{layer}.hook_resid_post" for layer in range(n_layers)]
    first = n_layers // 2
    return [
        cell_of(site, step, 0.97 - 0.005 * step if place >= first else 0.13, **more)
        for place, site in enumerate(sites)
        for step in range(n_steps)
    ]


def make_fit(cells: list[CellRecord] | None = None, text: list[TextRecord] | None = None, **more: Any) -> FitRecord:
    """A fit of these cells; by default two labels, with an undefined cell and every kind of missing control."""
    if cells is None:
        cells = [*grid_cells(), *grid_cells(label="answer")]
        cells[0] = undefined_cell(site=cells[0].site, layer=0)
        cells[-1] = cells[-1].model_copy(update={"twin": None, "control_task": None, "selectivity": None})
    plain: dict[str, Any] = {
        "status": "complete", "run_root": "sha256:" + "ab" * 32, "probes_root": "sha256:" + "cd" * 32,
        "pack": "probes.safetensors", "plan": {"sites": ["*"], "held_out": 0.5, "seed": 0, "labels": ["thought"]},
        "n_cells": len(cells), "n_undefined": sum(cell.accuracy is None for cell in cells),
        "near_duplicates": NearDuplicates(n_pairs=0, n_rows=0, threshold=0.9),
        "correction": Correction(method="max-statistic", n_permutations=100, n_cells=len(cells)),
        "fits": cells, "text": [text_of(step) for step in range(3)] if text is None else text,
    }  # fmt: skip
    return FitRecord(**(plain | more))


def hostile_fit(text: str) -> FitRecord:
    """One readable and one undefined cell, every text of which is this one."""
    confusion = [Confusion(value=text, read=text, n=2)]
    cells = [
        cell_of(text, 0, label=text, probe=text, confusions=confusion),
        undefined_cell(text, site=text, step=1, label=text, probe=text),
    ]
    rows = [text_of(0, text, details={text: text}), undefined_text(1, site=text, undefined_because=text)]
    return make_fit(
        cells, rows, run_root=text, probes_root=text, pack=text, model=text, twin_root=text,
        versions={text: text}, plan={text: text, "nested": {text: [text]}},
        correction=Correction(method=text, n_permutations=100, n_cells=2),
    )  # fmt: skip


def write_fit(directory: Path, fit: FitRecord) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "fit.json").write_bytes(fit.to_json())
    return directory
