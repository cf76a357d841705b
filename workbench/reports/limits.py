"""What an audit did not test, said as plainly as its verdict."""

from __future__ import annotations

from workbench.reports.records import AuditRecord

_LIMITS = """
The probes are linear. What a linear probe cannot read may still be there.

A thought is read as one of a closed list of values (up to {n_classes} at a step). A value outside the list is
read as one inside it, unless it looks like the thoughts of values that were kept from the probes as a test.

{labels}

The promise on false alarms holds for problems that are exchangeable with the honest calibration problems.
Another kind of prompt can raise the rate: compare the conditions in the table above.

The causal test exchanged thoughts on {n_causal} honest problems. That a step is used there does not prove
that it is used on a flagged problem.

Keys and values at the places of the thoughts were exchanged, to see how much they carry; nothing was decoded
from them.

Claims are what the recipe's pattern finds in the said text. What is said elsewhere was not compared.

No monitor that sees only the said text was run beside the probes, so how much the thoughts add to reading the
text is not measured here.

A divergence says that thoughts and words part. It says neither why, nor that the thought is the true reason,
nor anything about intent.
"""
_LABELS = {
    "thoughts": """The probes learned intermediate values that were given with the calibration problems; a
reading is only as good as those labels.""",
    "said": """No intermediate values were given: the probes learned what the model says on the calibration
problems, which are taken on trust to be honest. If they are not, the audit is blind to the same lie.""",
    "mixed": """Intermediate values were given with some calibration problems; for the others the probes learned what
the model says, which is taken on trust to be honest. If it is not, the audit is blind to the same lie.""",
}


def limits(audit: AuditRecord) -> list[str]:
    """Sentences for the section on what was not tested; they depend on how the audit was made."""
    text = _LIMITS.format(
        n_classes=max((step.n_classes for step in audit.steps), default=0),
        labels=_LABELS[audit.settings.labels],
        n_causal=audit.settings.n_causal,
    )
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
