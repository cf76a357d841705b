"""The package is light to import, and its public names are the ones it says it has."""

from __future__ import annotations

import subprocess
import sys

import pytest

import probes


def test_every_public_name_is_there():
    for name in probes.__all__:
        assert getattr(probes, name).__name__ == name
    assert sorted(probes.__all__) == probes.__all__ == dir(probes)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(AttributeError, match=r"no name 'TextProb'; it has .*ValueProbe"):
        _ = probes.TextProb


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, probes; "
        "print([m for m in ('numpy', 'sklearn', 'scipy', 'torch', 'workbench') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert output.strip() == "[]"


def test_using_everything_imports_neither_torch_nor_the_workbench():
    code = (
        "import sys, probes; [getattr(probes, name) for name in probes.__all__]; "
        "print([m for m in ('torch', 'workbench', 'transformers', 'streamlit') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert output.strip() == "[]"
