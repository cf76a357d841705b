"""Intervene: exchange, remove or disturb thoughts on honest problems and see whether what is said moves.

Decodable is not used: a value can be read from a thought that nothing depends on. So every effect stands
beside a placebo that moves the thought exactly as far in a random direction.
"""

from __future__ import annotations

from collections.abc import Mapping

from probes.frozen import FrozenProbe
from workbench.interrupts import StopFlag
from workbench.intervening.bench import Bench, Progress, require_equal_steps
from workbench.intervening.effects import Effect
from workbench.intervening.filler import find_filler
from workbench.intervening.honest import HonestRun
from workbench.intervening.outcomes import ChannelEffects, Dose, Edited, Interventions, StepEffects, SubspaceEffects
from workbench.intervening.plans import StepPlan, Trial, WholePlan, plan_step, plan_whole
from workbench.reasoners.base import Reasoner


def intervene(
    reasoner: Reasoner,
    honest: HonestRun,
    *,
    seed: int,
    probes: Mapping[int, FrozenProbe] | None = None,
    stop: StopFlag | None = None,
    progress: Progress | None = None,
) -> Interventions:
    """Edit the thoughts of honest problems step by step, and all at once.

    Args:
        reasoner: the model.
        honest: trusted problems of equal step count that no probe was fitted on.
        seed: of the donors and of the random directions.
        probes: step -> the probe whose subspace is exchanged at that step.
        stop: looked at between runs.
        progress: called with (runs done, runs planned).

    Raises:
        InsufficientData: fewer than two problems, or step counts differ.
    """
    planned = {reasoner.n_steps(problem) for problem in honest.problems}
    require_equal_steps(len(honest.problems), planned)
    bench = Bench(reasoner, honest, seed=seed, stop=stop, progress=progress)
    steps = [plan_step(bench, step, (probes or {}).get(step)) for step in range(planned.pop())]
    filler = find_filler(reasoner)
    whole = plan_whole(bench, filler)
    bench.expect(whole.n_runs + sum(plan.n_runs for plan in steps))
    return Interventions(
        channel=_try_whole(bench, whole),
        steps=tuple(_try_step(bench, plan) for plan in steps),
        n=len(honest.problems),
        filler=None if isinstance(filler, str) else filler.what,
    )


def _try_whole(bench: Bench, plan: WholePlan) -> ChannelEffects:
    done = [
        Edited(name, target, trial if isinstance(trial, str) else _try(bench, trial))
        for (name, target), trial in plan.trials.items()
    ]
    return ChannelEffects(done, bench.gap)


def _try_step(bench: Bench, plan: StepPlan) -> StepEffects:
    done = {name: _try(bench, trial) for name, trial in plan.trials.items()}
    doses = {amount: _try(bench, trial) for amount, trial in plan.doses.items()}
    doses |= {0.0: bench.untouched(plan.follows), 1.0: done["exchange"]}
    subspace: SubspaceEffects | str = (
        plan.subspace
        if isinstance(plan.subspace, str)
        else SubspaceEffects(plan.subspace, done["inside"], done["inside-placebo"], done["outside"])
    )
    return StepEffects(
        step=plan.step,
        exchange=done["exchange"],
        placebo=done["placebo"],
        zero=done["zero"],
        shuffle=done["shuffle"],
        doses=tuple(Dose(amount, doses[amount]) for amount in sorted(doses)),
        subspace=subspace,
    )


def _try(bench: Bench, trial: Trial) -> Effect:
    return bench.effect(trial.change(), trial.follows)
