"""Pickled weights become safetensors, or one clear error and nothing at all; what a pickle would run never runs."""

import json
import os
import pickle  # noqa: TID251  # to write what must never be run
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from workbench import convert as convert_module
from workbench import convert_worker
from workbench.cli import run
from workbench.convert import Limits, convert
from workbench.errors import (
    ConfigError,
    CorruptArtifact,
    Interrupted,
    LimitExceeded,
    SchemaError,
    UntrustedFormat,
)
from workbench.reasoners.loading import load_model
from workbench.tasks import Problem


class Command:
    """Unpickling this runs a command of the shell."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.fixture
def pickled_folder(model_folder):
    """A model folder as it was before safetensors, with code and a training's leavings in it."""
    weights = load_file(model_folder / "model.safetensors")
    weights["lm_head.weight"] = weights["transformer.wte.weight"]  # tied: one memory under two names
    torch.save(weights, model_folder / "pytorch_model.bin")
    (model_folder / "model.safetensors").unlink()
    (model_folder / "modeling_evil.py").write_text("raise SystemExit")
    (model_folder / "chat_template.py").write_text("raise SystemExit")
    torch.save({"lr": 1.0}, model_folder / "training_args.bin")
    return model_folder


@pytest.fixture
def source(tmp_path):
    """Writes one file of torch.save and names it."""

    def write(content, name="weights.pt", **how):
        path = tmp_path / "source" / name
        path.parent.mkdir(exist_ok=True)
        torch.save(content, path, **how)
        return path

    return write


def left_behind(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in ("source", "model"))


# What is written.


def test_a_converted_folder_is_the_model_that_it_was(pickled_folder, tmp_path, model_folders):
    done = convert(pickled_folder, tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    names = {"config.json", "generation_config.json", "reasoner.toml", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in out.iterdir()} == names | {"model.safetensors"}
    assert set(done.copied) == names
    assert (done.sources, done.left_out) == ((str(pickled_folder / "pytorch_model.bin"),), ())
    problems = [Problem(id="p", prompt="start atrium ; east 2")]
    before = load_model(str(model_folders["gpt2"]), device="cpu").reasoner.run(problems).first_logits
    after = load_model(str(out), device="cpu").reasoner.run(problems).first_logits
    assert torch.allclose(after, before, atol=1e-5)
    was = load_file(model_folders["gpt2"] / "model.safetensors")
    assert all(torch.equal(now, was[name]) for name, now in load_file(out / "model.safetensors").items() if name in was)
    assert left_behind(tmp_path) == ["deep"]


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_keep_name_type_and_value(source, tmp_path, zipped):
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "whole": whole, "tied": whole, "row": whole[1], "turned": whole.T, "half": whole.bfloat16(),
        "number": torch.tensor(3), "flag": torch.tensor([True, False]), "none": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    convert(source(tensors, _use_new_zipfile_serialization=zipped), tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(written[name].dtype == tensors[name].dtype for name in tensors)
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module"])
def test_weights_under_a_known_key_are_found(key):
    weights = {"a": torch.ones(2)}
    assert convert_worker.unwrap({"epoch": 3, key: weights}) == (weights, key, ["epoch"])


def test_weights_beside_other_things_are_taken_out_and_the_rest_is_named(source, tmp_path):
    plain = {"model": {"a": torch.ones(2)}, "epoch": 3, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}
    done = convert(source(plain), tmp_path / "out")
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == {"a"}
    assert done.left_out == ("epoch", "optimizer")


def test_a_file_without_a_suffix_takes_what_lies_beside_it(source, tmp_path):
    """Coconut's training loop names its files `checkpoint_1`."""
    path = source({"a": torch.ones(2)}, "checkpoint_12")
    (path.parent / "config.json").write_text("{}")
    (tmp_path / "out").mkdir()
    assert convert(path, tmp_path / "out").copied == ("config.json",)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def sharded(source, n=2):
    places = {}
    for k in range(n):
        name = f"pytorch_model-{k}.bin"
        path = source({f"w{k}": torch.full((2,), float(k))}, name)
        places[f"w{k}"] = name
    (path.parent / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path.parent


def test_shards_stay_shards(source, tmp_path):
    stages = []
    done = convert(sharded(source), tmp_path / "out", report=lambda *stage: stages.append(stage))
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == {"w0", "w1"}
    assert all(load_file(tmp_path / "out" / file)[name][0] == int(name[1]) for name, file in index.items())
    assert (done.n_tensors, len(set(index.values()))) == (2, 2)
    assert stages == [("convert", k, 2) for k in range(3)]


# What is refused, and leaves nothing.


@pytest.mark.parametrize("zipped", [True, False, None])
def test_a_pickle_that_runs_a_command_runs_nothing(source, tmp_path, capfd, zipped):
    evil = {"w": torch.ones(2), "x": Command(tmp_path / "canary")}
    path = source(evil, "pytorch_model.bin", _use_new_zipfile_serialization=bool(zipped))
    if zipped is None:
        path.write_bytes(pickle.dumps(evil["x"]))
    assert run(["convert", str(path.parent), "--out", str(tmp_path / "out")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("error: ") == 1
    assert str(path) in err
    assert "holds more than tensors" in err
    assert ("posix.system" in err) or zipped is None
    assert "Traceback" not in err
    assert left_behind(tmp_path) == []
    pickle.loads(pickle.dumps(evil["x"]))  # the trap works where it is not held
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"a": torch.ones(2), "n": 3}, UntrustedFormat, "int among its tensors"),
        ({"a": torch.ones(2), 4: torch.ones(2)}, UntrustedFormat, "among its tensors"),
        ({"model": {"a": torch.ones(2), "b": "text"}}, UntrustedFormat, "str among its tensors"),
        ({"model": {"a": torch.ones(2)}, "state_dict": {"a": torch.ones(2)}}, SchemaError, "more than one key"),
        ({"ema": {"a": torch.ones(2)}}, SchemaError, "neither at the top nor inside: ema"),
        ({"model": {}}, SchemaError, "no tensor"),
        ({}, UntrustedFormat, "holds dict"),
        ([torch.ones(2)], UntrustedFormat, "holds list"),
        (torch.ones(2), UntrustedFormat, "holds Tensor"),
        ({"a": torch.eye(3).to_sparse()}, SchemaError, "sparse"),
    ],
    ids=str,
)
def test_content_that_is_no_set_of_tensors(content, error, message):
    with pytest.raises(convert_worker.Refused, match=message) as caught:
        convert_worker.unwrap(content)
    assert caught.value.plain["error"] == error.__name__


def test_a_key_that_holds_no_tensor_is_named(source, tmp_path):
    path = source({"a": torch.ones(2), "n": 3})
    with pytest.raises(UntrustedFormat, match="int among its tensors") as caught:
        convert(path, tmp_path / "out")
    assert (caught.value.path, caught.value.field) == (str(path), "n")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("left", "zipped"), [(10, True), (-100, True), (500, False), (-100, False)])
