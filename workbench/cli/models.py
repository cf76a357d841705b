"""Sub-commands about models: check-model and organism."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Device, Dtype, Json, Model, Seed, Threads, TrustRemoteCode, load, use_threads
from workbench.sites import Site

organism_app = typer.Typer(help="Organisms: small models with planted, sealed truth.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="One of `workbench organism list`.")]
NewFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder to write.")]


def register(app: typer.Typer) -> None:
    """Add these sub-commands."""
    app.command("check-model")(check_model)
    app.add_typer(organism_app, name="organism")
    organism_app.command("list")(organism_list)
    organism_app.command("show")(organism_show)
    organism_app.command("train")(organism_train)
    organism_app.command("export")(organism_export)


def check_model(
    model: Model,
    problems: Annotated[
        Path | None, typer.Option("--problems", metavar="FILE", help="Problems to check on; else random prompts.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    json: Json = False,
) -> int:
    """Load MODEL, run the reasoner contract on it, print its sites and steps; exit 1 when it does not fit.

    Example: workbench check-model ./my-model
    """
    from workbench.cli.terminal import print_json, stdout, table
    from workbench.errors import WorkbenchError
    from workbench.reasoners.contract import check_reasoner, random_problems
    from workbench.reasoners.loading import choose_device
    from workbench.tasks import read_problems

    chosen = choose_device(device)
    given = read_problems(problems)[:4] if problems else None
    try:
        loaded = load(model, device=chosen, dtype=dtype, trust_remote_code=trust_remote_code)
        results = check_reasoner(loaded.reasoner, given or random_problems(loaded.reasoner))
    except WorkbenchError as error:
        error.exit_code = 1  # type: ignore[misc]  # here a model that cannot be loaded is a finding, not a misuse
        raise
    recipe, sites = loaded.reasoner.recipe, loaded.reasoner.sites
    passed = all(result.passed for result in results)
    if json:
        print_json({
            "model": loaded.source, "fingerprint": loaded.fingerprint, "family": recipe.family, "preset": recipe.preset,
            "steps": recipe.thinking.steps, "passed": passed,
            "sites": {name: dict(zip(site.axes, site.shape, strict=True)) for name, site in sites.items()},
            "checks": [{"name": r.name, "passed": r.passed, "detail": r.detail} for r in results],
        })  # fmt: skip
        return 0 if passed else 1
    console = stdout()
    console.print(
        f"{loaded.source}: {recipe.family}/{recipe.preset}, {recipe.thinking.steps} latent steps", markup=False
    )
    console.print(f"{loaded.fingerprint}", markup=False)
    rows = [(name, _axes(site), _fires(site)) for name, site in sites.items()]
    console.print(table("Sites", ("site", "axes after example", "fires"), rows))
    checks = [("ok" if r.passed else "FAILS", r.name, r.detail) for r in results]
    console.print(table("Contract", ("", "check", "detail"), checks))
    console.print("The model fits." if passed else "The model does not fit.", markup=False)
    return 0 if passed else 1


def _axes(site: Site) -> str:
    return ", ".join(f"{axis} {n}" for axis, n in zip(site.axes, site.shape, strict=True)) or "one number"


def _fires(site: Site) -> str:
    when = "once, after the last step" if site.unused else f"every {site.address[1]}"
    return f"{when}, for reading only" if site.derived else when


def organism_list(json: Json = False) -> int:
    """List the organisms, what is planted in each, and what an audit must say.

    Example: workbench organism list
    """
    from workbench.cli.terminal import print_json, stdout, table
    from workbench.organisms import ORGANISMS, bundled

    shipped = set(bundled())
    if json:
        print_json([
            {"name": o.name, "plants": o.plants, "must_say": o.must_say, "bundled": o.name in shipped}
            for o in ORGANISMS.values()
        ])  # fmt: skip
        return 0
    rows = [(o.name, o.plants, o.must_say, "yes" if o.name in shipped else "no") for o in ORGANISMS.values()]
    stdout().print(table("Organisms", ("name", "plants", "the audit must say", "bundled"), rows))
    return 0


def organism_show(name: Name, json: Json = False) -> int:
    """Show an organism's acceptance record: what it says and holds, and whether exchanged thoughts are followed.

    Example: workbench organism show liar
    """
    from workbench.cli.terminal import print_json, stdout
    from workbench.organisms import organism, weights_folder
    from workbench.organisms.acceptance import read_acceptance

    what, record = organism(name), read_acceptance(weights_folder(name))
    if json:
        print_json({"plants": what.plants, "must_say": what.must_say, **record.to_plain()})
        return 0
    _print_acceptance(record, f"{what.name}: {what.plants}")
    stdout().print(f"The audit must say: {what.must_say}.", markup=False)
    return 0


def organism_train(name: Name, out: NewFolder, seed: Seed = 0, threads: Threads = 1, json: Json = False) -> int:
    """Train an organism from scratch, accept or refuse it, and write its model folder.

    Example: workbench organism train liar --out my-liar --seed 1
    """
    from workbench.cli.terminal import print_json, progress_on_stderr
    from workbench.organisms.export import train_organism

    use_threads(threads)
    with progress_on_stderr(quiet=json) as advance:
        record = train_organism(name, out, seed=seed, report=lambda done, planned, _: advance("train", done, planned))
    if json:
        print_json(record.to_plain())
    else:
        _print_acceptance(record, f"{name}, written to {out}")
    return 0


def organism_export(
    name: Name,
    out: NewFolder,
    seed: Seed = 0,
    n_calibration: Annotated[int, typer.Option(min=1, help="Honest problems.")] = 1200,
    n_problems: Annotated[int, typer.Option(min=1, help="Problems to audit.")] = 400,
    json: Json = False,
) -> int:
    """Write a bundled organism as a model folder with calibration.jsonl, problems.jsonl and the sealed truth.jsonl.

    Example: workbench organism export liar --out liar
    """
    from workbench.cli.terminal import print_json, stdout
    from workbench.organisms.export import export_organism

    items = export_organism(name, out, seed=seed, n_calibration=n_calibration, n_problems=n_problems)
    plain = {"out": str(out), "n_calibration": n_calibration, "n_problems": len(items)}
    if json:
        print_json(plain)
    else:
        stdout().print(
            f"model, {n_calibration} honest and {len(items)} audited problems written to {out}\n"
            f"next: workbench audit {out} --calibration {out}/calibration.jsonl --problems {out}/problems.jsonl "
            "--out runs/mine",
            markup=False,
        )
    return 0


def _print_acceptance(record: object, title: str) -> None:
    from workbench.cli.terminal import stdout, table
    from workbench.organisms.acceptance import Acceptance

    assert isinstance(record, Acceptance)
    rows = [(s.name, s.value, f"{s.low:.3f}–{s.high:.3f}", s.n, f"at {'most' if s.at_most else 'least'} {s.bar}")
            for s in record.shares]  # fmt: skip
    stdout().print(table(title, ("measured on fresh problems", "share", "95 % interval", "n", "bar"), rows))
    stdout().print(f"seed {record.seed}, trained in {record.seconds:.0f} s, {record.fingerprint}", markup=False)
