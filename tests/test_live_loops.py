"""Live models of the recurrent family: the contract, every visit against the model itself, and code that is trusted.

`cd tests && python test_live_loops.py` records the regression vectors anew.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from live_factory import L_CYCLES, N_STEPS, write_folder
from safetensors.torch import load_file, save_file

from workbench.cli import run
from workbench.errors import ConfigError, LimitExceeded, SchemaError, UntrustedFormat
from workbench.reasoners.contract import CHECKS
from workbench.reasoners.depth_model import state_generators
from workbench.reasoners.folders import folder_fingerprint
from workbench.reasoners.loading import load_model
from workbench.tasks import Problem

RECORDED = Path(__file__).parent / "regression" / "hrm-text.safetensors"
PRESETS = tuple(N_STEPS)
REMOTE = ("huginn", "ouro")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RAGGED = [
    Problem(id="short", prompt="start atrium"),
    Problem(id="long", prompt="start vault ; east 2 ; west 1 ; mirror 4 ; east 3"),
    Problem(id="middle", prompt="start foyer ; mirror 2 ; west 3"),
    Problem(id="as long as middle", prompt="start vault ; mirror 3 ; west 1"),
]


@pytest.fixture(scope="module", autouse=True)
def _code_goes_into_a_folder_of_the_test(tmp_path_factory):
    """Where transformers copies trusted code to before it imports it."""
    import transformers.dynamic_module_utils as dynamic

    path, before = str(tmp_path_factory.mktemp("modules")), list(sys.path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dynamic, "HF_MODULES_CACHE", path)
        yield
    sys.path[:] = before
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {preset: write_folder(preset, tmp_path_factory.mktemp("live") / preset) for preset in PRESETS}


@pytest.fixture(scope="module")
def reasoners(folders):
    return {
        (preset, dtype): load(folder, dtype=DTYPES[dtype]) for preset, folder in folders.items() for dtype in DTYPES
    }


def load(folder, *, dtype=torch.float32, trust=True):
    return load_model(str(folder), device="cpu", dtype=dtype, trust_remote_code=trust).reasoner


def copy_of(folder, tmp_path, **changed):
    """A copy whose configuration is changed; None takes a key away."""
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = {**json.loads((folder / "config.json").read_text()), **changed}
    (copied / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return copied


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_live_loop_keeps_the_contract(reasoners, preset, dtype, check):
    reasoner = reasoners[preset, dtype]
    assert reasoner.dtype == DTYPES[dtype]
    check(reasoner, RAGGED)


def test_hrm_thoughts_are_what_its_own_forward_call_computes(reasoners):
    reasoner = reasoners["hrm-text", "float32"]
    model = reasoner.loop.model
    read = ["thought", "thought.low", "L_blocks.1.hook_resid_post", "H_blocks.0.attn.hook_v"]
    modules = (model.model.H_module, model.model.L_module, model.model.L_module.layers[1],
               model.model.H_module.layers[0].self_attn.v_proj)  # fmt: skip
    trace = reasoner.run(RAGGED, read=read)
    for i, problem in enumerate(RAGGED):
        passed = {site: [] for site in read}
        hooks = [
            module.register_forward_hook(lambda m, a, out, kept=passed[site]: kept.append(out[0, -1]))
            for site, module in zip(read, modules, strict=True)
        ]
        logits = model(input_ids=torch.tensor([reasoner.prompt_ids(problem)])).logits[0, -1]
        for hook in hooks:
            hook.remove()
        for site in read:
            mine = trace[site].address[:, 0] == i
            close(trace[site].vectors[mine].flatten(1), torch.stack(passed[site]))
            low = site.startswith(("thought.low", "L_"))
            visits = [[i, step, visit] for step in range(2) for visit in range(L_CYCLES if low else 1)]
            assert trace[site].address[mine, :3].tolist() == visits
        close(trace.first_logits[i], logits)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_hrm_speaks_as_transformers_generates(reasoners, batch_size):
    reasoner = reasoners["hrm-text", "float32"]
    emitted = reasoner.run(RAGGED, batch_size=batch_size).emitted
    for problem, mine in zip(RAGGED, emitted, strict=True):
        ids = torch.tensor([reasoner.prompt_ids(problem)])
        own = reasoner.loop.model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)
        assert mine == tuple(own[0, ids.shape[1] :].tolist())


def test_an_edited_low_state_is_used_from_its_visit_on(reasoners):
    reasoner = reasoners["hrm-text", "float32"]
    plain = reasoner.run(RAGGED, read=["thought.low"])
    edited = reasoner.run(
        RAGGED, read=["thought.low"],
        edits={"thought.low": lambda vectors, visit: -vectors if (visit.step, visit.visit) == (0, 1) else vectors},
    )  # fmt: skip
    one, other = (trace["thought.low"].vectors.unflatten(0, (len(RAGGED), 2 * L_CYCLES)) for trace in (plain, edited))
    assert torch.equal(one[:, 0], other[:, 0])
    assert torch.equal(-one[:, 1], other[:, 1])
    assert all(not torch.allclose(one[:, k], other[:, k], atol=1e-3) for k in range(2, 2 * L_CYCLES))
    assert not torch.allclose(plain.first_logits, edited.first_logits, atol=1e-3)


def test_ouro_thoughts_and_gates_are_what_its_own_forward_call_computes(reasoners):
    reasoner = reasoners["ouro", "float32"]
    trace = reasoner.run(RAGGED, read=["thought", "exit_gate"])
    for i, problem in enumerate(RAGGED):
        ids = torch.tensor([reasoner.prompt_ids(problem)])
        _, states, gates = reasoner.loop.model.model(ids)
        for step in range(N_STEPS["ouro"]):
            close(trace["thought"].at(step)[i], states[step][0, -1])
            close(trace["exit_gate"].at(step)[i], gates[step][0, -1, 0].sigmoid())
        close(trace.first_logits[i], reasoner.loop.model(ids).logits[0, -1])


@pytest.mark.parametrize(("steps", "batch_size"), [(2, 4), (4, 4), (4, 1)])
def test_ouro_speaks_as_it_does_without_a_cache(reasoners, steps, batch_size):
    reasoner = reasoners["ouro", "float32"]
    emitted = reasoner.run([replace(problem, steps=steps) for problem in RAGGED], batch_size=batch_size).emitted
    for problem, mine in zip(RAGGED, emitted, strict=True):
        prompt = reasoner.prompt_ids(problem)
        logits = reasoner.loop.model(torch.tensor([[*prompt, *mine[:-1]]]), exit_at_step=steps - 1).logits[0]
        assert logits[len(prompt) - 1 :].argmax(-1).tolist() == list(mine)


@pytest.mark.parametrize("steps", [1, 4])
def test_huginn_thinks_and_speaks_as_its_own_forward_call(reasoners, steps):
    reasoner = reasoners["huginn", "float32"]
    model, seeds = reasoner.loop.model, [3, 5, 8, 13]
    trace = reasoner.run(
        [replace(problem, steps=steps) for problem in RAGGED], read=["thought", "coda_lens"], seeds=seeds
    )
    for i, problem in enumerate(RAGGED):
        prompt, emitted = reasoner.prompt_ids(problem), trace.emitted[i]
        ids = torch.tensor([[*prompt, *emitted[:-1]]])
        noise = reasoner.loop.own_noise(state_generators([seeds[i]]), ids.shape[1])
        for step in range(steps):
            own = model(ids[:, : len(prompt)], noise[:, : len(prompt)], step + 1)
            close(trace["thought"].at(step)[i], own.latents[0, -1])
            close(trace["coda_lens"].at(step)[i], own.logits[0, -1])
        logits = model(ids, noise, steps).logits[0, len(prompt) - 1 :]
        close(trace.first_logits[i], logits[0])
        assert logits.argmax(-1).tolist() == list(emitted)


def test_huginn_keys_come_out_of_their_third_of_the_fused_projection(reasoners):
    reasoner = reasoners["huginn", "float32"]
    fused = []
    attention = reasoner.loop.model.transformer.core_block[1].attn
    hook = attention.Wqkv.register_forward_hook(lambda module, args, out: fused.append(out[0, -1]))
    trace = reasoner.run(RAGGED[:1], read=["core.1.attn.hook_k", "core.1.attn.hook_v"])
    hook.remove()
    _, keys, values = torch.stack(fused[: N_STEPS["huginn"]]).chunk(3, -1)
    assert torch.equal(trace["core.1.attn.hook_k"].vectors.flatten(1), keys)
    assert torch.equal(trace["core.1.attn.hook_v"].vectors.flatten(1), values)


def test_noise_of_huginn_has_the_scale_of_its_own(reasoners):
    loop = reasoners["huginn", "float32"].loop
    noise = loop.own_noise(state_generators(range(40)), 40)
    scale = 0.1 * loop.model.emb_scale
    assert noise.abs().max() <= 3 * scale
    assert noise.std().item() == pytest.approx(scale * 0.9866, rel=0.01)


def test_only_huginn_takes_no_padding_and_only_hrm_one_number_of_steps(reasoners, folders, tmp_path):
    loops = {preset: reasoners[preset, "float32"] for preset in PRESETS}
    assert {preset: len({r.batch_key(problem) for problem in RAGGED}) for preset, r in loops.items()} == {
        "hrm-text": 1, "huginn": 3, "ouro": 1,
    }  # fmt: skip
    assert [preset for preset, r in loops.items() if not r.free_steps] == ["hrm-text"]
    with pytest.raises(ConfigError, match=r"thinking\.steps.*expected 2; found 3"):
        load(write_folder("hrm-text", tmp_path / "hrm", steps=3))
    with pytest.raises(ConfigError, match="built for one number"):
        loops["hrm-text"].run([replace(RAGGED[0], steps=1)])
    with pytest.raises(LimitExceeded, match=r"thinking\.steps.*at most 4"):
        load(write_folder("ouro", tmp_path / "ouro", steps=5))
    assert loops["huginn"].run([replace(RAGGED[0], steps=9)]).n_steps == (9,)


def test_normed_and_unnormed_thoughts_are_told_apart(reasoners):
    assert {preset: reasoners[preset, "float32"].sites["thought"].normed for preset in PRESETS} == {
        "hrm-text": True, "huginn": False, "ouro": True,
    }  # fmt: skip
    assert reasoners["hrm-text", "float32"].sites["thought.low"].normed
    huginn = reasoners["huginn", "float32"]
    trace = huginn.run(RAGGED[:1], read=["thought", "thought.normed"])
    close(huginn.unembed(trace["thought"].vectors), huginn.unembed(trace["thought.normed"].vectors, "thought.normed"))


# Code that lies in the folder.


@pytest.mark.parametrize("preset", REMOTE)
def test_code_runs_only_where_it_is_trusted(folders, tmp_path, preset):
    folder = copy_of(folders[preset], tmp_path)
    ran = tmp_path / "ran"
    for path in folder.glob("*.py"):
        path.write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n" + path.read_text())
    with pytest.raises(UntrustedFormat, match=r"auto_map.*--trust-remote-code"):
        load(folder, trust=False)
    assert not ran.exists()
    load(folder)
    assert ran.exists()


@pytest.mark.parametrize("preset", REMOTE)
def test_a_folder_without_code_is_not_trusted_into_having_some(folders, tmp_path, preset):
    folder = copy_of(folders[preset], tmp_path, auto_map=None)
    with pytest.raises(UntrustedFormat, match="--trust-remote-code"):
        load(folder, trust=False)
    with pytest.raises(SchemaError, match="field auto_map: the configuration does not name the code"):
        load(folder)


@pytest.mark.parametrize(
    "name", ["someone/model--modeling_ouro.OuroForCausalLM", "elsewhere.OuroForCausalLM", "OuroForCausalLM",
             "..modeling_ouro.OuroForCausalLM", "/tmp/modeling_ouro.OuroForCausalLM", 5],
)  # fmt: skip
def test_trusted_code_lies_in_the_folder(folders, tmp_path, name):
    here = {"AutoConfig": "configuration_ouro.OuroConfig", "AutoModelForCausalLM": name}
    with pytest.raises(UntrustedFormat, match="code is trusted only where it lies in the model folder"):
        load(copy_of(folders["ouro"], tmp_path, auto_map=here))


def test_trust_covers_nothing_else_in_the_folder(folders, tmp_path):
    folder = copy_of(folders["ouro"], tmp_path, custom_generate="someone/else")
    with pytest.raises(UntrustedFormat, match="custom_generate"):
        load(folder)


def test_code_beside_a_model_that_needs_none_never_runs(folders, tmp_path):
    ran = tmp_path / "ran"
    folder = copy_of(folders["hrm-text"], tmp_path, auto_map={"AutoConfig": "own.A", "AutoModelForCausalLM": "own.B"})
    (folder / "own.py").write_text(
        f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass A: pass\nclass B: pass\n"
    )
    with pytest.raises(UntrustedFormat, match="auto_map"):
        load(folder, trust=False)
    assert load(folder).loop.exact_steps == 2
    assert not ran.exists()


@pytest.mark.parametrize("preset", PRESETS)
def test_another_architecture_is_refused(folders, tmp_path, preset):
    with pytest.raises(SchemaError, match=r"field architectures: another kind of model.*GPT2LMHeadModel"):
        load(copy_of(folders[preset], tmp_path, architectures=["GPT2LMHeadModel"]))


def test_code_that_does_not_run_is_an_error_of_the_folder(folders, tmp_path):
    folder = copy_of(folders["ouro"], tmp_path)
    (folder / "modeling_ouro.py").write_text("class OuroForCausalLM(:")
    with pytest.raises(SchemaError, match="the folder cannot be loaded"):
        load(folder)


def test_each_folder_runs_its_own_code(folders, tmp_path):
    folder = copy_of(folders["huginn"], tmp_path)
    path = folder / "raven_modeling_minimal.py"
    path.write_text(path.read_text().replace("self.config.n_embd**0.5", "1.0"))
    plain, changed = (load(one) for one in (folders["huginn"], folder))
    assert (plain.loop.model.emb_scale, changed.loop.model.emb_scale) == (32**0.5, 1.0)


def test_the_code_is_part_of_the_fingerprint(folders, tmp_path):
    folder = copy_of(folders["huginn"], tmp_path)
    prints = [folder_fingerprint(folders["huginn"]), folder_fingerprint(folder)]
    (folder / "inner").mkdir()
    (folder / "inner" / "more.py").write_text("")
    prints.append(folder_fingerprint(folder))
    path = folder / "raven_config_minimal.py"
    path.write_text(path.read_text() + "# another\n")
    prints.append(folder_fingerprint(folder))
    assert len(set(prints[1:])) == 3


def test_commands_take_trust_and_type(folders, tmp_path, capsys):
    model = str(folders["ouro"])
    assert run(["check-model", model, "--device", "cpu"]) == 1
    assert "--trust-remote-code" in capsys.readouterr().err
    trusted = [model, "--device", "cpu", "--trust-remote-code", "--dtype", "bfloat16"]
    assert run(["check-model", *trusted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    problems, out = tmp_path / "p.jsonl", tmp_path / "run"
    problems.write_text("".join(json.dumps({"id": p.id, "prompt": p.prompt}) + "\n" for p in RAGGED))
    assert run(["capture", *trusted, "--problems", str(problems), "--out", str(out), "--json"]) == 0
    assert "thought" in json.loads(capsys.readouterr().out)["sites"]
    again = ["capture", model, "--trust-remote-code", "--device", "cpu", "--problems", str(problems), "--out", str(out)]
    assert run([*again, "--dtype", "float32"]) == 2
    assert "field dtype: the store in this folder was captured with other settings" in capsys.readouterr().err
    assert run(["capture", model, "--problems", str(problems), "--out", str(out), "--dtype", "float8"]) == 2


def recorded():
    """Vectors of HRM-Text on seeded tiny weights, of problems of different length in one batch."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        trace = load(write_folder("hrm-text", Path(folder))).run(RAGGED[:2], read=["thought", "thought.low"])
    return {**{site: rows.vectors for site, rows in trace.rows.items()}, "logits": trace.first_logits}


def test_vectors_are_those_that_were_recorded():
    was, now = load_file(RECORDED), recorded()
    assert was.keys() == now.keys()
    for name, vectors in now.items():
        torch.testing.assert_close(
            vectors, was[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file({name: vectors.contiguous() for name, vectors in recorded().items()}, RECORDED)
