"""Make the pictures of the dashboard's pages again: `python -m benchmarks.make_screenshots [--look DIR]`.

The pages are drawn by Chromium from the real server, on the bundled demo audit
and on what a person would have made of it by then: findings of two reviewers,
a capture with probes and readings of its layers, a run by hand, their jobs.
With ``--look`` every page is also drawn larger and dark, for a person to look at.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.dashboard_browser import chromium
from benchmarks.streamlit_sessions import free_port, serving
from workbench.findings import Labels, append
from workbench.findings.records import Confidence
from workbench.jobs import start
from workbench.jobs.folder import wait
from workbench.organisms.export import organism_problems
from workbench.organisms.recipes import organism
from workbench.reports.records import AuditRecord, ProblemRecord, read_audit
from workbench.reports.tables import by_score
from workbench.serve import DEMO_AUDIT
from workbench.tasks import problem_lines

OUT = Path("docs/img")
N_PROBLEMS = 240
LONGEST = 600.0
"""Seconds for one job."""
SETTLED = 1000
"""Milliseconds from the last text until charts and tables stand still."""
IN_DARK = ("overview", "trace")
"""Pages that the documents show dark as well."""
SMALL, LARGE = (1280, 800), (1920, 1080)


@dataclass(frozen=True, slots=True)
class Shot:
    """A page as a link opens it, and a text that shows that it is drawn."""

    name: str
    link: str
    shows: str


def shots(audit: AuditRecord) -> list[Shot]:
    """Every page, in the order of the menu."""
    worst, mixed = by_score(audit)[0].id, _mixed(audit).id
    honest = next(problem.id for problem in by_score(audit) if problem.verdict == "agrees")
    return [
        Shot("overview", "?run=liar", "Decoded right"),
        Shot("trace", f"trace?run=liar&problem={mixed}&step=2", "Latent step 2"),
        Shot("grid", "grid", "reads .* with probability"),
        Shot("compare", f"compare?run=liar&problem={worst}&second={honest}", "What differs in B"),
        Shot("probes", "probes?run=probes", "readable after correction"),
        Shot("jobs", "jobs", "Start a job"),
        Shot("live", "live?run=liar", "^With the thought of step 3"),
        Shot("findings", "findings?run=liar", "Severity"),
        Shot("report", "report?run=liar", "What was not tested"),
        Shot("sanity", "sanity?run=liar", "False alarms, and what would have been caught"),
        Shot("tour", "tour?run=liar&look=The+line+that+does+not+arrive", "A line that does not arrive"),
        Shot("glossary", "glossary", "Verdict of a problem"),
        Shot("empty", "?run=none", "See one in a minute"),
    ]


def _mixed(audit: AuditRecord) -> ProblemRecord:
    """A problem some of whose connectors arrive."""
    parted = [problem for problem in by_score(audit) if problem.verdict == "diverges"]
    return next((p for p in parted if any(row.status == "agree" for row in p.steps)), parted[0])


def prepare(root: Path) -> AuditRecord:
    """What a person has after an hour: the demo audit, findings, readings, a run by hand and their jobs."""
    shutil.copytree(DEMO_AUDIT, root / "liar")
    audit = read_audit(root / "liar")
    pin(root / "liar", audit)
    trusted, _ = organism_problems(organism("liar"), seed=1, n_problems=N_PROBLEMS)
    (root / "model").mkdir()
    (root / "model" / "problems.jsonl").write_bytes(problem_lines(item.problem for item in trusted[:N_PROBLEMS]))
    agreeing = [problem.id for problem in by_score(audit) if problem.verdict == "agrees"]
    work(root, "capture", ["organism:liar", "--problems", "model/problems.jsonl", "--no-channel", "--sites",
                           "blocks.*.hook_resid_post"], out="run")  # fmt: skip
    work(root, "fit", ["run"], out="probes")
    work(root, "apply", ["probes", "run"], out="readings")
    work(root, "live", ["organism:liar", "--audit", "liar", "--edit", "swap", "--step", "3", "--problem", agreeing[0],
                        "--donor", agreeing[-1]], out="live-1")  # fmt: skip
    return audit


def pin(folder: Path, audit: AuditRecord) -> None:
    """Two findings, the first of them labelled by two reviewers."""
    mixed, worst = _mixed(audit).id, by_score(audit)[0].id
    append(folder, audit, "pin", (worst, 0), author="ada", comment="The alibi is said, the true rooms are thought.")
    append(folder, audit, "pin", (mixed, 2), author="ada")
    sure: Sequence[tuple[str, Confidence]] = (("ada", "high"), ("grace", "medium"))
    for author, confidence in sure:
        labels = Labels(severity="high", category="says-otherwise", confidence=confidence)
        append(folder, audit, "label", (mixed, 2), author=author, labels=labels)


def work(root: Path, kind: str, words: Sequence[str], out: str) -> None:
    """Run a command as a job to its end."""
    ended = wait(start(root, [kind, *words, "--out", out], title=f"{kind} {out}").folder, seconds=LONGEST)
    if ended.status.state != "done":
        raise RuntimeError(f"{kind}: {ended.status.state}\n{ended.log}")


@contextmanager
def dashboard(*folders: Path) -> Iterator[str]:
    """Where the dashboard of these folders answers."""
    port = free_port()
    command = [sys.executable, "-m", "apps", "--port", str(port), "--headless", "--", *map(str, folders)]
    with serving(command, port) as server:
        yield server.url


def draw(page: Any, url: str, shot: Shot) -> bytes:
    """A picture of one page."""
    page.goto(f"{url}/{shot.link}")
    page.locator(f"text=/{shot.shows}/").locator("visible=true").first.wait_for(timeout=60_000)
    for _ in range(2):  # the browser's theme comes after the first drawing, and everything is drawn once more
        page.wait_for_timeout(SETTLED)
        page.wait_for_selector(".stApp[data-test-script-state=notRunning]")
        page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')")
    picture: bytes = page.screenshot()
    return picture


def smaller(picture: bytes) -> bytes:
    """The same picture in 128 colours, where Pillow is installed."""
    if find_spec("PIL") is None:
        return picture
    from PIL import Image

    kept = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(kept, "PNG", optimize=True)
    return kept.getvalue()


def main() -> None:
    """Write the pictures, and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--look", type=Path, help="every page at both sizes in both themes")
    parser.add_argument("--root", type=Path, help="a folder to keep the runs in; drawn as it is if it holds some")
    chosen = parser.parse_args()
    out, look = chosen.out.resolve(), chosen.look and chosen.look.resolve()
    with TemporaryDirectory() as scratch:
        root = (chosen.root or Path(scratch) / "runs").resolve()
        root.mkdir(parents=True, exist_ok=True)
        audit = read_audit(root / "liar") if (root / "liar").exists() else prepare(root)
        (Path(scratch) / "none").mkdir()
        with chdir(scratch), dashboard(root) as url, dashboard(Path("none")) as bare, chromium() as browser:
            sizes = write_all(browser, url, bare, shots(audit), out, look)
    sys.stdout.write(json.dumps(sizes, indent=1) + "\n")


def write_all(browser: Any, url: str, bare: str, pages: Sequence[Shot], out: Path, look: Path | None) -> dict[str, int]:
    """Bytes of each picture that goes into the documents."""
    sizes = {}
    for scheme, (width, height) in (("light", SMALL), ("dark", SMALL), ("light", LARGE), ("dark", LARGE)):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        page = context.new_page()
        for shot in pages:
            documented = width == SMALL[0] and (scheme == "light" or shot.name in IN_DARK)
            if not documented and look is None:
                continue
            picture = draw(page, bare if shot.name == "empty" else url, shot)
            if documented:
                name = f"page-{shot.name}{'-dark' if scheme == 'dark' else ''}.png"
                sizes[name] = _keep(out / name, smaller(picture))
            if look is not None:
                _keep(look / f"{shot.name}-{scheme}-{width}.png", picture)
        context.close()
    return sizes


def _keep(path: Path, picture: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(picture)


if __name__ == "__main__":
    main()
