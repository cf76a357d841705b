"""Bits per thought of the bundled organisms, as one table: `python -m benchmarks.measure_bits [NAME ...]`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.machine import about_this_machine
from workbench.bandwidth import run_bandwidth
from workbench.organisms.export import organism_problems
from workbench.organisms.recipes import organism
from workbench.reasoners.loading import load_model
from workbench.reports.bandwidth_records import BandwidthRecord, ChainRecord, DecodableRecord, SweepRecord
from workbench.reports.bandwidth_words import code_words

NAMES = ("honest", "liar", "rotated", "looper", "hoarder")
SEED, N_PROBLEMS = 104, 1200
"""Problems that no organism was trained or accepted on, all of them honest."""
HEAD = (
    "| organism | thoughts | container | token | decodable | shuffled | used, at most | code "
    "| said text changes | 0 bits |"
)


def measure(name: str) -> BandwidthRecord:
    """One measurement."""
    honest, _ = organism_problems(organism(name), seed=SEED, n_calibration=N_PROBLEMS, n_problems=1)
    with TemporaryDirectory() as scratch:
        loaded = load_model(f"organism:{name}", device="cpu")
        return run_bandwidth(loaded, [item.problem for item in honest], Path(scratch))


def row(
    record: BandwidthRecord, cells: tuple[str, str], n_thoughts: int, read: DecodableRecord | ChainRecord | None,
    sweep: SweepRecord | None,
) -> str:  # fmt: skip
    """One line of the table."""
    assert sweep is not None
    told = "–" if read is None else f"{read.bits:.2f} [{read.interval.low:.2f}, {read.interval.high:.2f}]"
    shuffled = "–" if read is None else f"{read.shuffled:.2f}"
    used, code, changed = "no code tried will do", "–", "–"
    if sweep.used is not None:
        found = sweep.used
        code = code_words(found)
        used = f"{found.bits:.2f} [{found.interval.low:.2f}, {found.interval.high:.2f}]"
        changed = f"{found.changed:.3f} [{found.changed_interval.low:.3f}, {found.changed_interval.high:.3f}]"
    token = f"{n_thoughts * record.token_bits:.1f}"
    container = f"{record.container_bits(sweep.numbers):,}"
    line = (*cells, container, token, told, shuffled, used, code, changed, f"{sweep.erased:.2f}")
    return "| " + " | ".join(line) + " |\n"


def main() -> None:
    """Print the table as Markdown, a line as soon as it is known."""
    torch.set_num_threads(1)
    out = sys.stdout
    out.write(f"{about_this_machine('torch', 'scikit-learn')}\n\n{HEAD}\n|{'---|' * (HEAD.count('|') - 1)}\n")
    for name in sys.argv[1:] or NAMES:
        record = measure(name)
        for step in record.steps:
            out.write(row(record, (name, str(step.step)), 1, step.decodable, step.sweep))
        out.write(row(record, (name, "all"), len(record.steps), record.chain, record.whole))
        out.flush()


if __name__ == "__main__":
    main()
