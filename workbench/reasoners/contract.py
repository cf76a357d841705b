"""The promises that every reasoner keeps, as checks that run on any model.

`workbench check-model` runs them on a folder; the test suite runs them on random-weight models of several
backbones. Each check is a function that raises `ContractError` with what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from workbench import edits
from workbench.errors import ConfigError, ContractError, LimitExceeded, UnknownSiteError, WorkbenchError
from workbench.reasoners.base import Reasoner
from workbench.sites import Visit
from workbench.tasks.base import Problem
from workbench.traces import Rows

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference between two ways to the same numbers (a batch and its singles, a lens and the model's own head),
as a share of the largest: rounding of a few layers and steps, in the type of the vectors."""


def tolerance(dtype: torch.dtype) -> float:
    """What a type of weights allows; a type not listed gets what float32 does."""
    return TOLERANCE.get(dtype, TOLERANCE[torch.float32])


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, as a share of the largest number of the other."""
    if not other.numel():
        return 0.0
    return ((one.float() - other.float()).abs().max() / other.float().abs().max().clamp(min=1e-9)).item()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check."""

    name: str
    passed: bool
    detail: str


def random_problems(reasoner: Reasoner, n: int = 4, *, seed: int = 0) -> list[Problem]:
    """Problems of random words of the model's own vocabulary, each of another length."""
    return [reasoner.random_problem(f"random-{k}", 3 + 2 * k, seed + k) for k in range(n)]


def check_reasoner(reasoner: Reasoner, problems: Sequence[Problem]) -> list[CheckResult]:
    """Run every check on at least two problems of different length; none stops the others."""
    results = []
    for check in CHECKS:
        name = (check.__doc__ or check.__name__).strip().rstrip(".")
        try:
            results.append(CheckResult(name, True, check(reasoner, problems) or ""))
        except WorkbenchError as error:
            results.append(CheckResult(name, False, str(error)))
    return results


def _editable(reasoner: Reasoner) -> list[str]:
    return [name for name, site in reasoner.sites.items() if not site.derived]


def _must(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)


def reading_changes_nothing(reasoner: Reasoner, problems: Sequence[Problem]) -> str:
    """Reading changes nothing (bit-equal)."""
    plain, read = reasoner.run(problems), reasoner.run(problems, read=list(reasoner.sites))
    _must(torch.equal(plain.first_logits, read.first_logits), "logits differ once vectors are read")
    _must(plain.said == read.said, "said text differs once vectors are read")
    return f"{len(reasoner.sites)} sites"


def identity_edit_changes_nothing(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """An identity edit changes nothing."""
    same = reasoner.run(problems, edits={site: lambda vectors, visit: vectors for site in _editable(reasoner)})
    _must(torch.equal(reasoner.run(problems).first_logits, same.first_logits), "logits differ under an identity edit")


def writing_matters(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """A thought that is written is the thought that is used."""
    noisy = reasoner.run(
        problems, edits={"thought": lambda vectors, visit: vectors + 10 * vectors.std() * _noise(vectors)}
    )
    _must(
        not torch.allclose(reasoner.run(problems).first_logits, noisy.first_logits),
        "overwriting every thought leaves the logits as they were: thoughts are not put back",
    )


def _noise(vectors: torch.Tensor) -> torch.Tensor:
    return torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0)).to(vectors)


