"""Text probes and tuned lenses as two files, see `probes.packs`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.errors import ProbeDataError, ProbeFileError
from probes.frozen import plain
from probes.packs import Tensors, checked_shape, read_spec, read_tensors, write_pack
from probes.text import TextProbe
from probes.text_choose import Settings
from probes.text_space import SharedSpace
from probes.text_writer import ThoughtWriter
from probes.translator import Translator

SCHEMA = "neuralese-texts/1"
SPACE = {
    "thought_map": 2, "thought_mean": 1, "token_map": 2, "token_mean": 1, "token_shift": 1, "end_place": 1,
    "n_end": 1, "seen": 1, "times": 1,
}  # fmt: skip
"""Arrays of a shared space and their axes; counts are whole numbers, exact in float64."""
WRITER = {"slope": 2, "feature_mean": 1, "mean": 1}
LENS = {"change": 2, "shift": 1, "mean": 1}
SETTINGS = ("shrinkage", "penalty", "sharpness", "log_loss")
MAX_OFFSETS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class SavedText:
    """A text probe, and the tuned lens of the same vectors where one was trained."""

    probe: TextProbe
    lens: Translator | None
    metadata: Mapping[str, Any]
    """Plain JSON values."""


def save_texts(texts: Mapping[str, SavedText]) -> tuple[bytes, bytes]:
    """Tensors (safetensors) and specification (JSON); equal contents have equal bytes.

    Raises:
        ProbeDataError: metadata that are not plain values, or a name that is not valid Unicode.
    """
    tensors: Tensors = {}
    records = []
    for index, name in enumerate(sorted(texts)):
        text = texts[name]
        arrays = _arrays(text)
        tensors |= {f"{index}.{key}": array for key, array in arrays.items()}
        settings = [
            {key: value if math.isfinite(value := float(getattr(one, key))) else None for key in SETTINGS}
            for one in text.probe.settings
        ]
        records.append({
            "name": name, "n_offsets": text.probe.n_offsets, "n_fit": text.probe.n_fit, "settings": settings,
            "lens": text.lens is not None, "metadata": plain(text.metadata),
            "shapes": {key: list(array.shape) for key, array in arrays.items()},
        })  # fmt: skip
    return write_pack(SCHEMA, records, tensors)


def _arrays(text: SavedText) -> Tensors:
    arrays = {f"{place}.{key}": array for place, space in _spaces(text.probe) for key, array in _of_space(space)}
    arrays |= {f"writer.{key}": getattr(text.probe.writer, key) for key in WRITER}
    if text.lens is not None:
        arrays |= {f"lens.{key}": getattr(text.lens, key) for key in LENS}
    return {key: np.ascontiguousarray(np.atleast_1d(array), dtype=np.float64) for key, array in arrays.items()}


def _spaces(probe: TextProbe) -> list[tuple[str, SharedSpace]]:
    return [(f"offset{k}", space) for k, space in enumerate(probe.offsets)]


def _of_space(space: SharedSpace) -> list[tuple[str, NDArray[Any]]]:
    return [(key, np.asarray(getattr(space, key))) for key in SPACE]


def load_texts(tensors: bytes, spec: bytes) -> dict[str, SavedText]:
    """What two files hold that `save_texts` made.

    Raises:
        ProbeFileError: with the field, for whatever differs from what was written, or is not ours.
    """
    body = read_spec(spec, SCHEMA)
    records = [_checked_record(record, index) for index, record in enumerate(body["probes"])]
    shapes = {
        f"{index}.{key}": shape for index, record in enumerate(records) for key, shape in record["shapes"].items()
    }
    arrays = read_tensors(tensors, shapes, body["tensors_sha256"])
    return {record["name"]: _text(record, index, arrays) for index, record in enumerate(records)}


def _checked_record(record: Any, index: int) -> dict[str, Any]:
    where = f"probes[{index}]"
    keys = {"name", "n_offsets", "n_fit", "settings", "lens", "metadata", "shapes"}
    if not isinstance(record, dict) or set(record) != keys:
        raise ProbeFileError(f"must have exactly the keys {', '.join(sorted(keys))}", field=where)
    kinds = {"name": str, "n_offsets": int, "n_fit": int, "settings": list, "lens": bool, "metadata": dict}
    for key, kind in kinds.items():
        if type(record[key]) is not kind:
            raise ProbeFileError(f"must be {kind.__name__}; found {record[key]!r:.60}", field=f"{where}.{key}")
    if not 1 <= record["n_offsets"] <= MAX_OFFSETS:
        raise ProbeFileError(f"must lie in 1 to {MAX_OFFSETS}", field=f"{where}.n_offsets")
    places = [f"offset{k}" for k in range(record["n_offsets"])]
    axes = {f"{place}.{key}": n for place in places for key, n in SPACE.items()}
    axes |= {f"writer.{key}": n for key, n in WRITER.items()}
    axes |= {f"lens.{key}": n for key, n in LENS.items()} if record["lens"] else {}
    if not isinstance(record["shapes"], dict) or set(record["shapes"]) != set(axes):
        raise ProbeFileError(
            "must name the arrays of every offset, of the length and of the writer", field=f"{where}.shapes"
        )
    for key, n_axes in axes.items():
        checked_shape(record["shapes"][key], n_axes, f"{where}.shapes.{key}")
    return record


def _text(record: dict[str, Any], index: int, arrays: Tensors) -> SavedText:
    own = {key: arrays[f"{index}.{key}"] for key in record["shapes"]}
    try:
        offsets = tuple(_space(own, f"offset{k}") for k in range(record["n_offsets"]))
        writer = ThoughtWriter(**{key: own[f"writer.{key}"] for key in WRITER})
        settings = tuple(_settings(one) for one in record["settings"])
        probe = TextProbe(offsets, writer, settings, record["n_fit"])
        lens = Translator(**{key: own[f"lens.{key}"] for key in LENS}) if record["lens"] else None
    except (ProbeDataError, TypeError, ValueError, KeyError) as error:
        raise ProbeFileError(f"does not make a text probe: {error}", field=f"probes[{index}]") from error
    return SavedText(probe, lens, record["metadata"])


def _space(own: Mapping[str, NDArray[np.float64]], place: str) -> SharedSpace:
    arrays = {key: own[f"{place}.{key}"] for key in SPACE}
    counts = {key: _whole(arrays.pop(key)) for key in ("n_end", "seen", "times")}
    return SharedSpace(**arrays, n_end=int(counts["n_end"][0]), seen=counts["seen"], times=counts["times"])


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.intp]:
    if not (numbers == np.rint(numbers)).all() or np.abs(numbers).max(initial=0) >= 2**53:
        raise ValueError("counts must be whole numbers")
    return numbers.astype(np.intp)


def _settings(plain_settings: Any) -> Settings:
    values = {key: plain_settings[key] for key in SETTINGS}
    return Settings(**{key: float("nan") if value is None else float(value) for key, value in values.items()})
