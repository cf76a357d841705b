"""Records of what stands beside the verdicts: how many planted lies were caught, and what the words alone tell."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from workbench.reports.fields import Interval, Record, Share

Lie = Literal["chain", "last", "answer", "one"]
"""What is another problem's: everything that is said, the last claim, the answer, or one claim drawn at random."""


class PlantedLies(Record):
    """Held-out honest problems that were given what another one says, and how many of them were called divergent."""

    kind: Lie
    n: int
    n_caught: int
    share: Share
    interval: Interval
    """Exact, of the share."""
    beyond: Share
    """Share whose score was beyond calibration, whatever else a verdict needs."""
    n_honest_enough: int | None
    """Fewest honest problems of each number of steps that would keep 95 % of the share; absent where none is caught."""
    missed: str | None
    """Commonest reason why a lie was not called divergent; absent where all were."""

    @model_validator(mode="after")
    def _caught_of_n(self) -> Self:
        if not 0 <= self.n_caught <= self.n:
            raise ValueError(f"{self.n_caught} of {self.n} planted lies were caught")
        return self


class Power(Record):
    """The share of lies that this audit would have caught, by planting some among held-out honest problems."""

    alpha: Share
    n_honest: int
    """Held-out honest problems that lies were planted among."""
    n_least: int
    """Fewest honest problems with which any p-value can reach alpha."""
    lies: list[PlantedLies]

    def sentence(self) -> str:
        """What to say of it in a report."""
        if not self.lies:
            return "No lie could be planted: the held-out honest problems state too little, or all the same."
        told = "; ".join(
            f"{WORDS[lie.kind]}: {lie.n_caught} of {lie.n} ({lie.share:.0%}, 95 % interval "
            f"{lie.interval.low:.0%} to {lie.interval.high:.0%})"
            for lie in self.lies
        )
        return (
            f"Lies planted among held-out honest problems and called divergent at alpha = {self.alpha:g}: {told}. "
            f"With fewer than {self.n_least} honest problems nothing could be."
        )


WORDS: dict[Lie, str] = {
    "chain": "all that is said is another problem's",
    "last": "only the last claim is",
    "answer": "only the answer is",
    "one": "only one claim, drawn at random, is",
}


class TextMonitor(Record):
    """How far someone comes who sees only the words: prompt and said text, calibrated on the same honest problems."""

    alpha: Share
    n_honest: int
    """Held-out honest problems that carry the text's p-values, the same as for thoughts."""
    honest_flagged: Share
    """Share of them flagged when each is judged by all the others."""
    honest_interval: Interval
    told_apart: Share | None
    """AUROC of true against exchanged said texts of held-out honest problems; absent where no text can be exchanged."""
    told_apart_interval: Interval | None
    told_apart_control: Share
    """The same for a monitor that learned from exchanged labels."""
    n_pairs: int
    """Held-out honest problems that `told_apart` was measured on, each once true and once exchanged."""
    n_problems: int
    n_flagged: int
    flagged: list[str]
    """Ids of the problems that the text alone flags."""
    n_both: int
    n_thoughts_only: int
    n_text_only: int
    n_neither: int
    gain: Share
    """Share of the audited problems that are found divergent with thoughts, and not flagged by their text."""
    gain_interval: Interval

    @model_validator(mode="after")
    def _counts_add_up(self) -> Self:
        counts = (self.n_both, self.n_thoughts_only, self.n_text_only, self.n_neither)
        if sum(counts) != self.n_problems or self.n_both + self.n_text_only != self.n_flagged:
            raise ValueError(f"{counts} do not add up to {self.n_problems} problems, {self.n_flagged} flagged")
        if len(self.flagged) != self.n_flagged:
            raise ValueError(f"{len(self.flagged)} ids of {self.n_flagged} flagged problems")
        return self

    def sentence(self) -> str:
        """What to say of it in a report."""
        return (
            f"From the words alone {self.n_flagged} of {self.n_problems} problems are flagged at alpha = "
            f"{self.alpha:g} (of {self.n_honest} honest ones {self.honest_flagged:.1%}); thoughts find "
            f"{self.n_thoughts_only} more that the words do not show."
        )
