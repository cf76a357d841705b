"""A finished audit in a notebook: what a cell shows is static, small, and needs neither script nor network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go

from workbench.figures import hero, hero_svg, sentence
from workbench.figures.palette import INKS, Theme
from workbench.reports.escape import short, visible
from workbench.reports.headline import headlines, notices, verdict_line
from workbench.reports.limits import uncontrolled
from workbench.reports.records import AuditRecord, ProblemRecord, read_audit
from workbench.reports.tables import by_score, listed_rows
from workbench.serve import DEMO_AUDIT

DEMO = "demo"
LIMIT = 50_000
"""Bytes of a cell: notebooks are kept, compared and sent."""
LISTED, LONGEST = 5, 60
"""Problems that the cell of an audit lists, and characters of a text it shows."""


def _colours(theme: Theme) -> str:
    ink = INKS[theme]
    return (
        f"--wb-ground:{ink.ground};--wb-ink:{ink.ink};--wb-faint:{ink.faint};--wb-grid:{ink.grid};--wb-band:{ink.band}"
    )


def _themed(theme: Theme, *hosts: str) -> str:
    return ",".join(f"{host} .wb-cell" for host in hosts) + f"{{{_colours(theme)}}}"


STYLE = (
    f".wb-cell{{{_colours('light')};background:var(--wb-ground);color:var(--wb-ink);padding:8px;max-width:980px;"
    "font:14px/1.45 Helvetica Neue,Arial,sans-serif;overflow-wrap:anywhere}"
    f"@media (prefers-color-scheme:dark){{.wb-cell{{{_colours('dark')}}}}}"
    + _themed("light", "[data-jp-theme-light=true]", ".vscode-light", "html[theme=light]")
    + _themed("dark", "[data-jp-theme-light=false]", ".vscode-dark", "html[theme=dark]")
    + ".wb-cell svg{display:block;width:100%;height:auto}.wb-cell .wb-ink{fill:var(--wb-ink)}"
    ".wb-cell .wb-faint{fill:var(--wb-faint)}.wb-cell .wb-ground{fill:none}.wb-cell .wb-band{fill:var(--wb-band)}"
    ".wb-cell .wb-grid{stroke:var(--wb-grid)}.wb-cell .wb-outline{stroke:var(--wb-ink)}"
    ".wb-cell p{margin:4px 0}.wb-cell table{border-collapse:collapse;font-size:13px;margin:6px 0}"
    ".wb-cell td,.wb-cell th{text-align:left;padding:2px 12px 2px 0;color:var(--wb-ink);background:none}"
)
"""Follows JupyterLab, VS Code and Colab, elsewhere the system; without it the drawing's own light colours stand."""


def _cell(*parts: str) -> str:
    return f'<div class="wb-cell"><style>{STYLE}</style>{"".join(parts)}</div>'


def _text(text: str, tag: str = "p") -> str:
    return f"<{tag}>{escape(visible(text))}</{tag}>"


@dataclass(frozen=True, slots=True, repr=False)
class ProblemView:
    """One problem of an audit; a cell shows its hero."""

    record: ProblemRecord
    audit: AuditRecord
    run: str
    """Name of the audit's folder."""

    def __repr__(self) -> str:
        return f"{visible(self.record.id)}: {sentence(self.record)}"

    def _repr_html_(self) -> str:
        """Below `LIMIT`, whatever the model said and however long it thought."""
        whole = _cell(hero_svg(self.record, self.audit))
        if len(whole.encode()) < LIMIT:
            return whole
        left_out = _text("Too many connectors for a cell: they are left out here, and drawn by .hero().")
        return _cell(hero_svg(self.record, self.audit, connectors=False), left_out)

    def hero(self, *, theme: Theme = "light") -> go.Figure:
        """The figure of the dashboard, which can be pointed at; Plotly makes a cell with it some MB large."""
        return hero(self.record, self.audit, theme=theme)

    def link(self, address: str = "http://127.0.0.1:8501") -> str:
        """This problem in a dashboard that runs at `address`."""
        return f"{address}/trace?{urlencode({'run': visible(self.run), 'problem': visible(self.record.id)})}"


@dataclass(frozen=True, slots=True, repr=False)
class AuditView:
    """A finished audit; a cell shows verdict, numbers beside their controls, and the most divergent problems."""

    record: AuditRecord
    run: str

    def __repr__(self) -> str:
        return f"audit of {visible(self.record.model.source)}: {verdict_line(self.record)}"

    def __len__(self) -> int:
        return len(self.record.problems)

    def __getitem__(self, which: int | str) -> ProblemView:
        """By place, the most divergent first, or by id.

        Raises:
            IndexError: fewer problems.
            SchemaError: no problem of this id.
        """
        found = self.record.problem(which) if isinstance(which, str) else by_score(self.record)[which]
        return ProblemView(found, self.record, self.run)

    def __iter__(self) -> Iterator[ProblemView]:
        return (ProblemView(one, self.record, self.run) for one in by_score(self.record))

    def _repr_html_(self) -> str:
        told = [_text(repr(self)), *(_text(notice.text) for notice in notices(self.record))]
        absent = uncontrolled(self.record)
        told += [_text(f"Uncontrolled: not run in this audit: {', '.join(absent)}.")] if absent else []
        numbers = [(row.name, row.value, row.control, row.interval, row.n) for row in headlines(self.record)]
        worst = [
            (short(row["problem"], LONGEST), row["verdict"], row["score"], row["what was found"])
            for row in listed_rows(self.record)[:LISTED]
        ]
        tables = [
            _table(("what", "value", "beside", "95 % interval", "n"), numbers),
            _table(("problem", "verdict", "score", "what was found"), worst),
        ]
        return _cell(*told, *tables)

    def steps(self) -> pd.DataFrame:
        """A row for every thought, and every claim that none stands against, each beside what it is compared with.

        `control` is the accuracy of the step's probe with shuffled labels, `band_high` what 97.5 % of honest problems
        stay below in `divergence_bits`. Texts are as they came: hidden characters are not written out.
        """
        summaries = {step.step: step for step in self.record.steps}
        rows = []
        for problem in by_score(self.record):
            for row in problem.steps:
                beside = None if row.step is None else summaries.get(row.step)
                rows.append({
                    "problem": problem.id, "verdict": problem.verdict, "step": row.step, "reads": row.decoded,
                    "confidence": row.confidence, "said": row.said, "status": row.status,
                    "divergence_bits": row.divergence_bits, "band_high": None if beside is None else beside.band.high,
                    "p_value": row.p_value, "unseen_p": row.unseen_p, "norm": row.norm,
                    "decode_accuracy": None if beside is None else beside.decode_accuracy,
                    "control": None if beside is None else beside.control,
                })  # fmt: skip
        return pd.DataFrame(rows).astype({"step": "Int64"}) if rows else pd.DataFrame()


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(_text(name, "th") for name in columns)
    body = "".join(f"<tr>{''.join(_text(cell, 'td') for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def load(folder: str | Path = DEMO) -> AuditView:
    """The audit in a folder, for a notebook; ``demo`` is the one that came with the program.

    Raises:
        SchemaError: the folder holds no audit that can be read.
    """
    directory = DEMO_AUDIT if str(folder) == DEMO else Path(folder)
    return AuditView(read_audit(directory), directory.resolve().name)
