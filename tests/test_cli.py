"""The command line in-process: exit codes, one JSON value on stdout, help with examples, and quick starts."""

import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest
from conftest import ROOT

from workbench import cli, doctor, errors
from workbench.cli import run
from workbench.organisms import ORGANISMS, bundled
from workbench.reasoners.contract import CHECKS
from workbench.store import RunStore

COMMANDS = [
    ["demo"], ["check-model"], ["capture"], ["fit"], ["audit"], ["intervene"], ["verify"], ["dashboard"],
    ["doctor"], ["bandwidth"], ["benchmark"], ["compare"], ["live"], ["report"], ["apply"], ["convert"],
    ["organism", "list"], ["organism", "show"], ["organism", "train"], ["organism", "export"],
]  # fmt: skip


def one_json(capsys):
    """The one JSON value on stdout, and what stderr got."""
    out, err = capsys.readouterr()
    value, end = json.JSONDecoder().raw_decode(out)
    assert out[end:] == "\n"
    return value, err


# Help and usage


def test_the_commands_are_those():
    registered = [[c.name or c.callback.__name__] for c in cli.app.registered_commands]
    groups = [[g.name, c.name] for g in cli.app.registered_groups for c in g.typer_instance.registered_commands]
    assert sorted(registered + groups) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_with_an_example(capsys, command, flag):
    assert run([*command, flag]) == 0
    out, err = capsys.readouterr()
    example = " ".join(out.partition("Example:")[2].split())
    assert example.startswith(f"workbench {' '.join(command)}")
    assert "--json" in out
    assert err == ""


