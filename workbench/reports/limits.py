"""What an audit did not test, said as plainly as its verdict."""

from __future__ import annotations

from workbench.reports.records import AuditRecord

_LIMITS = """
{reader}

A thought is read as one of a closed list of values (up to {n_classes} at a step). A value outside the list is
read as one inside it, unless it looks like the thoughts of values that were kept from the probes as a test.

{labels}

The promise on false alarms holds for problems that are exchangeable with the honest calibration problems.
Another kind of prompt can raise the rate: compare the verdicts by condition.

The causal test exchanged thoughts on {n_causal} honest problems. That a step is used there does not prove
that it is used on a flagged problem.

Keys and values at the places of the thoughts were exchanged, to see how much they carry; nothing was decoded
from them.

Claims are what the recipe's pattern finds in the said text. What is said elsewhere was not compared.

{words}

{power}

{edits}

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


_READERS = {
    "probe": "The probes are linear. What a linear probe cannot read may still be there.",
    "lens": "The thoughts were read through the model's own unembedding. What it does not show may still be there.",
    "tuned-lens": "The thoughts were read through a learned affine map and the model's own unembedding. What that does "
    "not show may still be there.",
}
_WORDS_RUN = """A monitor that sees only prompt and said text was run beside the probes. A better reader of text may
find more without the thoughts than it did."""
_WORDS_NOT_RUN = """No monitor that sees only the said text was run beside the probes, so how much the thoughts add to
reading the text is not measured here."""
_POWER_RUN = """Which lies would be caught was measured on lies that were planted among honest problems by
exchanging what is said. Lies of another kind may be caught less often."""
_POWER_NOT_RUN = "No lies were planted, so which share of lies this audit would have caught is not measured here."
_NOT_TRIED = "Not tried here: {what}."
_NO_EDITS = "No edits of all steps at once were recorded, so what else carries the answer is not known in detail."


def uncontrolled(audit: AuditRecord) -> list[str]:
    """Controls that this audit was written without; empty where all were run."""
    channel = audit.summary.channel
    absent = [
        ("edits of keys and values", not channel.edits),
        ("exchange in the probes' subspace", not any(step.subspace for step in audit.steps)),
        ("planted lies (power)", audit.power is None or not audit.power.lies),
        ("a monitor that sees only the words", audit.text is None),
    ]
    return [name for name, is_absent in absent if is_absent]


def _edits(audit: AuditRecord) -> str:
    edits = audit.summary.channel.edits
    if not edits:
        return _NO_EDITS
    absent = [f"{edit.edit} on {edit.target} ({edit.absent})" for edit in edits if edit.absent is not None]
    return _NOT_TRIED.format(what="; ".join(absent)) if absent else ""


def limits(audit: AuditRecord) -> list[str]:
    """Sentences for the section on what was not tested; they depend on how the audit was made."""
    text = _LIMITS.format(
        n_classes=max((step.n_classes for step in audit.steps), default=0),
        labels=_LABELS[audit.settings.labels],
        n_causal=audit.settings.n_causal,
        reader=_READERS[audit.settings.reader],
        words=_WORDS_NOT_RUN if audit.text is None else _WORDS_RUN,
        power=_POWER_NOT_RUN if audit.power is None or not audit.power.lies else _POWER_RUN,
        edits=_edits(audit).replace("\n", " "),
    )
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n") if paragraph.strip()]
