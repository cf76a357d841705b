"""The Probes page without a browser: which folders are found, what is chosen, what is said where nothing is."""

import json
import os
import subprocess
import sys

import pytest
from audit_factory import make_audit, write_audit
from fit_factory import HOSTILE, cell_of, grid_cells, hostile_fit, make_fit, text_of, undefined_cell, write_fit
from test_dashboard import ENTRY, ROOT, opened, words

from apps import data
from workbench.reports.escape import visible


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return tmp_path


def chosen(app):
    return {box.key: box.value for box in app.selectbox}


def figures_of(app):
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def badges(app):
    return " ".join(element.value for element in app.markdown)


def test_a_folder_of_probes_alone_opens_on_its_page(folder):
    write_fit(folder, make_fit())
    app = opened()
    assert chosen(app) | {"run": ""} == {
        "run": "", "label": "thought", "probe": "logistic", "score": "accuracy", "beside": "shuffled labels",
        "site": "blocks.1.hook_resid_post", "at": 0, "text": "thought",
    }  # fmt: skip
    assert [metric.value for metric in app.metric] == ["16 of 23", "0.97", "0.98"]
    assert all(metric.delta for metric in app.metric)
    assert any(text.startswith("uncontrolled: Controls not run: control task in 1 of 23") for text in words(app))


def test_an_undefined_cell_says_why(folder):
    write_fit(folder, make_fit())
    app = opened(site="blocks.0.hook_resid_post", at="0")
    assert "Undefined: one value in the fit rows" in words(app)
    assert len(figures_of(app)) == 2


def test_a_cell_that_is_picked_shows_its_figures_beside_its_controls(folder):
    write_fit(folder, make_fit())
    app = opened(site="blocks.1.hook_resid_post", at="2")
    assert chosen(app)["at"] == 2
    assert len(figures_of(app)) == 5
    assert len(figures_of(app)[0]["layout"]["shapes"]) == 2
    facts = app.dataframe[0].value.set_index("about this cell")
    assert facts.loc["accuracy", "value"] == "0.96"
    assert facts.loc["accuracy", "beside"].endswith("n = 300 in 290 groups, 8 values")
    assert facts.loc["shuffled labels", "value"] == "0.12"
    assert facts.loc["logit lens", "value"] == "not run"
    assert ":blue-badge[:material/check: readable after correction]" in badges(app)


def test_label_score_and_control_change_the_grid(folder):
    cells = [cell_of(accuracy=0.9), cell_of(label="answer", accuracy=0.6)]
    write_fit(folder, make_fit(cells))

    def panels(app):
        return [trace["z"][0][0] for trace in figures_of(app)[0]["data"] if trace["type"] == "heatmap"]

    assert panels(opened()) == [0.9, 0.12]
    assert panels(opened(label="answer")) == [0.6, 0.12]
    assert panels(opened(beside="input only")) == [0.9, 0.31]
    assert panels(opened(score="code length")) == [210, 900]


def test_buttons_walk_through_the_steps(folder):
    write_fit(folder, make_fit(grid_cells()))
    app = opened(site="blocks.1.hook_resid_post", at="0")
    next(button for button in app.button if button.label == "Next step").click().run()
    assert chosen(app)["at"] == 1
    assert not app.exception


def test_a_score_without_a_control_is_amber(folder):
    write_fit(folder, make_fit([cell_of(twin=None)]))
    app = opened()
    assert ":orange-badge[:material/warning: uncontrolled]" in badges(app)
    assert "Controls not run: random twin." in words(app)
    write_fit(folder / "sound", make_fit([cell_of()]))
    app = opened(run="sound")
    assert "uncontrolled" not in badges(app)


def test_a_fit_without_cells_or_of_text_probes_only_is_shown(folder):
    write_fit(folder / "empty", make_fit([], []))
    write_fit(folder / "texts", make_fit([], [text_of(0), text_of(0, "other")]))
    write_fit(folder / "undefined", make_fit([undefined_cell()], []))
    assert not figures_of(opened(run="empty"))
    assert len(figures_of(opened(run="texts"))) == 1
    assert len(figures_of(opened(run="undefined"))) == 1


