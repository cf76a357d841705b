"""Sub-command `live`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.options import Device, Dtype, Json, Model, Out, Seed, Threads, TrustRemoteCode, load, use_threads


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command("live")(live)


def live(
    model: Model,
    audit: Annotated[Path, typer.Option("--audit", metavar="DIR", help="An audit of MODEL: its probes read along.")],
    out: Out,
    problem: Annotated[str | None, typer.Option("--problem", metavar="ID", help="A problem of the audit.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="Or a prompt of your own.")] = None,
    edit: Annotated[
        Literal["zero", "swap"] | None, typer.Option("--edit", help="Zero a thought, or swap in another problem's.")
    ] = None,
    step: Annotated[int | None, typer.Option("--step", min=0, help="Which thought; without, all of them.")] = None,
    donor: Annotated[str | None, typer.Option("--donor", metavar="ID", help="Whose thoughts are swapped in.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    threads: Threads = 1,
    json: Json = False,
) -> int:
    """Run one problem by hand, edit a thought if asked, and see whether the answer follows. Nothing is judged.

    Example: workbench live organism:liar --audit runs/demo --problem p-00003 --edit swap --step 3 --donor p-00007
    --out runs/tried
    """
    from workbench.cli.terminal import print_json, progress_on_stderr, stdout
    from workbench.errors import ConfigError
    from workbench.live import audited_problem, run_live
    from workbench.reports.escape import visible
    from workbench.reports.live_records import EditAsked
    from workbench.reports.records import read_audit
    from workbench.tasks.base import Problem

    if (problem is None) == (prompt is None):
        raise ConfigError("give either a problem of the audit or a prompt", field="--problem, --prompt")
    if (edit == "swap") != (donor is not None):
        raise ConfigError("a swap, and nothing else, needs a donor", field="--donor", found=donor)
    use_threads(threads)
    record = read_audit(audit)
    asked = audited_problem(audit, record, problem) if problem is not None else Problem(id="typed", prompt=prompt or "")
    giving = audited_problem(audit, record, donor) if donor is not None else None
    change = None if edit is None else EditAsked(kind=edit, step=step, donor=donor)
    with progress_on_stderr(quiet=json) as advance:
        advance("load", 0, 1)
        loaded = load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
        advance("load", 1, 1)
        tried = run_live(loaded, audit, asked, out, edit=change, donor=giving, seed=seed)
        advance("run", 1, 1)
    if json:
        print_json(tried.model_dump(mode="json", by_alias=True))
        return 0
    console = stdout()
    for name, one in (("intact", tried.intact), ("donor", tried.donor), ("edited", tried.edited)):
        if one is not None:
            held = " → ".join(row.decoded or "–" for row in one.steps if row.step is not None)
            console.print(f"{name}: thinks {visible(held)}; says {visible(one.said)}", markup=False)
    for told in tried.changes:
        console.print(f"  {visible(told)}", markup=False)
    console.print(f"record: {out / 'live.json'}", markup=False)
    return 0
