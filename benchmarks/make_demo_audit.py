"""Make the bundled demo audit and the picture in the README again: `python -m benchmarks.make_demo_audit`."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from workbench.audit import Plan, run_audit
from workbench.demo import DEMO_ORGANISM
from workbench.figures import hero_svg
from workbench.organisms.export import organism_problems, unlabelled
from workbench.organisms.recipes import organism
from workbench.reasoners.loading import load_model
from workbench.serve import DEMO_AUDIT

N_PROBLEMS = 160
"""Enough to look around in; `workbench demo` audits 400."""
SEED = 1
PICTURE, DARK_PICTURE = Path("docs/img/hero.svg"), Path("docs/img/hero-dark.svg")


def main() -> None:
    """Audit the liar and keep what the dashboard reads."""
    torch.set_num_threads(1)
    honest, audited = organism_problems(organism(DEMO_ORGANISM), seed=SEED, n_problems=N_PROBLEMS)
    with TemporaryDirectory() as scratch:
        record = run_audit(
            load_model(f"organism:{DEMO_ORGANISM}", device="cpu"),
            [item.problem for item in honest],
            [unlabelled(item) for item in audited],
            Path(scratch),
            Plan(seed=SEED),
            command=["python", "-m", "benchmarks.make_demo_audit"],
        )
        DEMO_AUDIT.mkdir(exist_ok=True)
        for name in ("audit.json", "provenance.json"):
            shutil.copyfile(Path(scratch) / name, DEMO_AUDIT / name)
        shutil.copytree(Path(scratch) / "probes", DEMO_AUDIT / "probes", dirs_exist_ok=True)
    mixed = [p for p in record.problems if p.verdict == "diverges" and any(s.status == "agree" for s in p.steps)]
    worst = max(mixed, key=lambda problem: problem.score)  # shows a connector that arrives beside those that do not
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(hero_svg(worst, record), encoding="utf-8")
    DARK_PICTURE.write_text(hero_svg(worst, record, theme="dark"), encoding="utf-8")


if __name__ == "__main__":
    main()
