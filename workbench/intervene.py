"""Intervene: exchange, remove or disturb thoughts on honest problems and see whether what is said moves.

Decodable is not used: a value can be read from a thought that nothing depends on. So every effect stands
beside a placebo that moves the thought exactly as far in a random direction.
"""

from __future__ import annotations

from workbench.interrupts import StopFlag
from workbench.intervening.bench import Bench, Progress, require_equal_steps
from workbench.intervening.effects import Interventions
from workbench.intervening.honest import HonestRun
from workbench.reasoners.base import Reasoner


def intervene(
    reasoner: Reasoner,
    honest: HonestRun,
    *,
    seed: int,
    stop: StopFlag | None = None,
    progress: Progress | None = None,
) -> Interventions:
    """Edit the thoughts of honest problems step by step, and all at once.

    Args:
        reasoner: the model.
        honest: trusted problems of equal step count that no probe was fitted on.
        seed: of the donors and of the random directions.
        stop: looked at between runs.
        progress: called with (runs done, runs planned).

    Raises:
        InsufficientData: fewer than two problems, or step counts differ.
    """
    planned = {reasoner.n_steps(problem) for problem in honest.problems}
    require_equal_steps(len(honest.problems), planned)
    bench = Bench(reasoner, honest, range(planned.pop()), seed, stop, progress)
    return Interventions(tuple(map(bench.one_step, bench.steps)), bench.all_steps(), len(honest.problems))
