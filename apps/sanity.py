"""What the page Sanity & controls draws: every number of an audit that says how far to trust the others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from apps import beside, data
from apps.notices import MAKE_AUDIT
from apps.widgets import PLOT, theme
from workbench.figures import causal_by_step, decode_by_step
from workbench.figures.bandwidth import bits_figure
from workbench.figures.sanity import dose_curves, lag_histogram
from workbench.figures.words import number
from workbench.reports.bandwidth_words import SHORT_COLUMNS, headline, notices, short_rows
from workbench.reports.causal_records import Counted
from workbench.reports.causal_words import coverage_words
from workbench.reports.escape import visible
from workbench.reports.html import shown_command
from workbench.reports.limits import uncontrolled
from workbench.reports.monitor_records import WORDS
from workbench.reports.records import AuditRecord
from workbench.reports.shares import share, span


def controls_badge(audit: AuditRecord) -> None:
    """Amber where a control was not run."""
    absent = uncontrolled(audit)
    if absent:
        st.badge("uncontrolled", icon=":material/warning:", color="orange")
        st.text(f"Not run in this audit: {', '.join(absent)}. Audit again to have them.")
    else:
        st.badge("all controls were run", icon=":material/check:", color="blue")


def _table(rows: Sequence[dict[str, Any]], what: str) -> None:
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt=what)


def _counted(one: Counted | None) -> str:
    return "–" if one is None else f"{share(one.share)} ({span(one.interval)}, n = {one.n})"


def reading(audit: AuditRecord) -> None:
    """Can the thoughts be read, better than what?"""
    st.subheader("Can the thoughts be read?", anchor=False)
    st.plotly_chart(decode_by_step(audit, theme=theme()), theme=None, key="sanity-decode", config=PLOT)
    _table(
        [
            {
                "step": step.step, "decoded right": share(step.decode_accuracy), "95 %": span(step.decode_interval),
                "shuffled labels": share(step.control), "p": step.selectivity_p, "majority": share(step.majority),
                "input only": share(step.input_only), "previous step": share(step.previous_step),
                "logit lens": share(step.logit_lens), "n": step.n, "readable": "yes" if step.readable else "no",
            }
            for step in audit.steps
        ],
        "Accuracy of each step's probe beside its controls",
    )  # fmt: skip


def alarms(directory: Path, audit: AuditRecord) -> None:
    """What is promised, what was kept, and what would have been caught."""
    st.subheader("False alarms, and what would have been caught", anchor=False)
    rate = audit.summary.false_alarm_rate
    st.text(
        f"Promised: at most {share(rate.target)} of honest problems. Of {rate.n_honest} that were held out "
        f"{share(rate.observed)} are flagged, at most {share(rate.upper95)} at 95 %; {rate.n_needed} without an alarm "
        f"certify the promise."
    )
    power = audit.power
    if power is None or not power.lies:
        reason = "planted lies (power): which share of lies would have been caught is not known"
        not_run(reason if power is None else power.sentence(), _again(directory, audit))
        return
    st.text(power.sentence())
    _table(
        [
            {"planted": WORDS[lie.kind], "called divergent": share(lie.share), "95 %": span(lie.interval), "n": lie.n,
             "beyond calibration": share(lie.beyond), "honest problems that suffice": lie.n_honest_enough,
             "missed because": visible(lie.missed or "–")}
            for lie in power.lies
        ],
        "Lies planted among held-out honest problems",
    )  # fmt: skip


def not_run(what: str, command: str) -> None:
    """A control that is missing: amber, and what to type to have it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("not run", icon=":material/warning:", color="orange")
        st.text(visible(f"{what[0].upper()}{what[1:].rstrip('.')}."))
    st.code(visible(command), language=None, wrap_lines=True)


def _again(directory: Path, audit: AuditRecord) -> str:
    return shown_command(data.provenance_of(directory)) or MAKE_AUDIT.replace("MODEL", audit.model.source)


