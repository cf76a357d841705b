"""Train what is not trained, audit what is not audited, and write the table: an interrupted benchmark goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from workbench.audit import Plan, run_audit
from workbench.benchmark.planted import Audited
from workbench.benchmark.records import NAME, BenchmarkRecord, OrganismRow
from workbench.benchmark.rows import organism_row
from workbench.benchmark.table import page
from workbench.capture import FINGERPRINTED
from workbench.errors import ConfigError, ContractError
from workbench.organisms import bundled, organism, weights_folder
from workbench.organisms.acceptance import read_acceptance
from workbench.organisms.export import organism_problems, train_organism, unlabelled
from workbench.reasoners.loading import load_model
from workbench.reports.records import AuditRecord, read_audit
from workbench.store import write_file
from workbench.store.files import make_folder

N_CALIBRATION, N_PROBLEMS = 700, 400
PROBLEM_SEED = 101
"""Problems of the first training seed are drawn with this seed: no organism was trained or accepted on them."""
SPARE_SEEDS = 3
"""How many more seeds are tried for an organism where some are refused."""
REFUSED = "refused.txt"

Progress = Callable[[str, int, int], None]
"""Called with (what is done, done, planned)."""


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """What a person asks of a benchmark."""

    organisms: tuple[str, ...]
    n_seeds: int = 3
    alpha: float = 0.01
    n_calibration: int = N_CALIBRATION
    n_problems: int = N_PROBLEMS

    def __post_init__(self) -> None:
        if not self.organisms:
            raise ConfigError("there is no organism to audit", field="organism")
        if self.n_seeds < 1:
            raise ConfigError("each organism needs a training seed", field="seeds", found=self.n_seeds)
        for name in self.organisms:
            organism(name)


def run_benchmark(plan: BenchmarkPlan, out: Path, *, progress: Progress | None = None) -> BenchmarkRecord:
    """Audit every organism with so many training seeds and write `benchmark.json` and `benchmark.md`.

    Models lie in `out/models/NAME-SEED`; what is there already, or bundled, is not trained again. Audits lie in
    `out/audits`; a finished one is read and not run again.

    Raises:
        ContractError: an organism has fewer accepted seeds than asked for among those tried.
        ConfigError: a folder holds another model or audit.
        Interrupted: someone asked to stop; the same call goes on.
    """
    tell = progress or (lambda what, done, planned: None)
    make_folder(out)
    rows = [_row(name, plan, out, tell) for name in plan.organisms]
    record = BenchmarkRecord(
        alpha=plan.alpha, n_calibration=plan.n_calibration, n_problems=plan.n_problems,
        versions={package: version(package) for package in (*FINGERPRINTED, "numpy", "scikit-learn")}, rows=rows,
    )  # fmt: skip
    write_file(out / "benchmark.md", page(record).encode())
    write_file(out / NAME, record.to_json())
    return record


def _row(name: str, plan: BenchmarkPlan, out: Path, tell: Progress) -> OrganismRow:
    runs: list[Audited] = []
    refused: list[int] = []
    for seed in range(plan.n_seeds + SPARE_SEEDS):
        if len(runs) == plan.n_seeds:
            break
        folder = _model(name, seed, out / "models", tell)
        if folder is None:
            refused.append(seed)
        else:
            runs.append(_audited(name, seed, folder, plan, out / "audits" / f"{name}-{seed}", tell))
    if len(runs) < plan.n_seeds:
        raise ContractError(
            f"only {len(runs)} of {plan.n_seeds + SPARE_SEEDS} seeds of organism {name!r} were accepted",
            hint="Ask for fewer --seeds.",
        )
    return organism_row(organism(name), runs, refused, alpha=plan.alpha)


def _model(name: str, seed: int, models: Path, tell: Progress) -> Path | None:
    """Folder of the organism trained with this seed; None where the seed is refused."""
    folder = models / f"{name}-{seed}"
    if (folder / "model.safetensors").is_file():
        found = read_acceptance(folder)
        if (found.organism, found.seed) != (name, seed):
            raise ConfigError(
                "the folder holds another model", path=folder, expected=f"{name}, seed {seed}",
                found=f"{found.organism}, seed {found.seed}",
            )  # fmt: skip
        return folder
    if (folder / REFUSED).is_file():
        return None
    if name in bundled() and read_acceptance(weights_folder(name)).seed == seed:
        return weights_folder(name)
    try:
        train_organism(
            name, folder, seed=seed, report=lambda done, planned, _: tell(f"train {name}-{seed}", done, planned)
        )
    except ContractError as error:
        make_folder(folder)
        write_file(folder / REFUSED, f"{error.message}\n".encode())
        return None
    return folder


def _audited(name: str, seed: int, model: Path, plan: BenchmarkPlan, out: Path, tell: Progress) -> Audited:
    honest, items = organism_problems(
        organism(name), seed=PROBLEM_SEED + seed, n_calibration=plan.n_calibration, n_problems=plan.n_problems
    )
    planted = {item.problem.id: item for item in items}
    loaded = load_model(str(model), device="cpu")
    asked = Plan(alpha=plan.alpha, seed=seed)
    audit = _finished(out, loaded.fingerprint, asked, planted)
    if audit is None:
        audit = run_audit(
            loaded, [item.problem for item in honest], [unlabelled(item) for item in items], out, asked,
            progress=lambda stage, done, planned: tell(f"{stage} {name}-{seed}", done, planned),
        )  # fmt: skip
    return Audited(seed, audit, planted)


def _finished(out: Path, fingerprint: str, asked: Plan, planted: Collection[str]) -> AuditRecord | None:
    """The audit that lies there, if it is finished and is the one that is asked for."""
    if not (out / "audit.json").is_file():
        return None
    audit = read_audit(out)
    same = audit.model.fingerprint == fingerprint and (audit.settings.alpha, audit.settings.seed) == (
        asked.alpha, asked.seed
    )  # fmt: skip
    if not same or {problem.id for problem in audit.problems} != set(planted):
        raise ConfigError(
            "the folder holds another audit", path=out, field="out", hint="Choose another --out, or remove it."
        )
    return audit
