"""What a person must know before trusting an audit's numbers, found in the data itself."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.evidence import Compared, Honest
from workbench.fit import StepFit
from workbench.store import RunStore

USUAL = 0.9


def audit_warnings(
    store: RunStore, honest: Honest, fits: Sequence[StepFit], held_out: Sequence[Compared], n_left_out: int
) -> list[str]:
    """Sentences, most consequential first; each follows from the store alone."""
    return [
        *_about_speech(honest, held_out),
        *_about_labels(store, honest, n_left_out),
        *_about_steps(store, honest, fits),
    ]


def _about_speech(honest: Honest, held_out: Sequence[Compared]) -> list[str]:
    told = []
    n = len(held_out)
    silent = sum(not one.said.claims for one in held_out)
    unanswered = sum(one.said.answer is None for one in held_out)
    slipped = sum(any(p.status == "conflict" for p in one.pairings) for one in held_out)
    if silent > (1 - USUAL) * n:
        told.append(f"`claims` reads no chain from what {silent} of {n} honest problems say: check the recipe")
    if unanswered > (1 - USUAL) * n:
        told.append(f"`answer` reads nothing from what {unanswered} of {n} honest problems say: check the recipe")
    elif honest.answer_place is None:
        told.append("honest answers do not state the value of any one step: answers are not compared with thoughts")
    if slipped:
        told.append(f"{slipped} of {n} honest problems say another thing than their thoughts read as: it costs power")
    return told


def _about_labels(store: RunStore, honest: Honest, n_left_out: int) -> list[str]:
    told = []
    n = len(honest.examples)
    lengths = [int(store.problems[i]["n_steps"]) for i in honest.examples]
    longer = sum(max(known, default=-1) >= n_steps for known, n_steps in zip(honest.known, lengths, strict=True))
    unlabelled = sum(not known for known in honest.known)
    if honest.labels == "said":
        told.append("no known thoughts of calibration problems are used: what trusted problems say is the label")
    if honest.labels == "mixed":
        told.append("some calibration problems have no known thoughts: what they say is their label")
    if unlabelled:
        told.append(f"{unlabelled} of {n} calibration problems have no known value at any step")
    if longer:
        told.append(f"{longer} of {n} calibration problems have more known thoughts than latent steps")
    if n_left_out:
        told.append(f"{n_left_out} calibration problems have prompts that are audited too and were left out")
    return told


def _about_steps(store: RunStore, honest: Honest, fits: Sequence[StepFit]) -> list[str]:
    told = []
    if store.n_nonfinite:
        told.append(f"{store.n_nonfinite} captured vectors hold values that are not finite")
    stuck = [fit.step for fit in fits if not fit.probe.metadata["converged"]]
    if stuck:
        told.append(f"the probes of steps {', '.join(map(str, stuck))} did not converge")
    reached = {step for i in honest.examples for step in range(int(store.problems[i]["n_steps"]))}
    unprobed = sorted(reached - {fit.step for fit in fits})
    if unprobed:
        told.append(f"steps {', '.join(map(str, unprobed))} have no probe: nothing is known of what they hold")
    return told