def test_a_file_that_is_cut_off(source, left, zipped):
    path = source({"a": torch.ones(1000)}, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(convert_worker.Refused, match="cut off") as caught:
        convert_worker.read(path)
    assert caught.value.plain["error"] == "CorruptArtifact"


def test_a_file_larger_than_the_limit_is_not_read(source, tmp_path):
    path = source({"a": torch.ones(100_000)})
    with pytest.raises(LimitExceeded, match="larger than the memory limit") as caught:
        convert(path, tmp_path / "out", limits=Limits(memory_gib=1e-4))
    assert caught.value.field == "memory-limit"
    assert left_behind(tmp_path) == []


def test_a_small_file_that_becomes_large_runs_out_of_memory(source, tmp_path):
    """Few bytes may name many: a tensor without strides, here 16 GiB of one number."""
    path = source({"a": torch.ones(1).expand(2**32)})
    assert path.stat().st_size < 10_000
    with pytest.raises(LimitExceeded, match="memory") as caught:
        convert(path, tmp_path / "out", limits=Limits(memory_gib=0.5))
    assert "--memory-limit" in caught.value.hint
    assert left_behind(tmp_path) == []


def test_what_would_be_written_is_limited_too(source, tmp_path):
    """Many names of one memory fit while they are read and not when they are written."""
    shared = torch.ones(2**20)
    path = source({f"w{k}": shared for k in range(400)})
    with pytest.raises(LimitExceeded):
        convert(path, tmp_path / "out", limits=Limits(memory_gib=0.25))
    assert left_behind(tmp_path) == []


@pytest.fixture
def endless(monkeypatch, tmp_path):
    """A process that never ends, and has begun to write."""
    program = tmp_path / "source" / "endless.py"
    program.parent.mkdir()
    program.write_text(
        "import os, sys, time\nopen(sys.argv[2], 'w').write('half')\n"
        "open(sys.argv[1] + '.pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(convert_module, "WORKER", program)


def gone(path):
    """Whether the process that wrote its number beside the file has ended."""
    try:
        os.kill(int(path.with_name(path.name + ".pid").read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_reading_that_does_not_end_is_ended(source, tmp_path, endless):
    path = source({"a": torch.ones(2)})
    began = time.monotonic()
    with pytest.raises(LimitExceeded, match="longer than allowed") as caught:
        convert(path, tmp_path / "out", limits=Limits(seconds=1.0))
    assert time.monotonic() - began < 30
    assert caught.value.field == "time-limit"
    assert gone(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(source, tmp_path, endless, number):
    path = source({"a": torch.ones(2)})
    started = path.with_name(path.name + ".pid")

    def interrupt():
        while not (started.exists() and started.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted):
        convert(path, tmp_path / "out")
    thread.join()
    assert gone(path)
    assert left_behind(tmp_path) == []


def test_a_process_that_crashes(source, tmp_path, monkeypatch):
    program = tmp_path / "source" / "crash.py"
    program.parent.mkdir()
    program.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(convert_module, "WORKER", program)
    with pytest.raises(CorruptArtifact, match="ended without an answer"):
        convert(source({"a": torch.ones(2)}), tmp_path / "out")
    assert left_behind(tmp_path) == []


def test_a_folder_that_is_not_empty_is_left_alone(source, tmp_path):
    path = source({"a": torch.ones(2)})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        convert(path, tmp_path / "out")
    with pytest.raises(ConfigError, match="not empty"):
        convert(path, tmp_path / "out" / "mine")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]


def test_folders_that_do_not_say_which_weights_are_meant(source, tmp_path, model_folder):
    folder = source({"a": torch.ones(2)}, "one.pt").parent
    source({"a": torch.ones(2)}, "two.pt")
    with pytest.raises(SchemaError, match="several") as caught:
        convert(folder, tmp_path / "out")
    assert caught.value.found == "one.pt, two.pt"
    with pytest.raises(SchemaError, match="no pickled weights"):
        convert(model_folder, tmp_path / "out")
    with pytest.raises(SchemaError, match="safetensors already"):
        convert(model_folder / "model.safetensors", tmp_path / "out")
    with pytest.raises(SchemaError, match="no such file or folder"):
        convert(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(CorruptArtifact, match="neither a pickle"):
        convert(model_folder / "config.json", tmp_path / "out")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UntrustedFormat, match="adapter"):
        convert(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("plain", "error"),
    [([], SchemaError), ({"weight_map": {}}, SchemaError), ({"weight_map": {"a": "gone.bin"}}, SchemaError),
     ({"weight_map": {"a": "../other.bin"}}, UntrustedFormat)],
    ids=str,
)  # fmt: skip
def test_an_index_that_does_not_fit(source, tmp_path, plain, error):
    folder = sharded(source)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(plain))
    with pytest.raises(error):
        convert(folder, tmp_path / "out")
    assert left_behind(tmp_path) == []


def test_a_weight_in_two_shards(source, tmp_path):
    folder = sharded(source)
    torch.save({"w0": torch.ones(1)}, folder / "pytorch_model-1.bin")
    with pytest.raises(SchemaError, match="two files") as caught:
        convert(folder, tmp_path / "out")
    assert caught.value.field == "w0"
    assert left_behind(tmp_path) == []


def test_a_later_shard_that_is_cut_off(source, tmp_path):
    folder = sharded(source)
    cut = folder / "pytorch_model-1.bin"
    cut.write_bytes(cut.read_bytes()[:300])
    with pytest.raises(CorruptArtifact, match="cut off") as caught:
        convert(folder, tmp_path / "out")
    assert caught.value.path == str(cut)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("limits", [{"memory_gib": 0.0}, {"memory_gib": float("nan")}, {"seconds": float("inf")}])
def test_limits_that_are_none(limits):
    with pytest.raises(ConfigError, match="not a limit"):
        Limits(**limits)


# The command.


def test_the_command_tells_what_it_did(pickled_folder, tmp_path, capsys):
    assert run(["convert", str(pickled_folder), "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "tensors written to" in out
    assert "reasoner.toml" in out
    assert "convert: 1/1" in err
    assert run(["convert", str(pickled_folder), "--out", str(tmp_path / "again"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["out"] == str(tmp_path / "again")
    assert err == ""
    assert run(["convert", str(pickled_folder), "--out", str(tmp_path / "again"), "--json"]) == 2
    assert "not empty" in json.loads(capsys.readouterr().out)["message"]


def test_the_hint_of_a_refused_folder_is_a_command_that_works(pickled_folder, tmp_path, capsys):
    with pytest.raises(UntrustedFormat) as caught:
        load_model(str(pickled_folder), device="cpu")
    command = caught.value.hint.split(" reads them")[0].replace("DIR", str(tmp_path / "out")).split()
    assert command[:2] == ["workbench", "convert"]
    assert run(command[1:]) == 0
    assert load_model(str(tmp_path / "out"), device="cpu").d_model == 32


def test_the_worker_does_not_import_what_lies_in_the_current_folder(source, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "torch.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    path = source({"a": torch.ones(2)})
    program = (
        f"from pathlib import Path\nfrom workbench.convert import convert\nconvert(Path({path.name!r}), Path('out'))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{os.getcwd()}:{tmp_path / 'source'}"}  # noqa: PTH109
    subprocess.run([sys.executable, "-P", "-c", program], cwd=path.parent, env=environment, check=True, timeout=60)
    assert (path.parent / "out" / "model.safetensors").is_file()
    assert not (tmp_path / "canary").exists()
