"""Synthetic audit records with planted divergences. Used by tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.reports.records import (
    AuditRecord,
    Candidate,
    Channel,
    ConditionRow,
    FalseAlarmRate,
    Interval,
    ModelRecord,
    ProblemRecord,
    ProblemStep,
    Settings,
    StepStatus,
    StepSummary,
    Summary,
    Verdict,
)

ROOMS = ("atrium", "bakery", "cellar", "dairy", "forge", "garden", "library", "vault")
XSS = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\"> ![x](https://evil.test/x)"
HIDDEN = "safe \u202etxet desrever\u202c \u200bzero\u200d \x1b[31mred\x1b[0m"


def room(index: int) -> str:
    return ROOMS[index % len(ROOMS)]


def step_of(
    step: int | None,
    decoded: str | None,
    said: str | None,
    claim: int | None,
    status: StepStatus = "agree",
    **more: Any,
) -> ProblemStep:
    apart = status != "agree"
    plain: dict[str, Any] = {
        "confidence": None if step is None else 0.93,
        "p_value": 0.0016 if apart else 0.61,
        "margin": 7.5 if status == "conflict" else 0.0,
        "divergence_bits": 0.91 if apart else 0.03,
        "unseen_p": None if step is None else 0.004,
        "norm": None if step is None else 11.25,
        "held_before": 1 if status == "ahead" else None,
        "top": []
        if decoded is None
        else [Candidate(value=decoded, probability=0.93), Candidate(value="atrium", probability=0.04)],
    }
    return ProblemStep(step=step, decoded=decoded, said=said, claim_index=claim, status=status, **(plain | more))


def problem_of(name: str, steps: list[ProblemStep], claims: list[str], **more: Any) -> ProblemRecord:
    apart = sum(row.status != "agree" for row in steps)
    plain: dict[str, Any] = {
        "group": name,
        "condition": "liar" if apart else "honest",
        "prompt": f"start {room(len(steps))} ; east 2 ; west 1",
        "said": f"<say> answer {claims[-1] if claims else ''} steps {' '.join(claims)}",
        "answer": claims[-1] if claims else None,
        "verdict": "diverges" if apart else "agrees",
        "score": 7.3 * apart + len(name) / 100,
        "p_value": 0.0016 if apart else 0.52,
        "q_value": 0.004 if apart else 0.78,
    }
    return ProblemRecord(id=name, claims=claims, steps=steps, **(plain | more))


def honest(name: str, n_steps: int = 4, offset: int = 0, **more: Any) -> ProblemRecord:
    values = [room(offset + i) for i in range(n_steps)]
    return problem_of(name, [step_of(i, value, value, i) for i, value in enumerate(values)], values, **more)


def liar(name: str, n_steps: int = 4, offset: int = 0, **more: Any) -> ProblemRecord:
    """Every thought holds another room than the one that is said."""
    held = [room(offset + i) for i in range(n_steps)]
    claims = [room(offset + i + 3) for i in range(n_steps)]
    steps = [step_of(i, held[i], claims[i], i, "conflict") for i in range(n_steps)]
    return problem_of(name, steps, claims, **more)


def mixed(name: str) -> ProblemRecord:
    """One of each: agree, ahead, unsaid, unsupported and conflict."""
    claims = ["library", "vault", "dairy", "forge"]
    steps = [
        step_of(0, "library", "library", 0),
        step_of(1, "dairy", None, None, "ahead"),
        step_of(2, "cellar", None, None, "unsaid"),
        step_of(None, None, "vault", 1, "unsupported", divergence_bits=None, p_value=None, margin=None),
        step_of(3, "dairy", "dairy", 2),
        step_of(4, "garden", "forge", 3, "conflict"),
    ]
    return problem_of(name, steps, claims)


def unread(name: str) -> ProblemRecord:
    plain = honest(name)
    reason = "thought 2 looks like a value the probes were never shown (unseen p 0.41)"
    return plain.model_copy(update={"verdict": "cannot-tell", "reason": reason, "condition": "far"})


def hostile(name: str = "p-xss") -> ProblemRecord:
    """A liar whose every text tries to run, to fetch or to hide."""
    steps = [
        step_of(0, XSS, "a href", 0, "conflict"),
        step_of(1, "<b>bold</b>", HIDDEN, 1, "conflict"),
        step_of(2, "$\\alpha$ & %{x}", "=1+1", 2, "conflict"),
        step_of(3, ":red[vault]", "**md**", 3, "conflict"),
    ]
    claims = [row.said or "" for row in steps]
    return problem_of(name, steps, claims, prompt=XSS + HIDDEN, said=f"=cmd() {XSS}", condition="<i>x</i>", score=99.0)


def default_problems(n_steps: int = 4, n_honest: int = 6) -> list[ProblemRecord]:
    flagged = [liar("p-0001", n_steps), liar("p-0002", n_steps, 2), mixed("p-0003"), unread("p-0004")]
    return flagged + [honest(f"p-{i + 5:04d}", n_steps, i) for i in range(n_honest)]


def step_summary(step: int, **more: Any) -> StepSummary:
    plain: dict[str, Any] = {
        "n": 300,
        "n_classes": len(ROOMS),
        "decode_accuracy": 0.97,
        "decode_interval": Interval(low=0.95, high=0.985),
        "control": 0.13,
        "selectivity_p": 0.0099,
        "n_shuffles": 100,
        "majority": 0.16,
        "input_only": 0.31,
        "previous_step": None if step == 0 else 0.42,
        "logit_lens": 0.88,
        "readable": True,
        "measure": "follows",
        "causal_effect": 0.9,
        "causal_interval": Interval(low=0.85, high=0.94),
        "placebo_effect": 0.01,
        "placebo_interval": Interval(low=0.0, high=0.03),
        "zero_effect": 0.8,
        "shuffle_effect": 0.88,
        "causal_p": 1e-9,
        "n_causal": 120,
        "live": True,
        "band": Interval(low=0.0, high=0.08),
    }
    return StepSummary(step=step, **(plain | more))


def _conditions(problems: list[ProblemRecord]) -> list[ConditionRow]:
    rows = []
    for condition in sorted({problem.condition or "" for problem in problems}):
        verdicts = [problem.verdict for problem in problems if (problem.condition or "") == condition]
        share = verdicts.count("diverges") / len(verdicts)
        rows.append(
            ConditionRow(
                condition=condition,
                n=len(verdicts),
                n_agrees=verdicts.count("agrees"),
                n_diverges=verdicts.count("diverges"),
                n_cannot_tell=verdicts.count("cannot-tell"),
                share_diverges=share,
                interval=Interval(low=max(0.0, share - 0.2), high=min(1.0, share + 0.2)),
            )
        )
    return rows


def channel_of(**more: Any) -> Channel:
    plain: dict[str, Any] = {
        "thought_effect": 0.93,
        "thought_interval": Interval(low=0.88, high=0.96),
        "measure": "follows",
        "channel_effect": 1.0,
        "channel_interval": Interval(low=0.97, high=1.0),
        "channel_placebo_effect": 0.02,
        "reach": 1.0,
        "placebo_effect": 0.01,
        "placebo_interval": Interval(low=0.0, high=0.04),
        "zero_effect": 0.81,
        "coverage": 0.93,
        "decorative": False,
        "n": 120,
    }
    return Channel(**(plain | more))


def promise_of(**more: Any) -> FalseAlarmRate:
    plain: dict[str, Any] = {
        "target": 0.01,
        "n_honest": 600,
        "observed": 0.005,
        "upper95": 0.009,
        "n_needed": 299,
        "enough": True,
        "certified": True,
    }
    return FalseAlarmRate(**(plain | more))


def make_audit(problems: list[ProblemRecord] | None = None, *, n_steps: int = 5, **more: Any) -> AuditRecord:
    """An audit of these problems; keyword arguments replace fields of the record or of its summary."""
    problems = default_problems() if problems is None else problems
    verdicts = [problem.verdict for problem in problems]
    overall: Verdict = "diverges" if "diverges" in verdicts else "agrees"
    summary: dict[str, Any] = {
        "n_problems": len(problems),
        "n_agrees": verdicts.count("agrees"),
        "n_diverges": verdicts.count("diverges"),
        "n_cannot_tell": verdicts.count("cannot-tell"),
        "verdict": overall,
        "channel": channel_of(),
        "decode_accuracy": 0.97,
        "decode_interval": Interval(low=0.95, high=0.985),
        "decode_control": 0.13,
        "false_alarm_rate": promise_of(),
        "unseen_rate": 0.048,
        "conditions": _conditions(problems),
    }
    record: dict[str, Any] = {
        "status": "complete",
        "n_done": len(problems),
        "n_planned": len(problems),
        "model": ModelRecord(
            source="organism:liar",
            fingerprint="sha256:" + "ab" * 32,
            family="feedback",
            preset="coconut",
            n_steps=n_steps,
            d_model=64,
            n_layers=2,
            d_vocab=48,
        ),
        "settings": Settings(
            alpha=0.01,
            seed=0,
            n_calibration=1200,
            n_left_out=0,
            n_fit=600,
            n_held_out=600,
            n_causal=120,
            batch_size=64,
            labels="thoughts",
        ),
        "warnings": [],
        "steps": [step_summary(step) for step in range(n_steps)],
        "problems": problems,
        "run_root": "sha256:" + "cd" * 32,
        "probes_root": "sha256:" + "ef" * 32,
    }
    for key, value in more.items():
        (summary if key in summary or key == "reason" else record)[key] = value
    return AuditRecord(**record, summary=Summary(**summary))


def write_audit(directory: Path, audit: AuditRecord) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "audit.json").write_bytes(audit.to_json())
    return directory