def test_audits_and_fits_live_side_by_side(folder):
    write_audit(folder / "demo", make_audit())
    write_fit(folder / "probes", make_fit())
    assert list(data.find_runs([folder])) == ["demo", "probes"]
    app = opened(run="demo")
    assert app.dataframe[0].value["problem"].iloc[0]
    for page in (None, "trace"):
        app = opened(page, run="probes")
        assert app.info[0].value.startswith("This folder holds probes. Open it on the page Probes")
        assert [code.value for code in app.code] == [
            "workbench audit MODEL --calibration honest.jsonl --problems problems.jsonl --out runs/mine"
        ]
    app = opened("probes", run="demo")
    assert app.info[0].value.startswith("This folder holds an audit. Open it on the page Overview")
    assert [code.value for code in app.code] == ["workbench fit RUN --out runs/probes"]
    assert opened("probes", run="probes").metric


def test_without_anything_the_page_says_what_makes_probes(folder):
    app = opened()
    assert "workbench fit RUN --out runs/probes" in [code.value for code in app.code]


def test_probes_of_an_older_form_are_a_card(folder):
    write_fit(folder / "good", make_fit())
    (folder / "old").mkdir()
    (folder / "old" / "fit.json").write_text('{"schema": "neuralese-fit/1"}')
    app = opened(run="old")
    assert app.error[0].value.startswith("These probes cannot be read")
    assert "found: neuralese-fit/1" in app.code[0].value
    assert "workbench fit" in app.code[0].value
    assert str(folder) not in app.code[0].value


def test_a_fit_that_was_written_again_is_read_again(folder):
    before = data.load_fit(write_fit(folder, make_fit()))
    assert data.load_fit(folder) is before
    write_fit(folder, make_fit([cell_of()]))
    os.utime(folder / "fit.json", ns=(1, 1))
    assert data.load_fit(folder).n_cells == 1


def test_only_fits_under_the_given_folders_are_found(tmp_path):
    outside = write_fit(tmp_path / "outside" / "secret", make_fit())
    inside = tmp_path / "inside"
    write_fit(inside / "good", make_fit())
    (inside / "link").symlink_to(outside)
    assert data.find_runs([inside]) == {"good": (inside / "good").resolve()}
    both = write_fit(write_audit(inside / "both", make_audit()), make_fit())
    assert not data.is_fit(both)
    assert list(data.find_runs([inside])) == ["both", "good"]


@pytest.mark.parametrize("value", ["no", "../../etc/passwd", "-1", "<script>", "9" * 5000])
def test_invalid_parameters_are_ignored(folder, value):
    write_fit(folder, make_fit([cell_of()]))
    app = opened(label=value, probe=value, score=value, beside=value, site=value, at=value, text=value)
    assert chosen(app)["site"] == "blocks.1.hook_resid_post"


def test_text_of_the_record_is_never_markdown(folder):
    for place, text in enumerate(HOSTILE):
        write_fit(folder / f"fit-{place:02d}", hostile_fit(text))
        app = opened(run=f"fit-{place:02d}")
        for element in [*app.markdown, *app.caption, *app.subheader, *app.info, *app.error]:
            assert "pwned" not in element.value
            assert "evil.test" not in element.value
            assert "red[vault]" not in element.value
        shown = json.dumps([*words(app), *(figure["data"] for figure in figures_of(app))])
        assert "<script" not in json.dumps(figures_of(app))
        assert visible(text)[:10] in "".join(words(app))
        assert "\\u202e" not in shown.replace("\\\\u202e", "")


def test_the_page_starts_without_torch(folder):
    write_fit(folder, make_fit())
    code = (
        "import sys; sys.argv = ['dashboard.py', sys.argv[1]]\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(ENTRY)!r}, default_timeout=60).run()\n"
        "assert not app.exception and app.metric\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
