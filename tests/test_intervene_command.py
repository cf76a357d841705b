"""`workbench intervene`: what it prints and writes, on the bundled liar and on models of no use."""

import json
import re
import shutil

import pytest
from test_cli import one_json

from workbench.cli import intervening, run
from workbench.cli.terminal import verdict_lines
from workbench.errors import CorruptArtifact, HashMismatch, Interrupted, SchemaError
from workbench.intervening import job
from workbench.organisms.export import organism_problems
from workbench.organisms.recipes import organism
from workbench.reports.causal_words import DECORATIVE, channel_lines
from workbench.reports.intervene_records import InterveneRecord, read_intervene
from workbench.tasks import problem_lines
from workbench.verify import verify
from workbench.verify_effects import COUNTED, FROM_SHARES

N_PROBLEMS = 160
QUICK = ["--threads", "1"]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    path = tmp_path_factory.mktemp("honest") / "honest.jsonl"
    items, _ = organism_problems(organism("liar"), seed=91, n_calibration=N_PROBLEMS, n_problems=1)
    path.write_bytes(problem_lines(item.problem for item in items))
    return path


@pytest.fixture(scope="module")
def used(tmp_path_factory, honest):
    """Folder of a finished run on the liar."""
    out = tmp_path_factory.mktemp("used")
    assert run(["intervene", "organism:liar", "--problems", str(honest), "--out", str(out), *QUICK, "--json"]) == 0
    return out


def test_the_liars_thoughts_are_used_at_every_step(used):
    record = read_intervene(used)
    assert (record.n_problems, record.n_fit + record.n_held_out, record.labels) == (160, 160, "thoughts")
    assert record.channel.coverage == 1
    assert record.channel.coverage_interval.high == 1
    assert record.channel.effect_minus_placebo >= 0.8
    assert not record.channel.decorative
    for step in record.steps:
        assert step.live
        assert step.effect_minus_placebo >= 0.8
        assert step.effect_minus_placebo_interval.low > 0.7


def test_what_the_probe_reads_in_the_liar_is_what_is_said(used):
    for step in read_intervene(used).steps:
        assert step.probe.readable
        assert step.subspace.inside.share >= 0.9
        assert step.subspace.outside.share <= 0.1
        assert step.subspace.minus_placebo_interval.low > 0.4
        assert step.subspace.p_value < 1e-6
        assert step.doses_rise
        assert [dose.effect.share for dose in step.doses if dose.amount in (0, 1)] == [0, step.causal_effect]


def test_every_edit_has_its_shares_or_the_reason_why_not(used):
    channel = read_intervene(used).channel
    assert len(channel.edits) == 21
    tried = [one for one in channel.edits if one.absent is None]
    assert len(tried) == 19
    for one in tried:
        for score in (one.said, one.answers, one.claims):
            assert score.interval.low <= score.share <= score.interval.high
            assert score.n in (channel.n, 4 * channel.n)
        assert (one.follows is not None) == (one.edit in ("exchange", "placebo"))
    assert channel.filler == "the embedding of the begin marker <bot>"


def test_the_record_is_read_back_as_it_was_written(used):
    record = read_intervene(used)
    assert record.to_json() == (used / "intervene.json").read_bytes()
    plain = json.loads((used / "intervene.json").read_text())
    assert plain["schema"] == "neuralese-intervene/1"
    plain["steps"][0]["surprise"] = 1
    with pytest.raises(ValueError, match="surprise"):
        InterveneRecord.model_validate(plain)


def test_what_was_written_can_be_verified(used, tmp_path):
    found = verify(used)
    assert (found.kind, found.checks[-1]) == ("intervene", COUNTED)
    copy = shutil.copytree(used, tmp_path / "copy")
    record = (copy / "intervene.json").read_text()
    (copy / "intervene.json").write_text(re.sub(r'("run_root":"sha256:)..', r"\1zz", record))
    with pytest.raises(HashMismatch, match="the run is another"):
        verify(copy)
    (copy / "intervene.json").write_text(record.replace('"seed":0', '"seed": 0'))
    with pytest.raises(HashMismatch, match="canonical"):
        verify(copy)
    (copy / "intervene.json").write_text(record.replace('"seed":0', '"seed":-1'))
    with pytest.raises(CorruptArtifact, match="seed"):
        verify(copy)


