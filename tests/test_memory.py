"""Memories: what an episode leaves is what a later one reads, slot by slot, and nothing else passes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import N_POSITIONS
from safetensors.torch import load_file, save_file

from workbench import edits
from workbench.capture import capture
from workbench.cli import run as workbench
from workbench.errors import ConfigError, CorruptArtifact, LimitExceeded, SchemaError
from workbench.reasoners.contract import check_reasoner, random_problems
from workbench.reasoners.layer_memory import LayerMemoryReasoner
from workbench.reasoners.loading import load_model
from workbench.reasoners.memory_bank import MemoryBankReasoner
from workbench.reasoners.memory_pool import Edited, Pool, TrainedMemory
from workbench.reasoners.recipe import parse_recipe
from workbench.tasks import Problem, read_problems

REGRESSION = Path(__file__).parent / "regression"
PRESETS = ("memory-bank", "memory-llm")
MARKER = "<truth>"
RECIPE = f"""
schema = 1
family = "memory"
preset = "PRESET"

[thinking]
steps = 4
begin = "<bot>"
end = "<eot>"

[memory]
slots = SLOTS
write = "{MARKER}"
capacity = CAPACITY

[speaking]
prefix = "<say> answer"
max_new_tokens = 2
stop = "<eos>"
claims = 'steps ([^<]+)'
answer = 'answer (\\S+)'
"""
PROMPT = "start atrium ; east 2"
ONE = Problem(id="one", prompt=PROMPT, writes=("start vault", "east 3 ; west 1 ; mirror 4", "kitchen ; 3"))
TWO = Problem(id="two", prompt=PROMPT, writes=("start tower ; west 2", "mirror 1", "study ; mirror ; 2 ; 4"))
RAGGED = [ONE, replace(TWO, prompt="start foyer ; mirror 2 ; west 3"), replace(ONE, id="few", writes=TWO.writes[:2])]


def recipe_text(preset, slots=2, capacity=100):
    return RECIPE.replace("PRESET", preset).replace("SLOTS", str(slots)).replace("CAPACITY", str(capacity))


def recipe_of(*settings, **changes):
    return parse_recipe(recipe_text(*settings, **changes), path="reasoner.toml")


def bank(loaded, slots=2):
    return MemoryBankReasoner(loaded.reasoner.backbone, recipe_of("memory-bank", slots))


def layered(loaded, slots=2, capacity=100, trained=None):
    return LayerMemoryReasoner(loaded.reasoner.backbone, recipe_of("memory-llm", slots, capacity), trained)


def trained_memory(backbone, n_slots=3):
    drawn = torch.Generator().manual_seed(5)
    sizes = (backbone.n_layers, n_slots, backbone.d_model)
    return TrainedMemory(
        torch.randn(sizes, generator=drawn),
        torch.randn(sizes[0], sizes[2], generator=drawn),
        torch.randn(sizes[2], generator=drawn),
    )


@pytest.fixture
def folder_of(model_folders, tmp_path):
    def make(preset, name="gpt2", **settings):
        folder = Path(shutil.copytree(model_folders[name], tmp_path / preset))
        (folder / "reasoner.toml").write_text(recipe_text(preset, **settings), encoding="utf-8")
        return folder

    return make


def ids_of(reasoner, *texts):
    return torch.tensor([[token for text in texts for token in reasoner.coder.token_ids(text)]])


def exchanged(trace, site):
    """The vectors of two problems, each at the other's place."""
    return edits.replace({visit: vectors.flip(0) for visit, vectors in trace[site].by_visit().items()})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_both_presets_keep_the_contract(folder_of, name, preset, slots, dtype):
    folder = folder_of(preset, name, slots=slots, capacity=2 * slots + 1)
    reasoner = load_model(str(folder), device="cpu", dtype=dtype).reasoner
    assert reasoner.dtype == dtype
    results = check_reasoner(reasoner, [replace(problem, steps=None) for problem in RAGGED])
    assert not [(r.name, r.detail) for r in results if not r.passed]


