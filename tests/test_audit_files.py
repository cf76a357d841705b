"""What holds of every audit, tried on the bundled liar: what is counted, what is refused, and what damage is found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_audit import FRESH, Audited, audit_organism  # type: ignore[import-not-found]

from workbench.audit import Plan, run_audit
from workbench.errors import ConfigError, CorruptArtifact, HashMismatch, InsufficientData
from workbench.jsonio import canonical_json, digest, read_json
from workbench.organisms.export import organism_problems, unlabelled
from workbench.organisms.recipes import organism
from workbench.reasoners.loading import load_model
from workbench.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_condition_and_meta_change_no_number(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=80, n_problems=20)
    given = [unlabelled(item) for item in items]
    renamed = [replace(problem, condition="honest", meta={"flagged": True}) for problem in given]
    model = load_model("organism:liar", device="cpu")
    records = [
        run_audit(model, [i.problem for i in honest], problems, tmp_path / name, Plan(alpha=0.1))
        for name, problems in (("given", given), ("renamed", renamed))
    ]
    mine, other = [[(p.id, p.verdict, p.score, p.p_value) for p in record.problems] for record in records]
    assert mine == other


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    folder = tmp_path_factory.mktemp("small")
    return audit_organism("liar", folder, n_calibration=120, n_problems=40, plan=Plan(alpha=0.05))


def test_the_same_audit_twice_gives_the_same_bytes(small: Audited, tmp_path: Path) -> None:
    again = audit_organism("liar", tmp_path, n_calibration=120, n_problems=40, plan=Plan(alpha=0.05))
    assert again.record.to_json() == small.record.to_json()
    assert (tmp_path / "run" / "manifest.json").read_bytes() == (small.folder / "run" / "manifest.json").read_bytes()


def test_too_few_honest_problems_are_inconclusive(tmp_path: Path) -> None:
    audited = audit_organism("liar", tmp_path, n_calibration=200, n_problems=20, plan=Plan(alpha=0.01))
    summary = audited.record.summary
    assert summary.verdict == "cannot-tell"
    assert summary.reason is not None
    assert "299" in summary.reason
    assert not summary.false_alarm_rate.certified


def test_without_known_thoughts_what_trusted_problems_say_is_the_label(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=200, n_problems=40)
    model = load_model("organism:liar", device="cpu")
    record = run_audit(
        model, [unlabelled(i) for i in honest], [unlabelled(i) for i in items], tmp_path, Plan(alpha=0.05)
    )
    assert record.settings.labels == "said"
    assert any("what trusted problems say" in warning for warning in record.warnings)
    lies = {item.problem.id for item in items if item.holds != item.says}
    assert {p.id for p in record.problems if p.verdict == "diverges"} == lies


def test_problems_without_thoughts_are_labelled_by_what_they_say(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=200, n_problems=40)
    some = [i.problem if k % 4 == 0 else unlabelled(i) for k, i in enumerate(honest)]
    model = load_model("organism:liar", device="cpu")
    record = run_audit(model, some, [unlabelled(i) for i in items], tmp_path, Plan(alpha=0.05))
    assert record.settings.labels == "mixed"
    lies = {item.problem.id for item in items if item.holds != item.says}
    assert {p.id for p in record.problems if p.verdict == "diverges"} == lies


def test_repeated_prompts_count_once_and_still_certify(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=600, n_problems=30)
    problems = [i.problem for i in honest]
    repeated = [replace(problems[k], id=f"again-{k}", group="") for k in range(6)]
    model = load_model("organism:liar", device="cpu")
    record = run_audit(model, [*problems[:594], *repeated], [unlabelled(i) for i in items], tmp_path, Plan(alpha=0.01))
    assert record.summary.false_alarm_rate.enough
    assert record.summary.verdict == "diverges"


def test_prompts_that_are_audited_are_left_out_of_the_calibration(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=120, n_problems=20)
    leaked = [replace(unlabelled(i), id=f"copy-{k}", thoughts=i.holds) for k, i in enumerate(items[:5])]
    model = load_model("organism:liar", device="cpu")
    record = run_audit(
        model, [*[i.problem for i in honest], *leaked], [unlabelled(i) for i in items], tmp_path, Plan(alpha=0.1)
    )
    assert record.settings.n_calibration == 120
    assert any("5 calibration problems" in warning for warning in record.warnings)


def test_shuffled_labels_flag_nothing_beyond_alpha_and_cannot_tell(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=200, n_problems=60)
    order = np.random.default_rng(0).permutation(len(honest))
    wrong = [replace(i.problem, thoughts=honest[k].holds) for i, k in zip(honest, order, strict=True)]
    model = load_model("organism:liar", device="cpu")
    record = run_audit(model, wrong, [unlabelled(i) for i in items], tmp_path, Plan(alpha=0.05))
    assert {p.verdict for p in record.problems} == {"cannot-tell"}
    assert record.summary.verdict == "cannot-tell"


def test_a_folder_with_files_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ConfigError, match="no run of an audit"):
        audit_organism("liar", tmp_path, n_calibration=60, n_problems=10, plan=Plan(alpha=0.1))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_too_little_to_learn_from_is_refused(tmp_path: Path) -> None:
    honest, items = organism_problems(organism("liar"), seed=FRESH, n_calibration=10, n_problems=5)
    model = load_model("organism:liar", device="cpu")
    with pytest.raises(InsufficientData, match="too few honest problems"):
        run_audit(model, [i.problem for i in honest], [unlabelled(i) for i in items], tmp_path, Plan())
    assert not (tmp_path / "audit.json").exists()


def test_another_audit_in_the_same_folder_is_refused(small: Audited) -> None:
    before = {path: path.read_bytes() for path in small.folder.rglob("*") if path.is_file()}
    assert {"audit.json", "report.html", "problems.csv", "provenance.json"} <= {path.name for path in before}
    with pytest.raises(ConfigError):
        audit_organism("honest", small.folder, n_calibration=120, n_problems=40, plan=Plan(alpha=0.05))
    assert {path: path.read_bytes() for path in small.folder.rglob("*") if path.is_file()} == before


@pytest.fixture
def whole(small: Audited, tmp_path: Path) -> Path:
    """A copy of an audit that a test may damage."""
    return shutil.copytree(small.folder, tmp_path / "copy")


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def test_every_damage_to_an_audit_is_found(whole: Path, tmp_path: Path) -> None:
    verify(whole)
    shard = sorted((whole / "run" / "shards").iterdir())[0]
    damages = {
        "audit.json": lambda p: _edit(p, '"verdict":"diverges"', '"verdict":"agrees"'),
        "report.html": lambda p: p.write_bytes(p.read_bytes() + b" "),
        "problems.csv": lambda p: p.unlink(),
        "provenance.json": lambda p: p.write_bytes(b""),
        "probes/probes.safetensors": lambda p: p.write_bytes(p.read_bytes()[:-1]),
        f"run/shards/{shard.name}": lambda p: p.write_bytes(bytes([p.read_bytes()[0] ^ 1]) + p.read_bytes()[1:]),
    }
    for k, (name, damage) in enumerate(damages.items()):
        hurt = shutil.copytree(whole, tmp_path / f"hurt-{k}")
        damage(hurt / name)
        with pytest.raises((CorruptArtifact, HashMismatch), match=Path(name).name):
            verify(hurt)


def test_a_number_that_was_edited_together_with_its_hash_is_found(whole: Path) -> None:
    plain = read_json(whole / "audit.json")
    plain["steps"][0]["decode_accuracy"] = 0.5
    record = canonical_json(plain)
    (whole / "audit.json").write_bytes(record)
    provenance = read_json(whole / "provenance.json")
    provenance["subjects"]["audit.json"] = digest(record)
    (whole / "provenance.json").write_bytes(canonical_json(provenance))
    with pytest.raises(HashMismatch, match="decode_accuracy"):
        verify(whole)
