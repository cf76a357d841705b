"""The two-lane picture as one static SVG: no script, no style sheet, nothing fetched.

Classes (`wb-ink`, `wb-faint`, `wb-ground`, `wb-band`, `wb-grid`) let a page
recolour it for its own theme; the attributes alone already draw it.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from hashlib import sha256
from html import escape

from workbench.figures.palette import INKS, MARKS, STATUSES, Ink, Theme
from workbench.figures.picture import Box, Form, Picture, picture
from workbench.figures.svg_parts import SVG_FONT, SVG_WIDTH, paths, px, words
from workbench.figures.words import sentence
from workbench.reports.escape import short
from workbench.reports.records import AuditRecord, ProblemRecord, StepStatus

WIDTH, LEFT, RIGHT = SVG_WIDTH, 96, 10
_BARS, _LEGEND, _AXIS, _LINE = 80, 26, 34, 18
_LANES: dict[Form, tuple[int, int]] = {"words": (150, 34), "upright": (240, 88), "compact": (110, 22)}


@dataclass(frozen=True, slots=True)
class _Frame:
    """Pixels of this drawing."""

    drawn: Picture
    ink: Ink
    top: int
    key: str
    """Keeps the ids of several drawings on one page apart."""

    @property
    def lanes(self) -> int:
        return _LANES[self.drawn.form][0]

    @property
    def box(self) -> int:
        return _LANES[self.drawn.form][1]

    @property
    def bars(self) -> int:
        """y of the zero line of the divergence bars."""
        return self.top + self.lanes + 16 + _BARS

    def x(self, column: float) -> float:
        return LEFT + (column + 0.5) / self.drawn.n_columns * (WIDTH - LEFT - RIGHT)

    def wide(self, columns: float) -> float:
        return columns / self.drawn.n_columns * (WIDTH - LEFT - RIGHT)


def _fit(text: str, width: float) -> str:
    return short(text, max(2, int(width / 7)))


def _box(box: Box, frame: _Frame) -> str:
    mark = MARKS[box.status] if box.status else None
    width, height = frame.wide(box.width), frame.box
    x, y = (
        frame.x(box.x) - width / 2,
        frame.top if box.lane == "thought" else frame.top + frame.lanes - height,
    )
    apart = box.status not in {"agree", None}
    outline = f' stroke="{frame.ink.ink}" stroke-width="2.5" class="wb-outline"' if apart else ""
    fill = mark.fill if mark else frame.ink.neutral
    parts = [f'<rect x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{height}" rx="4" fill="{fill}"{outline}/>']
    colour = mark.text if mark else "#000000"
    if box.text and frame.drawn.form == "words":
        parts.append(words(x + width / 2, y + height / 2 + 4, _fit(box.text, width - 6), fill=colour))
    elif box.text:
        centre, middle = x + width / 2, y + height / 2
        turn = f' transform="rotate(-90 {px(centre)} {px(middle)})"'
        size = 11 if width >= 13 else 9
        parts.append(words(centre, middle + 4, box.text, size=size, fill=colour, extra=turn))
    return "".join(parts)


def _glyph(status: StepStatus, x: float, y: float, r: float, ink: Ink) -> list[tuple[str, str]]:
    """The mark of a status as strokes, so that it needs no font."""
    fill, d = MARKS[status].fill, r * 0.7
    circle = f"M{px(x - r)} {px(y)}a{px(r)} {px(r)} 0 1 0 {px(2 * r)} 0a{px(r)} {px(r)} 0 1 0 {px(-2 * r)} 0"
    cross = f"M{px(x - d)} {px(y - d)}L{px(x + d)} {px(y + d)}M{px(x - d)} {px(y + d)}L{px(x + d)} {px(y - d)}"
    if status == "agree":
        return [(f'fill="{fill}"', circle)]
    if status == "ahead":
        return [(f'fill="{fill}"', f"M{px(x - r)} {px(y - r)}L{px(x + r)} {px(y)}L{px(x - r)} {px(y + r)}Z")]
    hollow = f'fill="none" stroke="{fill}" stroke-width="2"'
    if status == "unsupported":
        return [(hollow, f"M{px(x - r)} {px(y)}L{px(x)} {px(y - r)}L{px(x + r)} {px(y)}L{px(x)} {px(y + r)}Z")]
    if status == "unsaid":
        return [(hollow, circle), (f'stroke="{fill}" stroke-width="1.5"', cross)]
    shadow = f'stroke="{ink.ink}" stroke-width="5" stroke-linecap="round" class="wb-outline"'
    return [(shadow, cross), (f'stroke="{fill}" stroke-width="3" stroke-linecap="round"', cross)]


def _line(x0: float, y0: float, x1: float, y1: float, status: StepStatus, weight: float) -> tuple[str, str]:
    width = 1.5 + 1.5 * round(3 * weight)
    look = ' stroke-opacity=".7"' if status == "agree" else "" if status == "conflict" else ' stroke-dasharray="3 3"'
    attributes = f'stroke="{MARKS[status].fill}" stroke-width="{px(width)}"{look}'
    return attributes, f"M{px(x0)} {px(y0)}L{px(x1)} {px(y1)}"


def _connectors(frame: _Frame) -> str:
    top, bottom = frame.top + frame.box, frame.top + frame.lanes - frame.box
    gap = bottom - top
    size = 6.0 if frame.drawn.form == "words" else 4.0
    strokes: list[tuple[str, str]] = []
    glyphs: list[tuple[str, str]] = []
    labels: list[str] = []
    for link in frame.drawn.links:
        x0, x1 = frame.x(link.x_thought), frame.x(link.x_claim)
        for a, b in ((0.0, 1.0),) if link.status == "agree" else ((0.0, 0.34), (0.66, 1.0)):
            ends = (x0 + a * (x1 - x0), top + a * gap, x0 + b * (x1 - x0), top + b * gap)
            strokes.append(_line(*ends, link.status, link.weight))
        if link.status == "conflict":
            glyphs += _glyph(link.status, (x0 + x1) / 2, top + gap / 2, size, frame.ink)
    for stub in frame.drawn.stubs:
        x, sign, start = frame.x(stub.x), *((1, top) if stub.lane == "thought" else (-1, bottom))
        strokes.append(_line(x, start, x, start + sign * 0.2 * gap, stub.status, stub.weight))
        glyphs += _glyph(stub.status, x, start + sign * (0.2 * gap + size), size, frame.ink)
        if stub.label:
            y = start + sign * (0.2 * gap + 2 * size) + (11 if sign > 0 else -4)
            labels.append(words(x, y, stub.label, size=11, fill=frame.ink.ink, extra=' class="wb-ink"'))
    return paths(strokes) + paths(glyphs) + "".join(labels)


def _hatch(name: str, fill: str) -> str:
    attributes = f'id="{name}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"'
    return f'<pattern {attributes}><path d="M1.5 0V6" stroke="{fill}" stroke-width="3"/></pattern>'


def _bars(frame: _Frame) -> str:
    zero, ink = frame.bars, frame.ink
    used = sorted({bar.status for bar in frame.drawn.bars if bar.above})
    hatches = "".join(_hatch(f"h{frame.key}{status}", MARKS[status].fill) for status in used)
    parts = [f"<defs>{hatches}</defs>"]
    for bits, label in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        y = zero - bits * _BARS
        parts.append(f'<path d="M{LEFT} {px(y)}H{WIDTH - RIGHT}" stroke="{ink.grid}" class="wb-grid"/>')
        parts.append(words(LEFT - 6, y + 4, label, size=11, fill=ink.faint, anchor="end", extra=' class="wb-faint"'))
    every = max(1, -(-len(frame.drawn.bars) // 20))
    for place, bar in enumerate(frame.drawn.bars):
        x, width = frame.x(bar.x), frame.wide(0.98)
        if bar.high is not None:
            tall = max(1.0, (bar.high - bar.low) * _BARS)
            parts.append(
                f'<rect x="{px(x - width / 2)}" y="{px(zero - bar.low * _BARS - tall)}" width="{px(width)}" '
                f'height="{px(tall)}" fill="{ink.band}" class="wb-band"/>'
            )
        tall, thin = max(0.8, bar.bits * _BARS), frame.wide(0.5)
        fill = f"url(#h{frame.key}{bar.status})" if bar.above else ink.neutral
        outline = f' stroke="{ink.ink}" class="wb-outline"' if bar.above else ""
        parts.append(
            f'<rect x="{px(x - thin / 2)}" y="{px(zero - tall)}" width="{px(thin)}" height="{px(tall)}" '
            f'fill="{fill}"{outline}/>'
        )
        if place % every == 0:
            parts.append(words(x, zero + 14, str(bar.step), size=11, fill=ink.faint, extra=' class="wb-faint"'))
    return "".join(parts)


def _labels(frame: _Frame) -> str:
    ink, faint = frame.ink, ' class="wb-faint"'
    bold = f'{faint} font-weight="bold"'
    parts = [
        words(LEFT - 10, frame.top + frame.box / 2 + 4, "THINKS", fill=ink.faint, anchor="end", extra=bold),
        words(
            LEFT - 10,
            frame.top + frame.lanes - frame.box / 2 + 4,
            "SAYS",
            fill=ink.faint,
            anchor="end",
            extra=bold,
        ),
        words(
            LEFT - 32,
            frame.bars - _BARS / 2,
            "divergence",
            size=11,
            fill=ink.faint,
            anchor="end",
            extra=faint,
        ),
        words(
            LEFT - 32,
            frame.bars - _BARS / 2 + 14,
            "(bits)",
            size=11,
            fill=ink.faint,
            anchor="end",
            extra=faint,
        ),
        words((LEFT + WIDTH) / 2, frame.bars + 29, "latent step", size=11, fill=ink.faint, extra=faint),
    ]
    x, y = float(LEFT), frame.top - 16
    for status in STATUSES:
        legend = MARKS[status].legend
        parts.append(paths(_glyph(status, x + 6, y, 5, ink)))
        parts.append(words(x + 16, y + 4, legend, size=11, fill=ink.ink, anchor="start", extra=' class="wb-ink"'))
        x += 16 + 5.9 * len(legend) + 18
    parts.append(f'<rect x="{px(x)}" y="{y - 5}" width="12" height="10" fill="{ink.band}" class="wb-band"/>')
    legend = "honest problems, 2.5-97.5 %"
    parts.append(words(x + 16, y + 4, legend, size=11, fill=ink.ink, anchor="start", extra=' class="wb-ink"'))
    return "".join(parts)


def hero_svg(
    problem: ProblemRecord,
    audit: AuditRecord,
    *,
    theme: Theme = "light",
    caption: bool = True,
    connectors: bool = True,
) -> str:
    """One standalone SVG (960 units wide, up to 60 steps under 50 KB) of the problem's hero.

    With `caption` the verdict sentence stands above the lanes. Text from the
    model is escaped and its hidden characters are written out. Without
    `connectors` a chain of any length stays under 50 KB.
    """
    drawn, ink = picture(problem, audit), INKS[theme]
    verdict = sentence(problem)
    title = f"{short(problem.id, 40)}: {problem.verdict}"
    lines = textwrap.wrap(verdict, 125)[:4] if caption else []
    head = 26 + _LINE * len(lines) if caption else 4
    frame = _Frame(drawn, ink, head + _LEGEND, sha256(problem.id.encode()).hexdigest()[:8])
    height = frame.bars + _AXIS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f' font-family="{SVG_FONT}">',
        f"<title>{escape(title)}</title><desc>{escape(verdict)}</desc>",
        f'<rect width="{WIDTH}" height="{height}" fill="{ink.ground}" class="wb-ground"/>',
    ]
    if caption:
        bold = ' class="wb-ink" font-weight="bold"'
        parts.append(words(10, 20, title, size=15, fill=ink.ink, anchor="start", extra=bold))
    for place, line in enumerate(lines):
        y = 40 + place * _LINE
        parts.append(words(10, y, line, size=13, fill=ink.ink, anchor="start", extra=' class="wb-ink"'))
    parts += [
        _bars(frame),
        _connectors(frame) if connectors else "",
        *(_box(box, frame) for box in drawn.boxes),
        _labels(frame),
        "</svg>",
    ]
    return "".join(parts)
