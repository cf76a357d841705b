"""The record, its pictures and its page: every number beside its control; the command, and what verify refuses."""

import base64
import hashlib
import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from channel_factory import ChannelReasoner, channel_problems, loaded
from test_cli import one_json
from test_report import Page

from workbench.bandwidth import BandwidthPlan, run_bandwidth
from workbench.cli import run
from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.figures.bandwidth import KINDS, NAMES, axis, bits_figure, drawn_at, rate_chart, rates_figure, rungs
from workbench.figures.bandwidth_svg import bits_svg, rates_svg
from workbench.reports.bandwidth_html import render_bandwidth
from workbench.reports.bandwidth_records import BandwidthRecord, CodeRecord, read_bandwidth
from workbench.reports.bandwidth_words import COLUMNS, bits_rows, headline, notices
from workbench.reports.reading import parse_record
from workbench.tasks import Rooms, problem_lines
from workbench.verify import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A measurement of a channel of two steps and 2 bits each."""
    out = tmp_path_factory.mktemp("bits")
    reasoner = ChannelReasoner(2, n_steps=2)
    run_bandwidth(loaded(reasoner, 4), channel_problems(2, 100, n_steps=2), out, BandwidthPlan())
    return out


@pytest.fixture
def record(folder):
    return read_bandwidth(folder)


def changed(record, **values):
    return record.model_copy(update=values)


def test_the_headline_sets_what_is_used_beside_what_there_is_room_for(record):
    line = headline(record)
    assert line.startswith(f"Of {2 * 24 * 16} bits in 2 thoughts, {record.whole.used.bits:.1f} are enough")
    assert "a token of this model takes 2.0" in line
    assert "16.6" in line


def test_unused_thoughts_are_said_to_be_unused(record):
    used = record.whole.used.model_copy(update={"bits": 0.0})
    assert "none is used" in headline(
        changed(record, whole=record.whole.model_copy(update={"used": used, "erased": 0.0}))
    )


def test_a_sound_measurement_has_no_notice_and_the_others_say_what_limits_them(record):
    assert list(notices(record)) == []
    used = record.whole.used.model_copy(update={"holds": False})
    cases = {
        "differ between two runs": {"rerun_changed": 0.1},
        "changes more than was allowed: all steps": {"whole": record.whole.model_copy(update={"used": used})},
        "No code that was tried": {"whole": record.whole.model_copy(update={"used": None})},
        "what the model says": {"labels": "said"},
        "nothing could be decoded": {"labels": "none"},
        "cannot show": {"problem_bits": 0.5},
    }
    for words, values in cases.items():
        assert [words in line for line in notices(changed(record, **values))] == [True], words


def test_rows_hold_every_number_with_interval_and_control(record):
    rows = bits_rows(record)
    assert [row[0] for row in rows] == ["step 0", "step 1", "all steps"]
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert rows[0][1] == str(24 * 16)
    assert "n = 25" in rows[0][COLUMNS.index("said text changes")]
    blind = changed(record, steps=[record.steps[0].model_copy(update={"decodable": None, "sweep": None})])
    assert bits_rows(blind)[0][2:7] == ("–", "–", "–", "–", "not tried")


def test_the_axis_holds_nothing_and_thousands(record):
    ends, ticks = axis(4096.0)
    assert ends[0] < drawn_at(0.0) < drawn_at(3.7) < 4096 < ends[1]
    assert [text for _, text in ticks] == ["0", "1", "10", "100", "1,000", "10,000"]


def test_figures_show_all_four_kinds_of_every_step(record):
    found = rungs(record)
    assert [[point.kind for point in rung.points] for rung in found] == [list(KINDS)] * 3
    figure = bits_figure(record, theme="dark")
    assert [trace.name for trace in figure.data] == [NAMES[kind] for kind in KINDS]
    assert [len(trace.x) for trace in figure.data] == [3, 3, 3, 3]
    words = [element.text for element in ET.fromstring(bits_svg(record)).iter("{http://www.w3.org/2000/svg}text")]
    assert {"step 0", "step 1", "all steps", *NAMES.values()} <= set(words)


def test_the_rate_chart_falls_to_what_is_allowed(record):
    chart = rate_chart(record.whole, allowed=0.01)
    vector, scalar, named, allowed = chart.series
    assert len(named.x) == 1
    assert vector.y[0] == record.whole.erased > 0.5
    assert vector.y[-1] <= 0.01
    assert list(scalar.y) == sorted(scalar.y, reverse=True)
    assert allowed.y == (0.01, 0.01)
    assert len(rates_figure(record.whole, allowed=0.01).data) == 4
    ET.fromstring(rates_svg(record.whole, allowed=0.01, theme="dark"))


def test_the_page_runs_nothing_and_fetches_nothing(record):
    html = render_bandwidth(record)
    page = Page(html)
    assert "script" not in page.tags
    assert not [value for _, name, value in page.attributes if name in ("src", "href") and not value.startswith("#")]
    css = html.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(css.encode()).digest()).decode() in html
    assert page.text.index(headline(record)) < page.text.index("each beside its control")
    assert "lower bound" in page.text
    assert "at most" in page.text


def test_what_a_source_is_called_cannot_break_the_page(record):
    hostile = record.model.model_copy(update={"source": "<script>alert(1)</script>\u202e"})
    html = render_bandwidth(changed(record, model=hostile))
    assert "<script>" not in html
    assert "\u202e" not in html


def test_the_record_reads_back_and_refuses_what_is_impossible(folder, record):
    plain = record.to_plain()
    path = folder / "bandwidth.json"
    assert parse_record(BandwidthRecord, json.loads(record.to_json()), path=path, what="bandwidth") == record
    for spoil, field in (
        (lambda p: p.update(extra=1), "extra"),
        (lambda p: p["chain"].update(bits=-1.0), "chain.bits"),
        (lambda p: p["whole"].update(used=None), "whole"),
        (lambda p: p["steps"].append(p["steps"][0]), "twice"),
        (lambda p: p["steps"][0]["decodable"].update(bits=99.0), "steps.0.decodable"),
    ):
        spoilt = json.loads(json.dumps(plain))
        spoil(spoilt)
        with pytest.raises(SchemaError, match=field):
            parse_record(BandwidthRecord, spoilt, path=path, what="bandwidth")
    for wrong in ({"kind": "vector"}, {"kind": "scalar", "rank": 1}, {"kind": "vector", "words": 1, "rank": 2}):
        with pytest.raises(SchemaError, match="a vector or named code"):
            parse_record(CodeRecord, wrong, path=path, what="code")


def test_another_schema_is_named(tmp_path):
    (tmp_path / "bandwidth.json").write_text('{"schema": "neuralese-bandwidth/9"}')
    with pytest.raises(SchemaError, match="neuralese-bandwidth/1"):
        read_bandwidth(tmp_path)


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_verify_takes_what_was_written(folder):
    found = verify(folder)
    assert found.kind == "bandwidth"
    assert len(found.checks) == 4


@pytest.mark.parametrize(
    ("name", "old", "new", "kind"),
    [
        ("bandwidth.html", "How many bits", "So many bits", HashMismatch),
        ("bandwidth.json", '"told_before":0', '"told_before":1', HashMismatch),
        ("bandwidth.json", '"erased":0', '"erased":1', HashMismatch),
        ("bandwidth.json", '"schema":"neural', '"schema":"nural', CorruptArtifact),
        ("parts/all.json", '"changed":0', '"changed":1', HashMismatch),
    ],
)
def test_verify_refuses_what_was_changed(folder, tmp_path, name, old, new, kind):
    path = copied(folder, tmp_path) / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    spoilt = text.replace(old, new, 1)
    path.write_text(spoilt, encoding="utf-8")
    with pytest.raises((kind, CorruptArtifact)):
        verify(tmp_path / "copy")


def test_verify_says_what_is_missing(folder, tmp_path):
    copy = copied(folder, tmp_path)
    (copy / "bandwidth.json").unlink()
    with pytest.raises(CorruptArtifact, match="did not finish"):
        verify(copy)


def test_the_command_writes_prints_and_resumes(capsys, tmp_path, model_folders):
    problems = tmp_path / "p.jsonl"
    known_once = [replace(p, thoughts=(p.thoughts[0], None, None, None)) for p in Rooms(4).make(60, seed=1)]
    problems.write_bytes(problem_lines(known_once))
    command = ["bandwidth", str(model_folders["gpt2"]), "--problems", str(problems), "--out", str(tmp_path / "bits"),
               "--all-steps", "--measured", "20", "--threads", "1"]  # fmt: skip
    assert run([*command, "--json"]) == 0
    value, err = one_json(capsys)
    assert value["schema"] == "neuralese-bandwidth/1"
    assert value["whole"]["numbers"] == 4 * 32
    assert err == ""
    assert (tmp_path / "bits" / "bandwidth.html").is_file()
    before = (tmp_path / "bits" / "bandwidth.json").read_bytes()
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert "Bits per problem, by step" in out
    assert "sweep: 1/1" in err
    assert (tmp_path / "bits" / "bandwidth.json").read_bytes() == before