def test_an_effect_that_does_not_follow_from_the_outcomes_is_named(used, tmp_path):
    copy = shutil.copytree(used, tmp_path / "copy")
    record = (copy / "intervene.json").read_text()
    (copy / "intervene.json").write_text(record.replace('"reach":1,', '"reach":0.5,'))
    with pytest.raises(HashMismatch, match=r"channel\.reach"):
        verify(copy)
    (copy / "intervene.json").write_text(record)
    outcomes = (copy / "effects.json").read_text()
    (copy / "effects.json").write_text(re.sub(r'("problems":\[")[^"]*', r"\1nobody", outcomes))
    with pytest.raises(HashMismatch, match="other problems"):
        verify(copy)
    (copy / "effects.json").write_text(outcomes[:-9])
    with pytest.raises(CorruptArtifact, match=r"effects\.json"):
        verify(copy)
    (copy / "effects.json").unlink()
    assert verify(copy).checks[-1] == FROM_SHARES


def test_a_record_of_another_schema_is_refused(tmp_path):
    (tmp_path / "intervene.json").write_text('{"schema": "neuralese-audit/1"}')
    with pytest.raises(SchemaError, match="unknown intervene schema"):
        read_intervene(tmp_path)


def test_the_tables_say_what_was_tried(capsys, used):
    capsys.readouterr()
    intervening.print_record(read_intervene(used), used)
    out = capsys.readouterr().out
    for title in ("All steps at once", "One thought exchanged", "Only what the probe reads", "Part of the way"):
        assert title in out
    assert "Not tried: pause on keys-values, pause on both" in out
    assert "DECORATIVE" not in out


@pytest.fixture
def idle(tmp_path, model_folders):
    """Folder of a model whose random thoughts change nothing that its recipe can read."""
    path = tmp_path / "idle.jsonl"
    path.write_text("".join(f'{{"id": "p{k}", "prompt": "start vault ; east {k}"}}\n' for k in range(24)))
    return path


def test_problems_that_tell_no_values_are_edited_all_the_same(capsys, tmp_path, model_folders, idle):
    out = tmp_path / "out"
    command = ["intervene", str(model_folders["gpt2"]), "--problems", str(idle), "--out", str(out), *QUICK]
    assert run([*command, "--json"]) == 0
    value, err = one_json(capsys)
    assert err == ""
    assert "no step can be probed" in value["unprobed"]
    assert all(step["subspace"] is None and step["subspace_absent"] for step in value["steps"])
    assert value["channel"]["n"] == 12
    before = (out / "intervene.json").read_bytes()
    assert run(command) == 0
    assert (out / "intervene.json").read_bytes() == before
    shown, err = capsys.readouterr()
    assert "No subspace was exchanged" in shown
    assert "intervene: 52/52" in err


def test_too_few_problems_are_one_clear_error(capsys, tmp_path, model_folders, idle):
    idle.write_text("".join(idle.read_text().splitlines(keepends=True)[:5]))
    assert run(["intervene", str(model_folders["gpt2"]), "--problems", str(idle), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert "too few honest problems" in error
    assert "alpha" not in error
    assert not (tmp_path / "o").exists()


def test_a_stop_leaves_no_record_and_the_captured_problems(tmp_path, loaded, idle, monkeypatch):
    from workbench.tasks import read_problems

    def stops(stage, done, planned):
        if stage == "intervene" and done == 2:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        job.run_intervene(loaded, read_problems(idle), tmp_path / "out", progress=stops)
    assert not (tmp_path / "out" / "intervene.json").exists()
    assert job.run_intervene(loaded, read_problems(idle), tmp_path / "out").n_problems == 24


def test_decorative_thoughts_are_named_before_anything_else():
    from audit_factory import channel_of, make_audit

    channel = channel_of(decorative=True, coverage=None)
    summary = make_audit(channel=channel).summary.model_dump(mode="json")
    assert verdict_lines(summary)[0] == DECORATIVE
    assert any("nothing that the thoughts could carry" in line for line in channel_lines(channel))