def shapes_match_axes(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """Captured shapes equal the declared axes, at every step."""
    trace = reasoner.run(problems, read=list(reasoner.sites))
    for name, site in reasoner.sites.items():
        rows = trace[name]
        _must(tuple(rows.vectors.shape[1:]) == site.shape, f"{name}: {tuple(rows.vectors.shape[1:])}, not {site.shape}")
        steps_of = {i: [n] if site.unused else range(n) for i, n in enumerate(trace.n_steps)}
        _must(
            [tuple(a) for a in rows.address[:, :3].tolist()]
            == [(i, s, v) for i, steps in steps_of.items() for s in steps for v in _visits(rows, i, s)],
            f"{name}: addresses are not every visit of every step of every example",
        )


def _visits(rows: object, example: int, step: int) -> range:
    address = rows.address  # type: ignore[attr-defined]
    fired = int(((address[:, 0] == example) & (address[:, 1] == step)).sum())
    return range(max(fired, 1))


def read_after_edit(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """What is read is what was used (read after edit)."""
    stamp = reasoner.run(
        problems, read=["thought"], edits={"thought": lambda vectors, visit: torch.full_like(vectors, visit.step)}
    )
    rows = stamp["thought"]
    _must(
        bool((rows.vectors.flatten(1) == rows.address[:, 1:2].to(rows.vectors)).all()),
        "the vectors read are not the edited ones",
    )


def self_patch_is_identity(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """Patching a run with its own vectors is the identity."""
    plain = reasoner.run(problems, read=list(reasoner.sites))
    for site in _editable(reasoner):
        patched = reasoner.run(problems, edits={site: _put_back(plain[site])})
        _must(
            torch.allclose(plain.first_logits, patched.first_logits, atol=1e-6, rtol=1e-5),
            f"putting the vectors of {site} back where they came from changes the logits",
        )


def _put_back(rows: Rows) -> edits.Edit:
    """An edit that replaces every vector by the one that was read there; one that was not kept is another check's."""
    row_of = {(example, step, visit): row for row, (example, step, visit, _) in enumerate(rows.address.tolist())}

    def edit(vectors: torch.Tensor, visit: Visit) -> torch.Tensor:
        kept = [row_of.get((example, visit.step, visit.visit)) for example in visit.examples]
        return vectors if None in kept else rows.vectors[kept].to(vectors)

    return edit


def batch_equals_singles(reasoner: Reasoner, problems: Sequence[Problem]) -> str:
    """A batch equals its singles (padding, positions, seeds)."""
    seeds = list(range(len(problems)))
    batch = reasoner.run(problems, read=["thought"], seeds=seeds, batch_size=len(problems))
    worst = 0.0
    for i, problem in enumerate(problems):
        alone = reasoner.run([problem], read=["thought"], seeds=[seeds[i]])
        mine = batch["thought"].vectors[batch["thought"].address[:, 0] == i]
        steps = batch.n_steps[i], alone.n_steps[0]
        _must(steps[0] == steps[1], f"{problem.id}: {steps[0]} steps in a batch, {steps[1]} alone")
        worst = max(worst, _apart(batch.first_logits[i], alone.first_logits[0]), _apart(mine, alone["thought"].vectors))
    allowed = tolerance(batch["thought"].vectors.dtype)
    _must(worst <= allowed, f"largest difference between batch and single run is {worst:.1e} of the largest value")
    return f"largest difference {worst:.1e}"


def unknown_site_names_the_known(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """An unknown site is refused with the names of the known."""
    try:
        reasoner.run(problems, read=["no.such.site"])
    except UnknownSiteError as error:
        _must("thought" in str(error), "the error does not name the known sites")
    else:
        raise ContractError("an unknown site was accepted")


class _Planned(Exception):
    """Raised by an edit on purpose."""


def failing_edit_leaves_no_residue(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """An edit that raises leaves no residue."""

    def fail(vectors: torch.Tensor, visit: Visit) -> torch.Tensor:
        raise _Planned

    clean = reasoner.run(problems).first_logits
    for site in _editable(reasoner):
        try:
            reasoner.run(problems, edits={site: fail})
        except _Planned:
            continue
        raise ContractError(f"an edit at {site} never ran")
    _must(torch.equal(clean, reasoner.run(problems).first_logits), "a failed edit changed later runs")


def every_visit_is_kept(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """Every visit that an edit sees is kept and labelled, once."""
    seen: dict[str, list[tuple[int, ...]]] = {site: [] for site in _editable(reasoner)}

    def count(vectors: torch.Tensor, visit: Visit) -> torch.Tensor:
        seen[visit.site] += [(example, visit.step, visit.visit) for example in visit.examples]
        return vectors

    trace = reasoner.run(problems, read=_editable(reasoner), edits=dict.fromkeys(_editable(reasoner), count))
    for site in _editable(reasoner):
        address = [tuple(a) for a in trace[site].address[:, :3].tolist()]
        _must(len(set(address)) == len(address), f"{site}: an address occurs twice")
        _must(sorted(seen[site]) == address, f"{site}: {len(seen[site])} visits, {len(address)} kept")


def step_counts_are_kept(reasoner: Reasoner, problems: Sequence[Problem]) -> None:
    """Problems of different step counts run side by side, each with its own."""
    if not reasoner.free_steps:
        _other_step_counts_are_refused(reasoner, problems[0])
        return
    default = reasoner.recipe.thinking.steps
    ragged = [replace(problem, steps=max(1, default - k % 2)) for k, problem in enumerate(problems)]
    wanted = [len(reasoner.agents(problem)) or problem.steps for problem in ragged]
    trace = reasoner.run(ragged, read=["thought"])
    address = trace["thought"].address
    found = [len({int(step) for step in address[address[:, 0] == i, 1]}) for i in range(len(ragged))]
    _must(found == list(trace.n_steps), f"took {list(trace.n_steps)} steps, thoughts were kept for {found}")
    if not reasoner.may_stop_early:
        _must(found == wanted, f"asked for {wanted} steps, thoughts were kept for {found}")
    try:
        reasoner.run([replace(problems[0], steps=10_000_000)])
    except LimitExceeded:
        return
    except (WorkbenchError, RuntimeError, LookupError, ValueError) as error:
        raise ContractError(f"a step count beyond the model gave {error!r} and not LimitExceeded") from error
    raise ContractError("a step count beyond the model was accepted")


def _other_step_counts_are_refused(reasoner: Reasoner, problem: Problem) -> None:
    wrong = replace(problem, steps=reasoner.n_steps(problem) + 1)
    try:
        reasoner.run([wrong])
    except ConfigError:
        return
    raise ContractError(f"{wrong.steps} steps were accepted, which is not the number the model takes")


def lens_agrees_with_the_model(reasoner: Reasoner, problems: Sequence[Problem]) -> str:
    """The unembedding reads a thought as the model's own head does."""
    worst, allowed = 0.0, 0.0
    for problem in problems:
        own = reasoner.own_logits(problem)
        through_lens = reasoner.lens_logits(problem)
        allowed = tolerance(own.dtype)
        worst = max(worst, _apart(through_lens, own))
    _must(worst <= allowed, f"lens and model differ by {worst:.1e} of the largest logit")
    return f"largest difference {worst:.1e}"


Check = Callable[[Reasoner, Sequence[Problem]], str | None]

CHECKS: tuple[Check, ...] = (
    reading_changes_nothing,
    identity_edit_changes_nothing,
    writing_matters,
    shapes_match_axes,
    read_after_edit,
    self_patch_is_identity,
    batch_equals_singles,
    unknown_site_names_the_known,
    failing_edit_leaves_no_residue,
    every_visit_is_kept,
    step_counts_are_kept,
    lens_agrees_with_the_model,
)
