"""Probes as two files, see `probes.packs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.errors import ProbeDataError, ProbeFileError
from probes.frozen import FrozenNovelty, FrozenProbe
from probes.packs import Tensors, checked_shape, read_spec, read_tensors, write_pack

SCHEMA = "neuralese-probes/1"
NOVELTY_ARRAYS = ("mean", "basis", "class_means", "whitener")


def save_probes(probes: Mapping[str, FrozenProbe]) -> tuple[bytes, bytes]:
    """Tensors (safetensors) and specification (JSON) of named probes; equal probes have equal bytes.

    Raises:
        ProbeDataError: more probes than can be read back, or a name that is not valid Unicode.
    """
    tensors: Tensors = {}
    records = []
    for index, name in enumerate(sorted(probes)):
        probe = probes[name]
        arrays = _arrays(probe)
        tensors.update({f"{index}.{key}": array for key, array in arrays.items()})
        shapes = {key: list(array.shape) for key, array in arrays.items()}
        record = {"name": name, "kind": probe.kind, "classes": list(probe.classes), "shapes": shapes}
        records.append({**record, "metadata": dict(probe.metadata)})
    return write_pack(SCHEMA, records, tensors)


def _arrays(probe: FrozenProbe) -> Tensors:
    arrays: Tensors = {"coef": probe.coef, "intercept": probe.intercept}
    if probe.novelty is not None:
        arrays |= {f"novelty.{name}": getattr(probe.novelty, name) for name in NOVELTY_ARRAYS}
    return arrays


def load_probes(tensors: bytes, spec: bytes) -> dict[str, FrozenProbe]:
    """The probes of two files that `save_probes` made.

    Raises:
        ProbeFileError: with the field, for whatever differs from what was written, or is not ours.
    """
    body = read_spec(spec, SCHEMA)
    records = [_checked_record(record, index) for index, record in enumerate(body["probes"])]
    names = [record["name"] for record in records]
    if names != sorted(set(names)):
        raise ProbeFileError("names must be sorted and different", field="probes")
    shapes = {
        f"{index}.{key}": shape for index, record in enumerate(records) for key, shape in record["shapes"].items()
    }
    arrays = read_tensors(tensors, shapes, body["tensors_sha256"])
    return {record["name"]: _probe(record, index, arrays) for index, record in enumerate(records)}


def _checked_record(record: Any, index: int) -> dict[str, Any]:
    where = f"probes[{index}]"
    if not isinstance(record, dict) or set(record) != {"name", "kind", "classes", "shapes", "metadata"}:
        raise ProbeFileError("must have exactly the keys name, kind, classes, shapes, metadata", field=where)
    if not isinstance(record["name"], str):
        raise ProbeFileError("must be text", field=f"{where}.name")
    if record["kind"] not in FrozenProbe.KINDS:
        raise ProbeFileError(f"unknown kind {record['kind']!r}; known are {FrozenProbe.KINDS}", field=f"{where}.kind")
    if not isinstance(record["classes"], list) or not all(isinstance(label, str) for label in record["classes"]):
        raise ProbeFileError("must be a list of texts", field=f"{where}.classes")
    if not isinstance(record["metadata"], dict):
        raise ProbeFileError("must be an object", field=f"{where}.metadata")
    allowed = {"coef": 2, "intercept": 1}
    novel = {"novelty.mean": 1, "novelty.basis": 2, "novelty.class_means": 2, "novelty.whitener": 2}
    shapes = record["shapes"]
    if not isinstance(shapes, dict) or set(shapes) not in (set(allowed), set(allowed | novel)):
        raise ProbeFileError("must name coef, intercept and all or none of the novelty arrays", field=f"{where}.shapes")
    for key, n_axes in (allowed | novel).items():
        checked_shape(shapes.get(key, [1] * n_axes), n_axes, f"{where}.shapes.{key}")
    return record


def _probe(record: dict[str, Any], index: int, arrays: Tensors) -> FrozenProbe:
    own = {key: arrays[f"{index}.{key}"] for key in record["shapes"]}
    try:
        novelty = None
        if "novelty.mean" in own:
            novelty = FrozenNovelty(*(own[f"novelty.{name}"] for name in NOVELTY_ARRAYS))
        return FrozenProbe(
            record["kind"],
            tuple(record["classes"]),
            own["coef"],
            own["intercept"],
            record["metadata"],
            novelty,
        )
    except ProbeDataError as error:
        raise ProbeFileError(f"does not make a probe: {error}", field=f"probes[{index}]") from error
