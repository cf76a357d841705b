"""The document takes a person from an unknown model to a passing check: its own lines are run here."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from workbench.cli import main
from workbench.errors import ConfigError, SchemaError
from workbench.organisms.recipes import VOCABULARY
from workbench.reasoners.backbones import new_word_gpt2
from workbench.reasoners.loading import load_model
from workbench.tasks import Problem

DOCUMENT = (Path(__file__).parent.parent / "docs" / "adding-a-reasoner.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCUMENT, flags=re.DOTALL)
CODE = next(text for kind, text in BLOCKS if kind == "python")
ENTRY_POINT, RECIPE = (text for kind, text in BLOCKS if kind == "toml")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The document's package, as an installer would lay it down."""
    site = tmp_path / "site"
    info = site / "pondering-0.dist-info"
    info.mkdir(parents=True)
    (site / "pondering.py").write_text(CODE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pondering\nVersion: 0\n", encoding="utf-8")
    group, name, value = re.search(r'entry-points\."(.*?)"\]\n(\w+) = "(.*?)"', ENTRY_POINT).groups()
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("pondering", None)


@pytest.fixture
def folder(tmp_path, installed):
    import pondering

    folder = tmp_path / "model"
    folder.mkdir()
    torch.manual_seed(0)
    model = pondering.Ponderer(len(VOCABULARY), 16)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"d_vocab": len(VOCABULARY), "d_model": 16}), encoding="utf-8")
    new_word_gpt2(VOCABULARY, d_model=8, n_layers=1, n_heads=1, n_positions=8, seed=0)[1].save_pretrained(folder)
    (folder / "reasoner.toml").write_text(RECIPE, encoding="utf-8")
    return folder


def test_the_reasoner_is_short():
    reasoner = CODE[CODE.index("@dataclass") :]
    lines = [line for line in reasoner.splitlines() if line.strip()]
    assert 20 < len(lines) < 60


def test_an_unknown_model_passes_the_check(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check-model", str(folder), "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert all(check["passed"] for check in told["checks"])
    assert len(told["checks"]) >= 12


def test_its_thoughts_are_those_of_the_model_itself(folder):
    reasoner = load_model(str(folder), device="cpu").reasoner
    problem = Problem(id="p", prompt="start vault ; east 2")
    thoughts = reasoner.run([problem], read=["thought"])["thought"].vectors
    with torch.no_grad():
        hidden = reasoner.model(torch.tensor([reasoner.prompt_ids(problem)]), torch.zeros(1, 16))[1]
        for thought in thoughts:
            assert torch.allclose(thought, hidden[0], atol=1e-6)
            hidden = reasoner.model.cell(hidden, hidden)


def test_a_preset_that_nobody_brings_lists_those_there_are(folder):
    (folder / "reasoner.toml").write_text(RECIPE.replace('"ponder"', '"wonder"'), encoding="utf-8")
    with pytest.raises(SchemaError, match=r"coconut, .*, ponder$"):
        load_model(str(folder), device="cpu")


def test_a_package_that_cannot_be_loaded_says_so(folder, installed):
    entry = installed / "pondering-0.dist-info" / "entry_points.txt"
    entry.write_text(entry.read_text(encoding="utf-8").replace(":load", ":gone"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot be loaded.*gone") as caught:
        load_model(str(folder), device="cpu")
    assert caught.value.field == "preset"
