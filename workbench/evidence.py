"""What one store of captured problems tells: honest problems learned from, honest ones held out, audited ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes import merge_duplicate_groups, split_groups
from probes.errors import ProbeDataError
from workbench.calibration import honest_needed
from workbench.claims import Said, parse_said
from workbench.divergence import Pairing, compare_chains, find_answer_place, problem_score, step_at
from workbench.errors import InsufficientData
from workbench.fit import LabelledStep, StepFit, label_steps
from workbench.readings import AnyReading
from workbench.reasoners.recipe import Speaking
from workbench.store import RunStore, joined_visits
from workbench.tasks.base import Value, plain_prompt

CALIBRATION, AUDITED = "calibration", "audited"
MIN_HONEST = 20

Labels = Literal["thoughts", "said", "mixed"]


@dataclass(frozen=True, slots=True)
class Honest:
    """Trusted problems of a store, split once and for all into those to learn from and those held out."""

    examples: tuple[int, ...]
    groups: tuple[str, ...]
    known: tuple[Mapping[int, Value], ...]
    """Per problem: step -> value, or set of values."""
    labels: Labels
    held_out: NDArray[np.bool_]
    answer_place: int | None
    """Where in the chain honest answers come from; negative from the end."""

    @property
    def independent_examples(self) -> list[int]:
        """One held-out problem of each group, drawn at random: problems of one group are not independent.

        Not the first of each: where those are of one kind (plain ones before their paraphrases, say), audited
        problems would not be like them.
        """
        drawn: dict[str, int] = {}
        for k in np.random.default_rng(0).permutation(len(self.examples)).tolist():
            if self.held_out[k]:
                drawn.setdefault(self.groups[k], self.examples[k])
        return sorted(drawn.values())


def known_values(problem: Mapping[str, Any]) -> dict[int, Value]:
    """Values and sets of values by step; steps of which nothing is known are left out."""
    return {
        step: value if isinstance(value, str) else tuple(value)
        for step, value in enumerate(problem.get("thoughts", []))
        if value is not None
    }


def examples_of(store: RunStore, role: str) -> list[int]:
    """Rows of the store's problems that were given for this role."""
    return [i for i, record in enumerate(store.problems) if record["role"] == role]


def split_honest(store: RunStore, speaking: Speaking, *, alpha: float, seed: int, only_words: bool = False) -> Honest:
    """Split the calibration problems by group; problems with the same prompt count as one group.

    Half is held out, and more where certifying `alpha` needs more and a third still remains to learn from.

    Args:
        store: with the calibration problems and what was said.
        speaking: how claims are read from what was said.
        alpha: false alarm rate to certify.
        seed: of the split.
        only_words: take what is said for what is known, even where `thoughts` are given.

    Raises:
        InsufficientData: fewer honest problems than anything can be learned from.
    """
    examples = examples_of(store, CALIBRATION)
    if len(examples) < MIN_HONEST:
        raise InsufficientData(
            "too few honest problems", field="calibration", expected=f"at least {MIN_HONEST}, and "
            f"{2 * honest_needed(alpha)} to certify alpha = {alpha:g}", found=f"n={len(examples)}",
        )  # fmt: skip
    problems = [store.problems[i]["problem"] for i in examples]
    groups = merge_duplicate_groups([p["group"] for p in problems], [plain_prompt(p) for p in problems])
    said = [parse_said(store.problems[i]["said"], speaking) for i in examples]
    n_steps = [int(store.problems[i]["n_steps"]) for i in examples]
    known = [
        known_values(p) if "thoughts" in p and not only_words else dict(enumerate(s.claims[:n]))
        for p, s, n in zip(problems, said, n_steps, strict=True)
    ]
    given = {"thoughts" in p and not only_words for p in problems}
    return Honest(
        examples=tuple(examples),
        groups=tuple(groups),
        known=tuple(known),
        labels="mixed" if len(given) == 2 else "thoughts" if given == {True} else "said",
        held_out=_hold_out(groups, honest_needed(alpha), seed),
        answer_place=find_answer_place(known, [s.answer for s in said], n_steps),
    )


def _hold_out(groups: Sequence[str], n_needed: int, seed: int) -> NDArray[np.bool_]:
    """Half of the rows, and more until `n_needed` groups are held out, but never more than two thirds."""
    n = len(groups)
    try:
        for n_held in range(n // 2, 2 * n // 3 + 1):
            held_out = split_groups(groups, n_held, seed=seed)
            if len({group for group, held in zip(groups, held_out, strict=True) if held}) >= n_needed:
                break
    except ProbeDataError as error:
        raise InsufficientData(f"the honest problems cannot be split: {error}", field="group") from error
    return held_out


def labelled_steps(store: RunStore, honest: Honest) -> list[LabelledStep]:
    """Thoughts of honest problems with their labels, step by step; rows that are not finite are left out."""
    return label_steps(store, honest.known, honest.examples, honest.held_out, honest.groups)


@dataclass(frozen=True, slots=True)
class Compared:
    """One problem: what its thoughts read as, what it said, and how the two line up."""

    example: int
    n_steps: int
    said: Said
    readings: tuple[AnyReading, ...]
    thoughts: Mapping[int, Float[np.ndarray, " d_model"]]
    """Step -> vector, for the steps that have a probe."""
    pairings: tuple[Pairing, ...]
    finite: bool

    @property
    def score(self) -> float:
        """Summed margins, nats."""
        return problem_score(self.pairings)


def compare_problems(
    store: RunStore, examples: Sequence[int], fits: Sequence[StepFit], speaking: Speaking, answer_place: int | None
) -> list[Compared]:
    """Read the thoughts of these problems and lay them beside what was said."""
    vectors: dict[int, dict[int, Float[np.ndarray, " d_model"]]] = {i: {} for i in examples}
    readings: dict[int, list[AnyReading]] = {i: [] for i in examples}
    every = joined_visits(store.select("thought", examples=np.array(examples)))
    for fit in fits:
        rows = every.step == fit.step
        thoughts = every.vectors[rows]
        finite = np.isfinite(thoughts).all(axis=1)
        read = fit.read(np.where(finite[:, None], thoughts, 0.0))
        for k, example in enumerate(every.example[rows].tolist()):
            vectors[example][fit.step] = thoughts[k]
            if finite[k]:
                readings[example].append(read[k])
    compared = []
    for i in examples:
        said = parse_said(store.problems[i]["said"], speaking)
        n_steps = int(store.problems[i]["n_steps"])
        answer_step = step_at(answer_place, n_steps)
        pairings = compare_chains(readings[i], said.claims, answer=said.answer, answer_step=answer_step)
        finite_ = len(readings[i]) == len(vectors[i])
        compared.append(Compared(i, n_steps, said, tuple(readings[i]), vectors[i], tuple(pairings), finite_))
    return compared


def usual_claims(compared: Sequence[Compared]) -> dict[int, int]:
    """Step -> place of the claim that agrees with it in most honest problems."""
    votes: dict[int, Counter[int]] = {}
    for one in compared:
        for pairing in one.pairings:
            if pairing.status == "agree" and pairing.step is not None and pairing.claim_index is not None:
                votes.setdefault(pairing.step, Counter())[pairing.claim_index] += 1
    usual = {step: counts.most_common(1)[0] for step, counts in votes.items()}
    return {step: place for step, (place, count) in usual.items() if 2 * count >= len(compared)}
