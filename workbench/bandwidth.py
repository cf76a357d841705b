"""Bandwidth: how many bits a thought could hold, how many can be read from it, and how many are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from workbench.bits.bench import Bench
from workbench.bits.decode import Decoded, decode
from workbench.bits.known import Sides, Thoughts, read_thoughts, split_problems
from workbench.bits.sweep import sweep
from workbench.capture import capture, seed_of
from workbench.errors import ConfigError, InsufficientData, SchemaError
from workbench.interrupts import stop_on_signal
from workbench.jsonio import canonical_json, digest, read_json
from workbench.reasoners.loading import LoadedModel
from workbench.reports.bandwidth_html import render_bandwidth
from workbench.reports.bandwidth_records import (
    BANDWIDTH_NAME,
    BandwidthModel,
    BandwidthRecord,
    BandwidthSettings,
    StepRecord,
    SweepRecord,
)
from workbench.reports.reading import parse_record
from workbench.store import RunStore, write_file
from workbench.tasks.base import Problem

REPORT_NAME, RUN_NAME, PARTS_NAME = "bandwidth.html", "run", "parts"
BITS_PER_NUMBER = 16
"""As the containers of served models have it; the type that was measured with stands in the record."""
CHANGED_AT_MOST = 0.01
RESUME = "Run the same command again: captured problems and finished steps are kept."

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


@dataclass(frozen=True, slots=True)
class BandwidthPlan:
    """What to measure."""

    seed: int = 0
    n_measured: int = 400
    """Most problems that codes are tried on, and most that the code found is measured on."""
    per_step: bool = True
    """Whether codes are tried on every step by itself, or on all steps at once only."""
    changed_at_most: float = CHANGED_AT_MOST
    """Share of problems whose said text may become another."""

    def __post_init__(self) -> None:
        if self.n_measured < 1:
            raise ConfigError("one problem or more is measured", field="n_measured", found=self.n_measured)
        if not 0 <= self.changed_at_most < 1:
            raise ConfigError("a share from 0 to less than 1", field="changed_at_most", found=self.changed_at_most)


def run_bandwidth(
    model: LoadedModel,
    problems: Sequence[Problem],
    out: Path,
    plan: BandwidthPlan | None = None,
    *,
    progress: Progress | None = None,
) -> BandwidthRecord:
    """Capture thoughts, read known values from them, and send them through codes until what is said changes.

    Args:
        model: what is measured.
        problems: half to fit probes and codes, a quarter to search codes, a quarter to measure the code found.
        out: folder to write; an interrupted measurement is resumed.
        plan: seed and sizes.
        progress: called at every bit of progress of every stage.

    Raises:
        InsufficientData: too few problems, or no thought.
        ConfigError: the folder holds another measurement.
        Interrupted: someone asked to stop; the same call resumes.
    """
    speaking = model.reasoner.recipe.speaking
    plan, tell = plan or BandwidthPlan(), progress or (lambda stage, done, planned: None)
    store = capture(
        model, problems, out / RUN_NAME, sites=["thought"], seed=plan.seed,
        progress=lambda done, planned: tell("capture", done, planned),
    )  # fmt: skip
    thoughts = read_thoughts(store)
    if not thoughts.steps:
        raise InsufficientData("no problem has a thought", field="problems", found=f"n={len(problems)}")
    sides = split_problems([record["problem"] for record in store.problems], seed=plan.seed)
    with stop_on_signal() as stop:
        is_read = stop.between(lambda done, planned: tell("read", done, planned), hint=RESUME)
        decoded = decode(store, speaking, thoughts, sides, seed=plan.seed, progress=is_read)
        seeds = [seed_of(plan.seed, problem) for problem in problems]
        bench = Bench(
            model.reasoner, problems, seeds, thoughts, decoded.known, sides, n_measured=plan.n_measured, seed=plan.seed,
            heard=lambda: stop.check(hint=RESUME),
        )  # fmt: skip
        swept = _swept(bench, thoughts, plan, out, store.root, tell)
    record = _record(model, store, problems, plan, sides, thoughts, decoded, bench, swept)
    write_file(out / REPORT_NAME, render_bandwidth(record).encode())
    write_file(out / BANDWIDTH_NAME, record.to_json())
    return record


def _record(
    model: LoadedModel, store: RunStore, problems: Sequence[Problem], plan: BandwidthPlan, sides: Sides,
    thoughts: Thoughts, decoded: Decoded, bench: Bench, swept: Mapping[int | None, SweepRecord],
) -> BandwidthRecord:  # fmt: skip
    return BandwidthRecord(
        model=_model_record(model),
        settings=BandwidthSettings(**asdict(plan)),
        run_root=store.root,
        versions={name: version(name) for name in ("neuralese-workbench", "numpy", "scikit-learn", "torch")},
        labels=decoded.labels,
        n_problems=len(problems),
        n_fit=len(sides.places("fit")),
        n_search=len(bench.measured["search"]),
        n_confirm=len(bench.measured["confirm"]),
        bits_per_number=BITS_PER_NUMBER,
        token_bits=math.log2(model.d_vocab),
        rerun_changed=bench.rerun_changed([problem["said"] for problem in store.problems]),
        problem_bits=math.log2(sum(map(len, bench.measured.values()))),
        steps=[_step_record(thoughts, decoded, step, swept.get(step)) for step in thoughts.steps],
        chain=decoded.chain,
        whole=swept[None],
    )


def _step_record(thoughts: Thoughts, decoded: Decoded, step: int, swept: SweepRecord | None) -> StepRecord:
    return StepRecord(
        step=step, numbers=thoughts.numbers(step), decodable=decoded.record(step),
        told_before=decoded.told_before(step), sweep=swept,
    )  # fmt: skip


def _model_record(model: LoadedModel) -> BandwidthModel:
    recipe = model.reasoner.recipe
    return BandwidthModel(
        source=model.source, fingerprint=model.fingerprint, family=recipe.family, preset=recipe.preset,
        dtype=model.dtype, d_vocab=model.d_vocab, speaking=recipe.speaking.model_dump(mode="json"),
    )  # fmt: skip


def _swept(
    bench: Bench, thoughts: Thoughts, plan: BandwidthPlan, out: Path, root: str, tell: Progress
) -> dict[int | None, SweepRecord]:
    """Sweeps of each step and of all; each is kept as soon as it is finished."""
    targets: list[int | None] = [*(thoughts.steps if plan.per_step else ()), None]
    key = digest(canonical_json([root, asdict(plan)]))
    swept: dict[int | None, SweepRecord] = {}
    for done, step in enumerate(targets, start=1):
        path = out / PARTS_NAME / f"{'all' if step is None else step}.json"
        swept[step] = _kept(path, key) or sweep(bench, step, _numbers(thoughts, step), allowed=plan.changed_at_most)
        path.parent.mkdir(exist_ok=True)
        write_file(path, canonical_json({"key": key, "sweep": swept[step].model_dump(mode="json")}))
        tell("sweep", done, len(targets))
    return swept


def _numbers(thoughts: Thoughts, step: int | None) -> int:
    return sum(thoughts.numbers(other) for other in thoughts.steps if step in (None, other))


def _kept(path: Path, key: str) -> SweepRecord | None:
    """A sweep that an interrupted run of the same measurement finished."""
    if not path.is_file():
        return None
    plain = read_json(path)
    if not isinstance(plain, dict) or set(plain) != {"key", "sweep"}:
        raise SchemaError("not a finished sweep", path=path, hint="Delete it and run the same command again.")
    return parse_record(SweepRecord, plain["sweep"], path=path, what="sweep") if plain["key"] == key else None