@pytest.mark.parametrize("preset", PRESETS)
def test_check_model_passes_on_random_episodes(folder_of, preset, capsys):
    assert workbench(["check-model", str(folder_of(preset)), "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert found["preset"] == preset
    assert "blocks.1.attn.hook_v" in found["sites"]


def test_random_problems_have_episodes_of_different_lengths(loaded):
    problems = random_problems(bank(loaded), 4)
    assert {len(problem.writes) for problem in problems} == {3}
    assert len({len(text.split()) for text in problems[0].writes}) == 3
    assert len({text for problem in problems for text in problem.writes}) == 12


# The address of a slot.


@pytest.mark.parametrize("preset", PRESETS)
def test_a_slot_is_addressed_by_episode_slot_and_position(loaded, preset):
    reasoner = bank(loaded) if preset == "memory-bank" else layered(loaded)
    assert {site.address for site in reasoner.sites.values()} == {("example", "episode", "slot", "pos")}
    trace = reasoner.run(RAGGED, read=list(reasoner.sites))
    wanted = [
        [example, episode, slot, 2 * episode + slot]
        for example, problem in enumerate(RAGGED)
        for episode in range(len(problem.writes))
        for slot in range(2)
    ]
    assert trace.n_steps == (3, 3, 2)
    for site in reasoner.sites:
        assert trace[site].address.tolist() == wanted, site


def test_a_capture_keeps_every_slot(folder_of, tmp_path):
    model = load_model(str(folder_of("memory-bank", slots=1)), device="cpu")
    store = capture(model, [ONE, TWO], tmp_path / "run")
    rows = store.select("thought")
    assert rows.step.tolist() == [0, 1, 2, 0, 1, 2]
    assert rows.visit.tolist() == [0] * 6
    assert rows.pos.tolist() == [0, 1, 2, 0, 1, 2]
    assert store.problems[1]["problem"]["writes"] == list(TWO.writes)
    trace = model.reasoner.run([ONE, TWO], read=["thought"])
    assert np.allclose(rows.vectors, trace["thought"].vectors.numpy())


# The bank.


def written_by_hand(reasoner, text, slots):
    """Last hidden states at the markers, from the model as Hugging Face calls it."""
    hidden = reasoner.backbone.model.base_model(input_ids=ids_of(reasoner, text, *[MARKER] * slots)).last_hidden_state
    return hidden[0, -slots:]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_bank_reads_what_was_written_before_its_prompt(loaded_models, name):
    reasoner = bank(loaded_models[name])
    trace = reasoner.run(RAGGED, read=["thought"])
    for example, problem in enumerate(RAGGED):
        slots = torch.cat([written_by_hand(reasoner, text, 2) for text in problem.writes])
        mine = trace["thought"].vectors[trace["thought"].address[:, 0] == example]
        assert torch.allclose(mine, slots, atol=1e-4, rtol=1e-4)
        words = reasoner.backbone.embed(ids_of(reasoner, problem.prompt, "<bot>", "<eot>", "<say> answer"))
        logits = reasoner.backbone.model(inputs_embeds=torch.cat([slots[None], words], 1)).logits[0, -1]
        assert torch.allclose(trace.first_logits[example], logits, atol=1e-4, rtol=1e-4)


def test_nothing_but_the_slots_passes_from_episode_to_episode(loaded):
    reasoner = bank(loaded)
    plain = reasoner.run([ONE, TWO], read=["thought"])
    assert not torch.allclose(plain.first_logits[0], plain.first_logits[1], atol=1e-2)
    swapped = reasoner.run([ONE, TWO], edits={"thought": exchanged(plain, "thought")})
    assert torch.allclose(swapped.first_logits, plain.first_logits.flip(0), atol=1e-5)
    assert swapped.said == plain.said[::-1]


def test_keys_and_values_of_the_bank_are_those_of_the_sequence_that_reads(loaded):
    reasoner = bank(loaded)
    values = reasoner.run([ONE], read=["thought", "blocks.0.attn.hook_v"])
    block = reasoner.backbone.model.transformer.h[0]
    at = reasoner.backbone.model.transformer.wpe.weight[: len(values["thought"].vectors)]
    by_hand = block.attn.c_attn(block.ln_1(values["thought"].vectors + at))[:, -reasoner.backbone.d_model :]
    assert torch.allclose(values["blocks.0.attn.hook_v"].vectors.flatten(1), by_hand, atol=1e-5)


def test_single_slots_are_decoded_edited_and_erased(loaded):
    reasoner = bank(loaded)
    plain = reasoner.run([ONE, TWO], read=["thought"])
    erase = edits.only_steps(edits.only_visits(edits.zero(), [1]), [2])
    erased = reasoner.run([ONE, TWO], read=["thought"], edits={"thought": erase})
    for (episode, slot), vectors in erased["thought"].by_visit().items():
        before = plain["thought"].at(episode, slot)
        assert torch.equal(vectors, torch.zeros_like(before) if (episode, slot) == (2, 1) else before)
    assert not torch.allclose(erased.first_logits, plain.first_logits, atol=1e-3)
    seen = reasoner.unembed(plain["thought"].at(0, 1))[0]
    own = reasoner.backbone.model(input_ids=ids_of(reasoner, ONE.writes[0], MARKER, MARKER)).logits[0, -1]
    assert torch.allclose(seen, own, atol=1e-4)


def test_a_projection_stands_between_source_and_slot(loaded, monkeypatch):
    backbone = loaded.reasoner.backbone
    doubled = torch.nn.Linear(backbone.d_model, backbone.d_model, bias=False)
    doubled.weight.data = 2 * torch.eye(backbone.d_model)
    monkeypatch.setattr(backbone, "projection", doubled)
    reasoner = bank(loaded)
    trace = reasoner.run([ONE], read=["thought", "thought.source"])
    assert torch.allclose(trace["thought"].vectors, 2 * trace["thought.source"].vectors)
    source = torch.cat([written_by_hand(reasoner, text, 2) for text in ONE.writes])
    assert torch.allclose(trace["thought.source"].vectors, source, atol=1e-4)
    assert torch.allclose(reasoner.lens_logits(ONE), reasoner.own_logits(ONE), atol=1e-4)


# Slots of every layer.


def one_pass(backbone, memory, hidden, new=None, n_new=0):
    """Llama's blocks one by one: each sees its own slots before the text. Returns text outputs and what is left."""
    model, m, left = backbone.model.model, memory.shape[1], []
    positions = torch.arange(m + hidden.shape[1])[None]
    length = m + hidden.shape[1]
    mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
    turned = model.rotary_emb(hidden, positions)
    for layer, block in enumerate(model.layers):
        inputs = torch.cat([memory[layer][None], hidden], 1)
        if new is not None:
            inputs[:, -n_new:] += new
        outputs = block(inputs, attention_mask=mask, position_embeddings=turned, position_ids=positions)
        left.append(outputs[0, length - n_new :])
        hidden = outputs[:, m:]
    return model.norm(hidden), torch.stack(left)


def read_by_hand(reasoner, problem, seed, slots, capacity, trained):
    """Pool and logits of one problem after the published arithmetic; no cache, no hooks, no batch."""
    backbone, draw = reasoner.backbone, np.random.default_rng(seed)
    pool = torch.empty(backbone.n_layers, 0, backbone.d_model) if trained is None else trained.slots
    new = None if trained is None else trained.new
    written = []

    def behind(memory):
        return memory if trained is None else torch.cat([trained.bos[:, None], memory], 1)

    for text in problem.writes:
        memory = behind(pool[:, -slots:])
        _, left = one_pass(backbone, memory, backbone.embed(ids_of(reasoner, text)), new, slots)
        room = capacity - slots
        kept = sorted(draw.permutation(pool.shape[1])[:room]) if pool.shape[1] > room else range(pool.shape[1])
        pool = torch.cat([pool[:, list(kept)], left], 1)
        written.append(left)
    words = backbone.embed(ids_of(reasoner, problem.prompt, "<bot>", "<eot>", "<say> answer"))
    hidden, _ = one_pass(backbone, behind(pool), words)
    return torch.stack(written), backbone.model.lm_head(hidden)[0, -1]


@pytest.mark.parametrize("with_trained", [False, True], ids=["empty", "trained"])
@pytest.mark.parametrize("capacity", [3, 5, 100])
def test_the_pool_follows_the_published_arithmetic(loaded_models, capacity, with_trained):
    loaded = loaded_models["llama"]
    trained = trained_memory(loaded.reasoner.backbone) if with_trained else None
    reasoner = layered(loaded, 2, capacity, trained)
    # With a memory to stand behind, an episode may be shorter than the slots it leaves.
    problems = [replace(RAGGED[0], writes=("east", *ONE.writes[1:])) if with_trained else RAGGED[0], *RAGGED[1:]]
    trace = reasoner.run(problems, read=["thought"], seeds=[11, 12, 13])
    for example, problem in enumerate(problems):
        written, logits = read_by_hand(reasoner, problem, 11 + example, 2, capacity, trained)
        mine = trace["thought"].vectors[trace["thought"].address[:, 0] == example]
        wanted = written.transpose(1, 2).flatten(0, 1)
        assert torch.allclose(mine, wanted, atol=1e-4, rtol=1e-4)
        assert torch.allclose(trace.first_logits[example], logits, atol=1e-4, rtol=1e-4)


def test_which_slots_are_dropped_depends_on_the_seed_alone(loaded):
    reasoner = layered(loaded, 2, 5)
    same, other = (reasoner.run([ONE, ONE], seeds=seeds).first_logits for seeds in ([7, 7], [7, 8]))
    assert torch.allclose(same[0], same[1], atol=1e-6)
    assert torch.allclose(same[0], other[0], atol=1e-6)
    assert not torch.allclose(other[0], other[1], atol=1e-3)


@pytest.mark.parametrize("capacity", [5, 100])
def test_keys_and_values_of_the_slots_are_all_that_is_read(loaded_models, capacity):
    reasoner = layered(loaded_models["llama"], 2, capacity)
    keys = [site for site in reasoner.sites if site != "thought"]
    plain = reasoner.run([ONE, TWO], read=keys, seeds=[3, 3])
    swapped = reasoner.run([ONE, TWO], edits={site: exchanged(plain, site) for site in keys}, seeds=[3, 3])
    assert torch.allclose(swapped.first_logits, plain.first_logits.flip(0), atol=1e-4)
    assert not torch.allclose(plain.first_logits[0], plain.first_logits[1], atol=1e-2)


def test_an_edited_slot_is_what_later_episodes_and_the_prompt_read(loaded_models):
    reasoner = layered(loaded_models["llama"])
    plain = reasoner.run([ONE], read=["thought"])
    erase = edits.only_steps(edits.only_visits(edits.zero(), [1]), [0])
    erased = reasoner.run([ONE], read=["thought"], edits={"thought": erase})
    assert not erased["thought"].at(0, 1).any()
    assert torch.equal(erased["thought"].at(0, 0), plain["thought"].at(0, 0))
    assert not torch.allclose(erased["thought"].at(1, 0), plain["thought"].at(1, 0), atol=1e-3)
    last = edits.only_steps(edits.only_visits(edits.zero(), [0]), [2])
    assert not torch.allclose(reasoner.run([ONE], edits={"thought": last}).first_logits, plain.first_logits, atol=1e-3)


def test_what_was_edited_of_a_slot_stays_with_it():
    places = torch.arange(3.0).expand(2, 3)
    vectors = places[..., None, None] * torch.ones(2, 3, 1, 4)
    changed = torch.tensor([[False, True, False], [True, False, True]])
    pool = Pool(places[..., None, None] * torch.ones(2, 3, 1, 4), {"k": Edited(vectors, changed)})
    kept = pool.chosen(torch.tensor([[1, 2], [0, 1]])).appended(Pool(torch.full((2, 1, 1, 4), 9.0)))
    assert kept.slots[:, :, 0, 0].tolist() == [[1, 2, 9], [0, 1, 9]]
    assert kept.edited["k"].changed.tolist() == [[True, False, False], [True, False, False]]
    assert kept.edited["k"].put(torch.full((2, 3, 1, 4), -1.0))[:, :, 0, 0].tolist() == [[1, -1, -1], [0, -1, -1]]


def test_a_stored_slot_is_decoded_by_what_the_last_block_left(loaded):
    reasoner = layered(loaded)
    slot = reasoner.run([ONE], read=["thought"])["thought"].at(0, 1)
    own = reasoner.backbone.model(input_ids=ids_of(reasoner, ONE.writes[0])).logits[0, -1]
    stored = reasoner.as_vectors(slot.flatten(1).numpy())
    assert torch.allclose(reasoner.unembed(slot)[0], own, atol=1e-4)
    assert torch.equal(reasoner.unembed(stored), reasoner.unembed(slot))


def test_a_trained_memory_is_loaded_from_its_own_file(folder_of):
    folder = folder_of("memory-llm", "llama")
    bare = load_model(str(folder), device="cpu")
    trained = trained_memory(bare.reasoner.backbone)
    bos, new = trained.bos[:, None], trained.new[None, None]
    tensors = {"memory": trained.slots, "bos_embedding": bos, "new_memory_positional_emb": new}
    save_file(tensors, folder / "memory.safetensors")
    full = load_model(str(folder), device="cpu")
    assert full.fingerprint != bare.fingerprint
    assert not torch.allclose(full.reasoner.run([ONE]).first_logits, bare.reasoner.run([ONE]).first_logits, atol=1e-3)
    direct = LayerMemoryReasoner(bare.reasoner.backbone, bare.reasoner.recipe, trained)
    assert torch.equal(full.reasoner.run([ONE]).first_logits, direct.run([ONE]).first_logits)
    assert torch.allclose(direct.lens_logits(ONE), direct.own_logits(ONE), atol=1e-4)
    assert direct.run([ONE], read=["thought"])["thought"].address[:, 3].tolist() == [4, 5, 6, 7, 8, 9]


# What is refused.


@pytest.mark.parametrize(
    ("problem", "error", "field", "message"),
    [
        (replace(ONE, writes=()), ConfigError, "writes", "no earlier episode"),
        (replace(ONE, writes=("east 1",) * 5), LimitExceeded, "writes", "more episodes than thinking.steps"),
        (replace(ONE, steps=2), ConfigError, "steps", "one step for each episode"),
        (replace(ONE, writes=("east 1 " * N_POSITIONS,)), LimitExceeded, "writes", "episode 0 of problem 'one'"),
        (replace(ONE, prompt="east 1 " * N_POSITIONS), LimitExceeded, "prompt", "6 memory"),
    ],
    ids=["no episode", "too many", "other steps", "long episode", "long prompt"],
)
@pytest.mark.parametrize("preset", PRESETS)
def test_problems_that_do_not_fit_are_refused(loaded, preset, problem, error, field, message):
    reasoner = bank(loaded) if preset == "memory-bank" else layered(loaded)
    with pytest.raises(error, match=message) as caught:
        reasoner.run([problem])
    assert caught.value.field == field
    assert reasoner.run([replace(ONE, steps=3)]).n_steps == (3,)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_problem_may_fill_the_model_to_the_last_position(loaded, preset):
    reasoner = bank(loaded) if preset == "memory-bank" else layered(loaded)
    around = (
        6 + len(("<bot>", "<eot>", "<say>", "answer")) + 1
    )  # slots, markers, and all that is said but its last token
    full = replace(ONE, prompt=" ".join(["east"] * (N_POSITIONS - around)))
    assert reasoner.run([full]).n_steps == (3,)
    with pytest.raises(LimitExceeded, match="more positions than the model has"):
        reasoner.run([replace(full, prompt=full.prompt + " east")])


def test_an_episode_must_have_tokens_to_make_slots_of(loaded):
    reasoner = layered(loaded, slots=3)
    with pytest.raises(ConfigError, match="episode 0 of problem 'one' has fewer tokens"):
        reasoner.run([replace(ONE, writes=("start vault", "east"))])
    with pytest.raises(ConfigError, match="episode 1 of problem 'one' has fewer tokens"):
        reasoner.run([replace(ONE, writes=("start vault east", ""))])
    reasoner.run([replace(ONE, writes=("start vault east", "west"))])
    assert bank(loaded).run([replace(ONE, writes=("",))]).n_steps == (1,)


def test_a_marker_without_tokens_and_a_pool_too_small_are_refused(loaded):
    backbone = loaded.reasoner.backbone
    silent = recipe_text("memory-bank").replace(MARKER, "")
    with pytest.raises(ConfigError, match="no token of this marker"):
        MemoryBankReasoner(backbone, parse_recipe(silent, path="reasoner.toml"))
    with pytest.raises(ConfigError, match="at least 3"):
        layered(loaded, 3, 2)
    with pytest.raises(ConfigError, match="at least 7"):
        layered(loaded, 2, 6, trained_memory(backbone, 7))


@pytest.mark.parametrize(
    ("tensors", "field"),
    [
        ({"bos_embedding": torch.zeros(2, 1, 32)}, "memory"),
        ({"memory": torch.zeros(3, 5, 32)}, "memory"),
        ({"memory": torch.zeros(5, 32)}, "memory"),
        ({"memory": torch.zeros(2, 5, 32), "bos_embedding": torch.zeros(2, 32)}, "bos_embedding"),
        ({"memory": torch.zeros(2, 5, 32), "ltm": torch.zeros(1)}, "ltm"),
    ],
    ids=["none", "other layers", "flat", "flat bos", "unknown"],
)
def test_a_trained_memory_of_another_shape_is_refused(folder_of, tensors, field):
    folder = folder_of("memory-llm")
    save_file(tensors, folder / "memory.safetensors")
    with pytest.raises(SchemaError, match="does not fit the model") as caught:
        load_model(str(folder), device="cpu")
    assert caught.value.field == field
    assert caught.value.path == str(folder / "memory.safetensors")


def test_a_trained_memory_that_is_no_safetensors_file_is_refused(folder_of):
    folder = folder_of("memory-llm")
    (folder / "memory.safetensors").write_bytes(b"\x80\x04 not tensors")
    with pytest.raises(CorruptArtifact, match="the memory cannot be read"):
        load_model(str(folder), device="cpu")


# As it was.


@pytest.mark.parametrize("preset", PRESETS)
def test_recorded_memories_stay_as_they_were(loaded, preset):
    recorded = load_file(REGRESSION / f"{preset}.safetensors")
    reasoner = bank(loaded) if preset == "memory-bank" else layered(loaded, 2, 5)
    trace = reasoner.run(RAGGED, read=["thought"], seeds=[1, 2, 3])
    assert torch.equal(trace["thought"].address, recorded["address"])
    assert torch.allclose(trace["thought"].vectors, recorded["thought"], atol=1e-4, rtol=1e-4)
    assert torch.allclose(trace.first_logits, recorded["first_logits"], atol=1e-4, rtol=1e-4)


def test_writes_are_read_from_a_file_and_bounded(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(ONE.to_plain()) + "\n", encoding="utf-8")
    assert read_problems(path) == [ONE]
    path.write_text(json.dumps({**ONE.to_plain(), "writes": ["x" * 1_000_001]}) + "\n", encoding="utf-8")
    with pytest.raises(SchemaError, match="writes"):
        read_problems(path)
