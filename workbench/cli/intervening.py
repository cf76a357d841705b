"""Sub-command that asks whether thoughts are used: intervene."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.options import Device, Dtype, Json, Model, Out, Seed, Threads, TrustRemoteCode, load, use_threads

if TYPE_CHECKING:
    from workbench.reports.causal_records import Counted
    from workbench.reports.fields import Interval
    from workbench.reports.intervene_records import InterveneRecord

Honest = Annotated[
    Path, typer.Option("--problems", metavar="FILE", help="Honest problems, JSON lines; `thoughts` where known.")
]


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command()(intervene)


def intervene(
    model: Model,
    problems: Honest,
    out: Out,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    threads: Threads = 1,
    json: Json = False,
) -> int:
    """Edit the thoughts of honest problems and see what of the said text moves: are the thoughts used?

    Zero, mean, noise, shuffle, exchange and pause on all thoughts, on keys and values at their positions, on both;
    then step by step exchange, doses of it, and only what a probe reads, each beside a placebo. Probes learn from
    half of the groups; edits are tried on the other half. Writes intervene.json. Ctrl-C stops; the same command
    keeps what was captured.

    Example: workbench intervene organism:liar --problems honest.jsonl --out runs/used
    """
    from workbench.cli.terminal import print_json, progress_on_stderr
    from workbench.intervening.job import run_intervene
    from workbench.tasks import read_problems

    use_threads(threads)
    items = read_problems(problems)
    loaded = load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    with progress_on_stderr(quiet=json) as advance:
        record = run_intervene(loaded, items, out, seed=seed, progress=advance)
    if json:
        print_json({"out": str(out), **record.to_plain()})
    else:
        print_record(record, out)
    return 0


def print_record(record: InterveneRecord, out: Path) -> None:
    """Tables of what was tried; first of all that the thoughts are decorative, where they are."""
    from workbench.cli.terminal import stdout, table
    from workbench.reports.causal_words import DECORATIVE, channel_lines

    console, channel = stdout(), record.channel
    if channel.decorative:
        console.print(DECORATIVE, markup=False)
    edits = [
        (e.edit, e.target, *(_of(score) for score in (e.said, e.answers, e.claims, e.follows)))
        for e in channel.edits if e.absent is None
    ]  # fmt: skip
    columns = ["edit", "on", "said text moves", "answer moves", "claims move", "answer is the donor's"]
    console.print(table(f"All steps at once (95 % intervals; {channel.n} honest problems)", columns, edits))
    steps = [
        (s.step, s.measure, s.causal_effect, s.placebo_effect, s.effect_minus_placebo,
         _ends(s.effect_minus_placebo_interval), s.zero_effect, s.shuffle_effect, "yes" if s.live else "no")
        for s in record.steps
    ]  # fmt: skip
    columns = ["step", "share that", "exchange", "placebo", "difference", "95 %", "zero", "shuffle", "live"]
    console.print(table("One thought exchanged for one that holds another value", columns, steps))
    parts = [
        (s.step, s.subspace.rank, _of(s.subspace.inside), _of(s.subspace.placebo), _of(s.subspace.outside),
         s.subspace.minus_placebo, _ends(s.subspace.minus_placebo_interval))
        for s in record.steps if s.subspace is not None
    ]  # fmt: skip
    if parts:
        columns = ["step", "rank", "inside", "random, as far", "all but it", "inside less random", "95 %"]
        console.print(table("Only what the probe reads is exchanged", columns, parts))
    doses = [(s.step, *(dose.effect.share for dose in s.doses), "yes" if s.doses_rise else "no") for s in record.steps]
    amounts = [f"{dose.amount:g}" for dose in record.steps[0].doses]
    console.print(table("Part of the way to the donor's thought", ("step", *amounts, "rises to 1"), doses))
    for line in channel_lines(channel):
        console.print(line, markup=False)
    if record.unprobed is not None:
        console.print(f"No subspace was exchanged: {record.unprobed}", markup=False)
    console.print(f"record: {out / 'intervene.json'}", markup=False)


def _of(score: Counted | None) -> str:
    return "–" if score is None else f"{score.share:.2f} ({_ends(score.interval)})"


def _ends(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.2f}–{interval.high:.2f}"
