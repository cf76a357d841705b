"""Verify of a fit: what was written passes, and whatever is changed afterwards is refused with file and field."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fit_runs import TWIN, planted_problems, planted_run
from test_cli import one_json

from probes import load_probes, save_probes
from probes.text_files import load_texts, save_texts
from workbench.capture import capture
from workbench.cli import run as cli
from workbench.errors import CorruptArtifact, HashMismatch, IntegrityError
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan
from workbench.jsonio import canonical_json, digest
from workbench.reasoners.loading import load_model
from workbench.reports.fit_headline import scored
from workbench.reports.fit_html import CELLS_DRAWN, render_fit_report
from workbench.reports.fit_records import parse_fit, read_fit
from workbench.reports.fit_tables import cells_csv, cells_parquet
from workbench.tasks import Rooms
from workbench.verify import verify

PACKS = ("probes.safetensors", "probes.json")
TEXTS = ("texts.safetensors", "texts.json")
TABLES = ("cells.csv", "cells.parquet", "report.html")
FILES = (*PACKS, *TABLES, "fit.json", "job.json")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Three kinds of probes at two sites; at step 1 nothing can be told apart; a twin that lies elsewhere."""
    folder = tmp_path_factory.mktemp("planted")
    problems = planted_problems(120, 3)
    for problem in problems:
        problem["thoughts"][1] = "ash"
    plan = FitPlan(lambdas=[0.1], probes=["logistic", "lda", "ridge"])
    twin = planted_run(folder / "twin", strength=0.0, problems=problems, config=TWIN)
    run_fit(planted_run(folder / "run", problems=problems), folder / "fit", plan, twin=twin)
    return folder / "fit"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A text probe beside a value probe, and a twin within the folder."""
    folder = tmp_path_factory.mktemp("spoken")
    model = load_model("organism:honest", device="cpu")
    capture(model, Rooms(3).make(60, seed=1), folder / "run", sites=["thought"])
    plan = FitPlan(steps=[0], lambdas=[0.1], duplicates="merge")
    run_fit(folder / "run", folder / "fit", plan, model=model)
    return folder / "fit"


@pytest.fixture
def fit(planted, tmp_path):
    return shutil.copytree(planted, tmp_path / "fit")


@pytest.fixture
def texts(spoken, tmp_path):
    return shutil.copytree(spoken, tmp_path / "texts")


def refused(folder, kind=IntegrityError):
    with pytest.raises(kind) as caught:
        verify(folder)
    assert caught.value.exit_code == 4
    assert caught.value.path.startswith(str(folder))
    return caught.value.path.removeprefix(f"{folder}/"), caught.value.field


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def edited(folder, *keys, by=lambda value: value / 2):
    """Change one value of the record."""
    plain = json.loads((folder / "fit.json").read_bytes())
    inside = plain
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = by(inside[keys[-1]])
    (folder / "fit.json").write_bytes(canonical_json(plain))
    return plain


def follow(folder, **changes):
    """Write the record with these changes, and all that follows from it."""
    plain = json.loads((folder / "fit.json").read_bytes()) | changes
    record = parse_fit(plain, path=folder)
    (folder / "fit.json").write_bytes(record.to_json())
    (folder / "cells.csv").write_bytes(cells_csv(record).encode())
    (folder / "cells.parquet").write_bytes(cells_parquet(record))
    (folder / "report.html").write_bytes(render_fit_report(record).encode())


def repack(folder, save, names, packed):
    """Put another pack in the place of one, and its hash into the record."""
    data = save(packed)
    for name, part in zip(names, data, strict=True):
        (folder / name).write_bytes(part)
    follow(folder, **{"probes_root" if names == PACKS else "texts_root": digest(b"".join(data))})


def test_what_was_written_is_as_recorded(planted, spoken, capsys):
    for folder in (planted, spoken):
        record = read_fit(folder)
        found = verify(folder)
        assert (found.kind, found.root) == ("fit", record.probes_root)
        assert cli(["verify", str(folder), "--json"]) == 0
        assert one_json(capsys)[0]["checks"] == list(found.checks)
    assert read_fit(planted).n_undefined == 6
    assert read_fit(spoken).text[0].exact_match is not None


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_anywhere_is_refused(fit, name):
    whole = (fit / name).read_bytes()
    for place in range(0, len(whole), max(len(whole) // 12, 1)):
        flip(fit / name, place)
        where, _ = refused(fit)
        assert where == name or name in {"fit.json", *PACKS}, (place, where)
        (fit / name).write_bytes(whole)
    verify(fit)


@pytest.mark.parametrize("name", TEXTS)
def test_a_flipped_byte_of_text_probes_is_refused(texts, name):
    flip(texts / name, len((texts / name).read_bytes()) // 2)
    assert refused(texts, CorruptArtifact)[0] in TEXTS


@pytest.mark.parametrize("name", FILES)
def test_a_deleted_file_is_named(fit, name, capsys):
    (fit / name).unlink()
    assert refused(fit, CorruptArtifact)[0] == name
    assert cli(["verify", str(fit), "--json"]) == 4
    assert one_json(capsys)[0]["error"] == "CorruptArtifact"


@pytest.mark.parametrize("name", [*TEXTS, "twin/manifest.json"])
def test_deleted_text_probes_and_twins_are_named(texts, name):
    (texts / name).unlink()
    assert name.startswith(refused(texts)[0])


@pytest.mark.parametrize(
    ("keys", "where", "field"),
    [
        (("fits", 0, "accuracy"), "fit.json", "fits[0].accuracy"),
        (("fits", 0, "shuffled"), "fit.json", "fits[0].shuffled"),
        (("fits", 0, "C"), "fit.json", "fits[0].C"),
        (("fits", 0, "log_loss"), "cells.csv", "line 2"),
        (("fits", 1, "majority"), "cells.csv", "line 3"),
        (("correction", "n_cells"), "report.html", None),
        (("plan", "held_out"), "fit.json", "fits[0].plan.held_out"),
    ],
)
def test_an_edited_number_is_found(fit, keys, where, field):
    edited(fit, *keys, by=lambda value: value // 2 if isinstance(value, int) else value / 2)
    found = refused(fit, HashMismatch)
    assert found[0] == where
    assert field is None or found[1] == field


def test_numbers_that_stand_in_no_table_and_no_drawing_are_found_too(fit, texts):
    record = read_fit(fit)
    drawn = {cell.key for cell in scored(record)[:CELLS_DRAWN]}
    place = next(k for k, cell in enumerate(record.fits) if cell.learning_curve and cell.key not in drawn)
    edited(fit, "fits", place, "learning_curve", 0, "accuracy", by=lambda value: value * 0.99)
    assert refused(fit, HashMismatch)[0] == "report.html"
    edited(texts, "text", 0, "details", "majority")
    assert refused(texts, HashMismatch)[0] == "report.html"


def test_a_record_that_does_not_add_up_or_was_laid_out_anew_is_refused(fit):
    whole = (fit / "fit.json").read_bytes()
    edited(fit, "n_undefined", by=lambda value: value + 1)
    assert refused(fit, CorruptArtifact)[0] == "fit.json"
    (fit / "fit.json").write_text(json.dumps(json.loads(whole), indent=2))
    assert refused(fit, HashMismatch) == ("fit.json", "canonical JSON")


def test_a_score_that_was_raised_everywhere_but_in_its_probe_is_found(fit):
    plain = edited(fit, "fits", 0, "accuracy", by=lambda value: 1.0 if value < 1.0 else 0.99)
    follow(fit, fits=plain["fits"])
    assert refused(fit, HashMismatch) == ("fit.json", "fits[0].accuracy")


def test_probes_and_scores_belong_together(fit, planted):
    probes = load_probes(*((fit / name).read_bytes() for name in PACKS))
    one, other = sorted(probes)[:2]
    repack(fit, save_probes, PACKS, {name: probe for name, probe in probes.items() if name != one})
    assert refused(fit, HashMismatch) == ("fit.json", "fits")
    repack(fit, save_probes, PACKS, probes | {one: probes[other], other: probes[one]})
    assert refused(fit, HashMismatch)[1].startswith("fits[")
    repack(fit, save_probes, PACKS, probes)
    verify(fit)
    assert (fit / "report.html").read_bytes() == (planted / "report.html").read_bytes()


def test_probes_of_another_fit_are_refused(fit, tmp_path):
    run_fit(planted_run(tmp_path / "run", n=64), tmp_path / "other", FitPlan(lambdas=[0.1]))
    for name in PACKS:
        shutil.copy(tmp_path / "other" / name, fit / name)
    assert refused(fit, HashMismatch) == ("probes.safetensors", "probes_root")


def test_text_probes_belong_to_their_scores(fit, texts):
    packed = load_texts(*((texts / name).read_bytes() for name in TEXTS))
    (name,) = packed
    repack(texts, save_texts, TEXTS, {"another": packed[name]})
    assert refused(texts, HashMismatch) == ("fit.json", "text")
    repack(texts, save_texts, TEXTS, packed)
    verify(texts)
    shutil.copy(texts / TEXTS[0], fit / TEXTS[0])
    assert refused(fit, HashMismatch) == (TEXTS[0], "texts_root")


def test_a_twin_within_the_folder_is_verified(texts):
    shard = next((texts / "twin").rglob("*.safetensors"))
    flip(shard, -1)
    assert refused(texts, HashMismatch)[0] == str(shard.relative_to(texts))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_table_of_another_version_of_arrow_is_compared_by_its_values(fit, elsewhere):
    if elsewhere:
        versions = {**read_fit(fit).versions, "pyarrow": "1.0"}
        follow(fit, versions=versions)
        job = json.loads((fit / "job.json").read_bytes())
        (fit / "job.json").write_bytes(canonical_json(job | {"versions": versions}))
    path = fit / "cells.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(), path, compression="zstd")
    if elsewhere:
        verify(fit)
    else:
        assert refused(fit, HashMismatch) == ("cells.parquet", "cells")
    pq.write_table(table.set_column(0, "site", pa.array(["thought"] * len(table), pa.string())), path)
    assert refused(fit, HashMismatch) == ("cells.parquet", "cells")
    path.write_bytes(b"PAR1" * 9)
    assert refused(fit)[0] == "cells.parquet"


def test_a_fit_that_did_not_finish_says_so(fit):
    (fit / "fit.json").unlink()
    with pytest.raises(CorruptArtifact, match="did not finish"):
        verify(fit)