def test_help_of_the_whole_lists_every_command(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command[0]} " in out for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["--nope"],
        ["organism"],
        ["organism", "nope"],
        ["capture"],
        ["capture", "organism:liar"],
        ["capture", "organism:liar", "--problems", "p.jsonl"],
        ["capture", "organism:liar", "--problems", "p.jsonl", "--out", "x", "--seed", "-1"],
        ["capture", "organism:liar", "--problems", "p.jsonl", "--out", "x", "--seed", "one"],
        ["capture", "organism:liar", "--problems", "p.jsonl", "--out", "x", "--threads", "0"],
        ["fit"],
        ["audit", "organism:liar", "--problems", "p.jsonl", "--out", "x"],
        ["verify"],
        ["check-model"],
        ["check-model", "a", "b"],
        ["dashboard", "--port", "0"],
        ["dashboard", "--port", "70000"],
        ["organism", "show"],
        ["organism", "export", "liar", "--out", "x", "--n-problems", "0"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_2_and_write_nothing(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert list(tmp_path.iterdir()) == []
    out, err = capsys.readouterr()
    assert "Usage:" in out + err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["capture", "organism:nobody", "--problems", "{good}", "--out", "x"], "no organism 'nobody'"),
        (["capture", "nowhere", "--problems", "{good}", "--out", "x"], "no such model folder"),
        (["capture", "{model}", "--problems", "nowhere.jsonl", "--out", "x"], "no such file"),
        (["capture", "{model}", "--problems", "{bad}", "--out", "x"], "line 1"),
        (["capture", "{model}", "--problems", "{good}", "--out", "x", "--sites", "nope"], "no site 'nope'"),
        (["capture", "{model}", "--problems", "{good}", "--out", "x", "--device", "banana"], "no such device"),
        (["fit", "nowhere", "--out", "x", "--plan", "nowhere.toml"], "no such file"),
        (["audit", "{model}", "--calibration", "{good}", "--problems", "{good}", "--out", "x", "--fail-on", "lies"],
         "unknown gate"),
        (["audit", "{model}", "--calibration", "{good}", "--problems", "{good}", "--out", "x", "--alpha", "1.5"],
         "alpha"),
        (["verify", "."], "no audit, no fit and no run"),
        (["check-model", "{model}", "--problems", "nowhere.jsonl"], "no such file"),
        (["check-model", "{model}", "--device", "banana"], "no such device"),
        (["dashboard", "nowhere"], "no such folder"),
        (["organism", "show", "nobody"], "no organism 'nobody'"),
        (["organism", "train", "nobody", "--out", "x"], "no organism 'nobody'"),
        (["organism", "export", "nobody", "--out", "x"], "no organism 'nobody'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else None,
)  # fmt: skip
@pytest.mark.parametrize("as_json", [False, True])
def test_tool_errors_are_2_and_say_what_to_do(
    capsys, tmp_path, monkeypatch, model_folders, problems, arguments, message, as_json
):
    (tmp_path / "bad.jsonl").write_text('{"id": 1}\n')
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    names = {"good": problems, "bad": tmp_path / "bad.jsonl", "model": model_folders["gpt2"]}
    filled = [argument.format(**names) for argument in arguments]
    capsys.readouterr()
    assert run(filled + ["--json"] * as_json) == 2
    if as_json:
        value, err = one_json(capsys)
        assert value["exit_code"] == 2
        assert issubclass(getattr(errors, value["error"]), errors.WorkbenchError)
        assert message in value["message"]
    else:
        out, err = capsys.readouterr()
        assert out == ""
    assert "error: " in err
    assert message in err
    assert "Traceback" not in err
    assert list(here.iterdir()) == []


def test_debug_shows_where_an_error_came_from(capsys):
    with pytest.raises(errors.SchemaError):
        run(["verify", "nowhere", "--debug"])


def test_control_characters_of_a_file_do_not_reach_the_terminal(capsys, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": "\\u001b[2J", "prompt": 4}\n{"id": "\\u202e", "\\u001b]0;x": 1}\n')
    assert run(["capture", "organism:liar", "--problems", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "x")]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err


def test_an_interruption_is_130(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "diagnose", interrupt)
    assert run(["doctor"]) == 130
    assert "interrupted" in capsys.readouterr().err


# Commands


def test_check_model_of_a_model_that_fits(capsys, model_folders):
    assert run(["check-model", str(model_folders["gpt2"])]) == 0
    out = capsys.readouterr().out
    assert "feedback/coconut, 4 latent steps" in out
    assert "blocks.1.attn.hook_v" in out
    assert "The model fits." in out
    assert run(["check-model", str(model_folders["llama"]), "--json"]) == 0
    value, err = one_json(capsys)
    assert value["passed"] is True
    assert value["steps"] == 4
    assert len(value["checks"]) == len(CHECKS)
    assert value["sites"]["thought"] == {"d_model": 32}
    assert err == ""


def test_check_model_on_given_problems(capsys, model_folders, problems):
    assert run(["check-model", str(model_folders["gpt2"]), "--problems", str(problems), "--json"]) == 0
    assert one_json(capsys)[0]["passed"] is True


def test_check_model_of_a_model_that_breaks_the_contract(capsys, model_folders, monkeypatch):
    from workbench.reasoners.feedback import FeedbackReasoner

    monkeypatch.setattr(FeedbackReasoner, "unembed", lambda self, vectors, site: 2 * self.backbone.unembed(vectors))
    assert run(["check-model", str(model_folders["gpt2"]), "--json"]) == 1
    value, _ = one_json(capsys)
    assert [check["passed"] for check in value["checks"]] == [True] * (len(CHECKS) - 1) + [False]
    assert value["passed"] is False
    assert run(["check-model", str(model_folders["gpt2"])]) == 1
    out = capsys.readouterr().out
    assert "FAILS" in out
    assert "The model does not fit." in out


@pytest.mark.parametrize("kind", ["absent", "cut off", "recipe", "pickled"])
def test_check_model_of_a_model_that_cannot_be_loaded(capsys, model_folder, kind):
    weights, recipe = model_folder / "model.safetensors", model_folder / "reasoner.toml"
    if kind == "cut off":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif kind == "recipe":
        recipe.write_text(recipe.read_text().replace("steps = 4", "steps = 0"))
    elif kind == "pickled":
        weights.rename(model_folder / "pytorch_model.bin")
    target = model_folder / "gone" if kind == "absent" else model_folder
    assert run(["check-model", str(target), "--json"]) == 1
    value, err = one_json(capsys)
    assert value["exit_code"] == 1
    assert str(model_folder) in value["path"]
    assert str(model_folder) in err
    assert errors.SchemaError("x").exit_code == errors.UntrustedFormat("x").exit_code == 2
    assert errors.CorruptArtifact("x").exit_code == 4


def test_capture_tells_progress_on_stderr_and_the_result_on_stdout(capsys, tmp_path, model_folders, problems):
    arguments = ["capture", str(model_folders["gpt2"]), "--problems", str(problems), "--out", str(tmp_path / "run")]
    capsys.readouterr()
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    store = RunStore(tmp_path / "run")
    assert store.root in out
    assert "120 problems, 6 sites" in out
    assert "capture: 120/120" in err
    assert "capture:" not in out
    assert run([*arguments, "--json"]) == 0
    value, err = one_json(capsys)
    assert (value["root"], value["n_problems"], value["sites"]) == (store.root, 120, sorted(store.sites))
    assert err == ""


def test_capture_keeps_the_sites_that_were_asked_for(capsys, tmp_path, model_folders, problems):
    arguments = ["capture", str(model_folders["gpt2"]), "--problems", str(problems), "--out", str(tmp_path / "run")]
    assert (
        run([*arguments, "--no-channel", "--sites", "blocks.*.hook_resid_post", "--sites", "ln_final*", "--json"]) == 0
    )
    sites = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "ln_final.hook_out", "thought", "thought.unused"]
    assert one_json(capsys)[0]["sites"] == sites
    assert run([*arguments, "--json"]) == 2
    assert "other settings" in one_json(capsys)[0]["message"]


def test_verify_of_a_run_before_and_after_damage(capsys, tmp_path, captured):
    copy = tmp_path / "run"
    shutil.copytree(captured, copy)
    assert run(["verify", str(copy), "--json"]) == 0
    value, _ = one_json(capsys)
    assert (value["kind"], value["root"]) == ("run", RunStore(copy).root)
    assert run(["verify", str(copy)]) == 0
    assert "is as recorded" in capsys.readouterr().out
    shard = next(copy.rglob("*.safetensors"))
    whole = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run(["verify", str(copy), "--json"]) == 4
    value, err = one_json(capsys)
    assert (value["error"], value["exit_code"]) == ("HashMismatch", 4)
    assert shard.name in err
    assert run(["fit", str(copy), "--out", str(tmp_path / "probes")]) == 4
    shard.unlink()
    assert run(["verify", str(copy)]) == 4


def test_organism_list(capsys):
    assert run(["organism", "list", "--json"]) == 0
    value, _ = one_json(capsys)
    assert [(o["name"], o["bundled"]) for o in value] == [(name, name in bundled()) for name in ORGANISMS]
    assert run(["organism", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ORGANISMS)


def test_organism_show_and_export(capsys, tmp_path):
    assert run(["organism", "show", "liar", "--json"]) == 0
    assert "liar" in json.dumps(one_json(capsys)[0])
    arguments = ["organism", "export", "liar", "--out", str(tmp_path / "liar"), "--n-calibration", "5"]
    assert run([*arguments, "--n-problems", "7", "--json"]) == 0
    assert one_json(capsys)[0] == {"out": str(tmp_path / "liar"), "n_calibration": 5, "n_problems": 7}
    lines = {p.name: p.read_text() for p in (tmp_path / "liar").glob("*.jsonl")}
    assert {name: text.count("\n") for name, text in lines.items()} == {
        "calibration.jsonl": 5,
        "problems.jsonl": 7,
        "truth.jsonl": 7,
    }
    assert "thoughts" not in lines["problems.jsonl"]
    assert run([*arguments, "--json"]) == 2
    assert "not empty" in one_json(capsys)[0]["message"]


def test_doctor(capsys, monkeypatch):
    code = run(["doctor", "--json"])
    findings, _ = one_json(capsys)
    named = {finding["name"]: finding for finding in findings}
    assert named["torch"]["found"] == version("torch")
    assert {"python", "device", "write access here", "free disk", "bundled organisms"} <= named.keys()
    assert code == (0 if all(finding["ok"] for finding in findings) else 2)
    assert all(finding["ok"] or finding["advice"] for finding in findings)
    monkeypatch.setattr(doctor, "PACKAGES", {"torch": "99.0", "no-such-package": "1.0"})
    assert run(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "MISSING" in out
    assert "pip install 'no-such-package>=1.0'" in out
    assert "pip install 'torch>=99.0'" in out


def test_dashboard_with_a_taken_port(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["dashboard", str(tmp_path), "--port", str(port), "--no-browser"]) == 2
    assert f"port {port} is taken" in capsys.readouterr().err


# Starts


@pytest.mark.parametrize(
    "code",
    ["import workbench", "import probes", "import workbench.errors, workbench.jsonio",
     "from workbench.cli import run; run(['--help'])", "from workbench.cli import run; run(['audit', '--help'])"],
)  # fmt: skip
def test_starting_loads_nothing_heavy(code):
    heavy = ("torch", "streamlit", "sklearn", "transformers", "pandas", "plotly", "scipy")
    program = f"{code}\nimport sys\nprint('loaded', [name for name in {heavy!r} if name in sys.modules])"
    child = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert child.stdout.splitlines()[-1] == "loaded []"
    assert child.stderr == ""


def test_running_as_a_module_gives_the_exit_code(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for arguments, code in ((["--help"], 0), (["nope"], 2), (["verify", "nowhere"], 2)):
        command = [sys.executable, "-m", "workbench", *arguments]
        child = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert child.returncode == code
