"""What must be read first: notices that limit the verdict, and numbers that never stand alone."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.figures.words import EFFECT
from workbench.reports.causal_words import coverage_words, why_not_covered
from workbench.reports.records import AuditRecord
from workbench.reports.shares import counted, share, span


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence that stands above the verdict because the verdict must be read in its light."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Headline:
    """One number with what it must be compared with; every cell is ready to print."""

    name: str
    value: str
    control: str
    interval: str
    n: str
    meaning: str


_EXCHANGED = {
    "follows": "Share of honest problems that give the donor's answer when its thoughts are put in.",
    "moves": "Share of honest problems that say something else when another's thoughts are put in.",
}


def notices(audit: AuditRecord) -> list[Notice]:
    """The limiting sentences, the gravest first; empty when nothing limits the verdict."""
    summary, channel, promise = audit.summary, audit.summary.channel, audit.summary.false_alarm_rate
    found: list[Notice] = []
    if channel.decorative:
        verb = EFFECT[channel.measure]
        moves = f"exchanged, {share(channel.thought_effect)} of honest answers {verb}"
        found.append(
            Notice(
                "decorative",
                f"The thoughts are not used: {moves}, with a placebo {share(channel.placebo_effect)} "
                f"(n = {channel.n}). What is read from them does not explain what is said.",
            )
        )
    if audit.status != "complete":
        done = f"{audit.n_done} of {audit.n_planned} problems"
        found.append(Notice(audit.status, f"This audit is {audit.status} ({done}): {audit.status_reason}"))
    if not promise.certified:
        bound = f"{promise.n_honest} honest held-out problems bound false alarms at {share(promise.upper95)}"
        found.append(
            Notice(
                "uncertified",
                f"The promise of at most {share(promise.target)} false alarms is not certified: {bound} "
                f"(95 %, one-sided); {promise.n_needed} without an alarm would certify it.",
            )
        )
    if summary.reason:
        found.append(Notice("reason", summary.reason))
    found += _reach(audit)
    return found


def _reach(audit: AuditRecord) -> list[Notice]:
    """What the probes and the causal test do not reach."""
    found: list[Notice] = []
    channel = audit.summary.channel
    uncovered = why_not_covered(channel)
    if uncovered is not None and not channel.decorative:
        found.append(Notice("coverage", f"Agreement would prove nothing: {uncovered}."))
    for kind, steps, text in (
        (
            "unreadable",
            [step.step for step in audit.steps if not step.readable],
            "cannot be read above control",
        ),
        ("idle", [step.step for step in audit.steps if not step.live], "is not shown to do more than its placebo"),
    ):
        if steps:
            numbers = ", ".join(str(step) for step in steps)
            found.append(Notice(kind, f"Thought of step {numbers}: {text}. No verdict rests on it."))
    return found


def headlines(audit: AuditRecord) -> list[Headline]:
    """The headline numbers, each beside its control, interval and sample size."""
    summary, channel, promise = audit.summary, audit.summary.channel, audit.summary.false_alarm_rate
    verb = {"follows": "Follow", "moves": "Move with"}[channel.measure]
    n_decoded = max((step.n for step in audit.steps), default=0)
    whole = f"{share(promise.upper95)} upper bound"
    return [
        Headline(
            "Decoded right",
            share(summary.decode_accuracy),
            f"{share(summary.decode_control)} with shuffled labels",
            span(summary.decode_interval),
            str(n_decoded),
            "Mean over steps, on honest problems that the probes never saw.",
        ),
        Headline(
            f"{verb} the thoughts",
            share(channel.thought_effect),
            f"{share(channel.placebo_effect)} with a placebo",
            span(channel.thought_interval),
            str(channel.n),
            _EXCHANGED[channel.measure],
        ),
        Headline(
            f"{verb} the channel",
            share(channel.channel_effect),
            f"{share(channel.channel_placebo_effect)} with a placebo",
            "–" if channel.channel_interval is None else span(channel.channel_interval),
            str(channel.n),
            "The same with keys and values at their places too, beside a placebo on all of them. "
            f"Coverage: {coverage_words(channel)}.",
        ),
        Headline(
            "False alarms",
            share(promise.observed),
            f"{share(promise.target)} promised",
            whole,
            str(promise.n_honest),
            "Of held-out honest problems, each judged by all the others.",
        ),
        Headline(
            "Unfamiliar thoughts",
            share(summary.unseen_rate),
            "these settle no verdict",
            "–",
            str(sum(row.step is not None for problem in audit.problems for row in problem.steps)),
            "Audited thoughts that cannot be told from thoughts with values the probes were never shown.",
        ),
    ]


def verdict_line(audit: AuditRecord) -> str:
    """The verdict in one sentence; a partial or failed audit says so in the same breath."""
    summary = audit.summary
    word = "" if audit.status == "complete" else f" ({audit.status})"
    counts = counted(summary.n_problems, summary.n_diverges, summary.n_agrees, summary.n_cannot_tell)
    meaning = {
        "diverges": "What the model says parts from what its thoughts hold",
        "agrees": "What the model says is what its thoughts hold",
        "cannot-tell": "It cannot be told whether the model says what its thoughts hold",
    }[summary.verdict]
    return f"{meaning}{word}: {counts}."
