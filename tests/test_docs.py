"""What the documents promise is there: commands, exit codes, version; and no file points outside the repository."""

import re
import tomllib

import pytest
from conftest import ROOT

from workbench import __doc__ as summary
from workbench import cli
from workbench.errors import WorkbenchError

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_OURS = {
    ".git",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "runs",
    "dist",
}
OUTSIDE = ("../sha" + "red", "/wo" + "rk/")


def documented():
    """All documents; `workbench organism list / show` is written out, and what "does not exist yet" is left out."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    text = re.sub(
        r"workbench (\w+) (\w+(?: / \w+)+)",
        lambda found: " ".join(f"`workbench {found[1]} {name}`" for name in found[2].split(" / ")),
        text,
    )
    return re.sub(r"[^.]*\bdo(?:es)? not exist\s+yet\.", "", text)


def commands():
    single = [c.name or c.callback.__name__ for c in cli.app.registered_commands]
    grouped = [f"{g.name} {c.name}" for g in cli.app.registered_groups for c in g.typer_instance.registered_commands]
    return sorted(single + grouped)


def tree(kind=WorkbenchError):
    return {kind} | {below for child in kind.__subclasses__() for below in tree(child)}


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command):
    assert re.search(rf"workbench {command}\b", documented()), f"no document shows `workbench {command}`"


@pytest.mark.parametrize("code", sorted({0, 1, 3} | {kind.exit_code for kind in tree()}))
def test_every_exit_code_is_documented(code):
    table = re.search(r"\|\s*exit codes?\s*\|.*?\n((?:\|.*\n)+)", documented(), re.IGNORECASE)
    assert table, "no table of exit codes"
    assert re.search(rf"^\|\s*`?{code}`?\s*\|", table.group(1), re.MULTILINE), f"exit code {code} is not in the table"


def test_every_command_that_the_documents_show_exists():
    known = commands()
    lines = re.findall(
        r"(?:^|`)(?:\$ )?(?:python -m )?workbench ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", documented(), re.MULTILINE
    )
    assert len(lines) >= len(known)
    for shown in lines:
        assert shown in known or shown.split()[0] in known, f"`workbench {shown}` is shown but does not exist"


def test_every_link_between_documents_leads_somewhere():
    for path in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text):
            if not re.match(r"[a-z]+:", target):
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_newest_entry_of_the_changelog_is_this_version():
    entries = re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert entries[0] == PROJECT["version"]


def test_the_summary_of_the_package_is_that_of_the_project():
    assert summary == PROJECT["description"]


def test_the_exceptions_are_all_drawn_in_their_tree():
    from workbench import errors

    drawn = re.findall(r"(?:── )?([A-Z]\w+) ", errors.__doc__.partition("::")[2])
    assert {kind.__name__ for kind in tree()} <= set(drawn)


def texts():
    for path in sorted(ROOT.rglob("*")):
        if path.is_file() and not NOT_OURS & set(path.relative_to(ROOT).parts) and path.stat().st_size < 5_000_000:
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_no_file_points_outside_the_repository():
    seen = 0
    for path, text in texts():
        seen += 1
        for place in OUTSIDE:
            may = path.parent == ROOT / "tests" and "skip" in text
            assert place not in text or may, f"{path.relative_to(ROOT)} mentions {place}"
    assert seen > 100
