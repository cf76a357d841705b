"""The commands around probes, as a person types them: fit, its dry run, apply."""

import pytest
from test_cli import one_json

from workbench.cli import run


def test_fit_with_a_plan(capsys, tmp_path, captured):
    plan = tmp_path / "plan.toml"
    plan.write_text('sites = ["thought"]\nsteps = [0, 2]\nheld_out = 0.4\n')
    capsys.readouterr()
    assert run(["fit", str(captured), "--out", str(tmp_path / "probes"), "--plan", str(plan), "--json"]) == 0
    value, err = one_json(capsys)
    assert [(row["site"], row["step"]) for row in value["fits"]] == [("thought", 0), ("thought", 2)]
    for row in value["fits"]:
        assert {"accuracy", "interval", "shuffled", "majority", "input_only", "n"} <= row.keys()
    assert err == ""
    assert (tmp_path / "probes" / "fit.json").is_file()
    assert run(["fit", str(captured), "--out", str(tmp_path / "again"), "--plan", str(plan)]) == 0
    out, err = capsys.readouterr()
    assert "Probes on held-out groups" in out
    assert "of 2 cells are readable; 0 are undefined" in out
    assert "fit: 2/2" in err
    assert (tmp_path / "probes" / "fit.json").read_bytes() == (tmp_path / "again" / "fit.json").read_bytes()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("layer = [1]", "layer"),
        ("sites = []", "sites"),
        ('sites = "thought"', "sites"),
        ("steps = [-1]", "steps"),
        ("steps = [0.5]", "steps"),
        ("held_out = 1.0", "held_out"),
        ("held_out = 0.0", "held_out"),
        ("seed = -1", "seed"),
        ("sites = [", "not valid TOML"),
        ('sites = ["nope"]', "nope"),
        ("steps = [99]", "no step"),
    ],
)
def test_fit_with_a_bad_plan(capsys, tmp_path, captured, text, key):
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    capsys.readouterr()
    assert run(["fit", str(captured), "--out", str(tmp_path / "probes"), "--plan", str(plan)]) == 2
    assert key in capsys.readouterr().err
    assert not (tmp_path / "probes").exists()


def test_a_dry_run_says_what_a_plan_comes_to_and_writes_nothing(capsys, tmp_path, captured):
    capsys.readouterr()
    assert run(["fit", str(captured), "--out", str(tmp_path / "probes"), "--dry-run", "--json"]) == 0
    value, _ = one_json(capsys)
    assert value["n_refits"] == 100 * value["n_cells"] > 0
    assert value["seconds"] > 0
    assert run(["fit", str(captured), "--out", str(tmp_path / "probes"), "--dry-run"]) == 0
    assert f"{value['n_fit']} to learn from, {value['n_held_out']} held out" in capsys.readouterr().out
    assert not (tmp_path / "probes").exists()


def test_probes_are_applied_to_a_run(capsys, tmp_path, captured):
    plan = tmp_path / "plan.toml"
    plan.write_text('sites = ["thought"]\nsteps = [0]\n')
    assert run(["fit", str(captured), "--out", str(tmp_path / "probes"), "--plan", str(plan)]) == 0
    capsys.readouterr()
    arguments = ["apply", str(tmp_path / "probes"), str(captured), "--out", str(tmp_path / "read")]
    assert run([*arguments, "--json"]) == 0
    value, _ = one_json(capsys)
    assert [one["name"] for one in value["probes"]] == ["thought.step0000"]
    assert run(arguments) == 0
    assert "thought.step0000" in capsys.readouterr().out
    assert run(["apply", str(tmp_path / "nowhere"), str(captured), "--out", str(tmp_path / "read")]) == 2
    assert "fit.json" in capsys.readouterr().err


def test_fit_needs_known_thoughts(capsys, tmp_path, model_folders):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"id": "{k}", "prompt": "start vault"}}\n' for k in range(30)))
    folder, out = str(model_folders["gpt2"]), str(tmp_path / "run")
    assert run(["capture", folder, "--problems", str(path), "--out", out, "--no-channel"]) == 0
    capsys.readouterr()
    assert run(["fit", out, "--out", str(tmp_path / "probes")]) == 2
    assert "thoughts" in capsys.readouterr().err
