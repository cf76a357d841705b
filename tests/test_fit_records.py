"""The record of a fit: no score without its control, and every break of the schema is named."""

import json

import pytest
from fit_factory import HOSTILE, cell_of, hostile_fit, make_fit, text_of, undefined_cell, undefined_text, write_fit
from pydantic import ValidationError

from workbench.errors import SchemaError
from workbench.reports.fit_records import FitRecord, read_fit


def test_a_fit_comes_back_as_it_was_written(tmp_path):
    for fit in (make_fit(), make_fit([]), *(hostile_fit(text) for text in HOSTILE)):
        again = read_fit(write_fit(tmp_path / "fit", fit))
        assert again == fit
        assert again.to_json() == fit.to_json()


def test_a_whole_number_in_the_file_is_a_score_too(tmp_path):
    fit = make_fit([cell_of(accuracy=1.0, selectivity=1.0, control_task=0.0)])
    plain = json.loads(write_fit(tmp_path, fit).joinpath("fit.json").read_bytes())
    assert plain["fits"][0]["accuracy"] == 1
    assert plain["fits"][0]["interval"] == [0.97, 1]
    assert read_fit(tmp_path).fits[0].accuracy == 1.0


LONE = "without its sample size or its shuffled control"
EITHER = "either a score or the reason"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shuffled": None}, LONE),
        ({"n": 0}, LONE),
        ({"n_groups": 0}, LONE),
        ({"n_shuffles": 0}, LONE),
        ({"interval": None}, "an interval exactly where"),
        ({"undefined_because": "because"}, EITHER),
        ({"accuracy": None, "interval": None}, EITHER),
        ({"accuracy": None, "undefined_because": "why", "interval": [0.1, 0.2]}, "an interval exactly where"),
        ({"accuracy": None, "interval": None, "undefined_because": "why", "readable": True}, "cannot be readable"),
        ({"accuracy": 1.2}, "less than or equal to 1"),
        ({"control_task": None}, "without its control task"),
        ({"interval": [0.9, 0.1]}, "down to"),
        ({"interval": [0.9]}, "interval"),
        ({"log_loss": float("nan")}, "log_loss"),
        ({"step": -1}, "step"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_an_impossible_cell_is_refused(change, why):
    with pytest.raises(ValidationError, match=why):
        cell_of(**change)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shuffled": None}, LONE),
        ({"n": 0}, LONE),
        ({"interval": None}, "an interval exactly where"),
        ({"undefined_because": "x"}, EITHER),
        ({"n_offsets": 2}, "for 2 offsets"),
        ({"top_1": []}, "for 1 offsets"),
    ],
)
def test_an_impossible_text_probe_is_refused(change, why):
    with pytest.raises(ValidationError, match=why):
        text_of(**change)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n_undefined": 1}, "do not add up"),
        ({"n_cells": 7}, "lists 1"),
        ({"fits": [cell_of(), cell_of()], "n_cells": 2}, "listed twice"),
        ({"text": [text_of(), text_of()]}, "listed twice"),
        ({"status": "done"}, "status"),
    ],
)
def test_an_impossible_fit_is_refused(change, why):
    with pytest.raises(ValidationError, match=why):
        make_fit([cell_of()], **change)


def test_a_partial_fit_may_lack_cells():
    assert make_fit([cell_of()], [], status="partial", n_cells=9).n_cells == 9


def test_what_may_be_said_of_a_cell():
    assert cell_of().standing == "readable"
    assert cell_of(readable=False).standing == "input"
    assert cell_of(accuracy=0.13).standing == "chance"
    assert cell_of(corrected_p=0.0501).standing == "chance"
    assert cell_of(corrected_p=None).standing == "uncorrected"
    assert undefined_cell().standing == "undefined"
    assert undefined_text().exact_match is None


def test_what_is_wrong_is_named_with_file_and_field(tmp_path):
    path = write_fit(tmp_path, make_fit()) / "fit.json"
    plain = json.loads(path.read_bytes())
    with pytest.raises(SchemaError, match="no such file"):
        read_fit(tmp_path / "absent")
    for field, value, name in (("accuracy", "high", "fits.2.accuracy"), ("layer", 1.5, "fits.2.layer")):
        spoilt = json.loads(json.dumps(plain))
        spoilt["fits"][2][field] = value
        path.write_text(json.dumps(spoilt))
        with pytest.raises(SchemaError) as caught:
            read_fit(tmp_path)
        assert caught.value.path == str(path)
        assert caught.value.field == name
        assert name in caught.value.message
    for schema in ("neuralese-fit/1", None, ["neuralese-fit/2"]):
        path.write_text(json.dumps(plain | {"schema": schema}))
        with pytest.raises(SchemaError, match="unknown fit schema"):
            read_fit(tmp_path)
    path.write_text("[]")
    with pytest.raises(SchemaError, match="unknown fit schema"):
        read_fit(tmp_path)


def test_records_build_from_plain_values():
    fit = make_fit()
    assert FitRecord.model_validate(fit.to_plain()) == fit
    assert fit.to_plain()["fits"] == [cell.to_plain() for cell in fit.fits]