def words_alone(directory: Path, audit: AuditRecord) -> None:
    """What a reader of prompt and said text finds, beside what is found with thoughts."""
    st.subheader("Do the words alone tell?", anchor=False)
    text, rate, summary = audit.text, audit.summary.false_alarm_rate, audit.summary
    if text is None:
        not_run("a monitor that sees only the words: what the thoughts add is not known", _again(directory, audit))
        return
    st.text(visible(text.sentence()))
    apart = "–" if text.told_apart_interval is None else span(text.told_apart_interval)
    _table(
        [
            {"reader": "thoughts and words", "flags": f"{summary.n_diverges} of {summary.n_problems}",
             "honest flagged": share(rate.observed), "95 %": f"at most {share(rate.upper95)}",
             "n honest": rate.n_honest, "lies told apart (AUROC)": "–", "95 % of it": "–", "exchanged labels": "–",
             "n": "–"},
            {"reader": "words alone", "flags": f"{text.n_flagged} of {text.n_problems}",
             "honest flagged": share(text.honest_flagged), "95 %": span(text.honest_interval),
             "n honest": text.n_honest, "lies told apart (AUROC)": share(text.told_apart), "95 % of it": apart,
             "exchanged labels": share(text.told_apart_control), "n": str(text.n_pairs)},
        ],
        "What each reader flags, beside honest problems",
    )  # fmt: skip
    _table(
        [
            {"found by both": text.n_both, "thoughts only": text.n_thoughts_only, "words only": text.n_text_only,
             "neither": text.n_neither, "gain of the thoughts": share(text.gain), "95 %": span(text.gain_interval),
             "n": text.n_problems},
        ],
        "Problems found by thoughts, by words, by both",
    )  # fmt: skip


def bits(directory: Path, audit: AuditRecord) -> None:
    """How many bits of the thoughts can be read, and how many are used."""
    st.subheader("How many bits pass?", anchor=False)
    found = beside.bandwidth_of(directory, audit.model.fingerprint)
    if found is None:
        command = ["workbench", "bandwidth", audit.model.source, "--problems", "honest.jsonl", "--out",
                   f"{beside.typed(directory)}/bits"]  # fmt: skip
        not_run("bits per thought: what can be read and what is used was not counted for this model",
                shlex.join(command))  # fmt: skip
        return
    name, record = found
    st.text(visible(headline(record)))
    for notice in notices(record):
        st.text(visible(notice))
    st.plotly_chart(bits_figure(record, theme=theme()), theme=None, key="sanity-bits", config=PLOT)
    _table([dict(zip(SHORT_COLUMNS, row, strict=True)) for row in short_rows(record)], "Bits per problem, by step")
    sizes = f"learned from {record.n_fit} problems, chosen on {record.n_search}, measured on {record.n_confirm}"
    st.text(f"Codes and probes: {sizes}. From the folder {name}.")


def causes(directory: Path, audit: AuditRecord) -> None:
    """Are the thoughts used?"""
    st.subheader("Are the thoughts used?", anchor=False)
    channel = audit.summary.channel
    st.text(f"Coverage: {coverage_words(channel)} (n = {channel.n}).")
    left, right = st.columns(2)
    with left:
        st.plotly_chart(causal_by_step(audit, theme=theme()), theme=None, key="sanity-causal", config=PLOT)
    with right:
        if any(step.doses for step in audit.steps):
            st.plotly_chart(dose_curves(audit, theme=theme()), theme=None, key="sanity-doses", config=PLOT)
    if channel.edits:
        _table(
            [
                {"edit": edit.edit, "on": edit.target, "said text moves": _counted(edit.said),
                 "answer moves": _counted(edit.answers), "claims move": _counted(edit.claims),
                 "answer is the donor's": _counted(edit.follows), "not tried": visible(edit.absent or "–")}
                for edit in channel.edits
            ],
            "What every edit of all steps does",
        )  # fmt: skip
    else:
        not_run("edits of keys and values: what carries the answer beside the thoughts is not known in detail",
                _again(directory, audit))  # fmt: skip
    _subspaces(audit)


def _subspaces(audit: AuditRecord) -> None:
    rows = [
        {"step": step.step, "dimensions": part.rank, "probe's part": _counted(part.inside),
         "random part": _counted(part.placebo), "difference": f"{part.minus_placebo:.2f}",
         "95 %": span(part.minus_placebo_interval), "p (McNemar)": number(part.p_value),
         "all the rest": _counted(part.outside)}
        for step in audit.steps if (part := step.subspace) is not None
    ]  # fmt: skip
    if rows:
        _table(rows, "What exchanging only the probe's part of a thought does, beside a random part")


def lag(audit: AuditRecord) -> None:
    """How far thoughts run ahead of words."""
    st.subheader("How far do thoughts run ahead of words?", anchor=False)
    st.plotly_chart(lag_histogram(audit, theme=theme()), theme=None, key="sanity-lag", config=PLOT)
