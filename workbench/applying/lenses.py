"""Lenses as readers of a run: the word that the model's own head would say at every vector that it can read.

The logit lens (nostalgebraist 2020) reads a vector as it is; a tuned lens (Belrose et al. 2023, arXiv:2303.08112)
translates it first, by a map that the fit kept. Neither knows labels. Both are asked for what the probes of the fit are
asked for, for the known value of the step, and for that of the next: the top of a model says what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.errors import ProbeFileError
from probes.text_files import load_texts
from probes.translator import Translator
from workbench.applying.readers import TOP, Asked, Likeliest, Reader
from workbench.errors import ConfigError, CorruptArtifact, HashMismatch
from workbench.fitting.finish import TEXTS_NAME, TEXTS_SPEC_NAME
from workbench.jsonio import digest
from workbench.lenses import likeliest_tokens
from workbench.reasoners.base import Reasoner
from workbench.reasoners.speaking import LanguageReasoner
from workbench.reports.apply_records import LENSES, Measured
from workbench.reports.fit_records import FitRecord
from workbench.reports.reading import parse_record

THOUGHT = "thought"
ALWAYS = (THOUGHT, "thought+1")
"""What a lens is asked for beside the labels of the fit."""
Values = Sequence[str | None]
Place = tuple[str, int]
"""Site and step."""


class Lenses:
    """The lenses of a model, made where a run has vectors that the model's head reads.

    Args:
        reasoner: the model of the run.
        labels: what they are asked for, where values are known.
        values_of: label and step -> known value of each problem.
        translators: tuned lenses by site and step.
        measured: what the fit measured of a lens, by its kind, site and step.

    Raises:
        ConfigError: the reasoner has no tokenizer.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        values_of: Callable[[str, int], Values],
        *,
        labels: Iterable[str],
        translators: Mapping[Place, Translator],
        measured: Mapping[tuple[str, str, int], Measured],
    ) -> None:
        if not isinstance(reasoner, LanguageReasoner):
            raise ConfigError("a lens needs a reasoner with a tokenizer and a head", found=type(reasoner).__name__)
        self._reasoner = reasoner
        self._values_of = values_of
        self._labels = sorted({*ALWAYS, *labels})
        self._translators = translators
        self._measured = measured
        self._word_of: dict[int, str] = {}
        self._readers: dict[tuple[str, int, int], list[Reader]] = {}

    def read_site(self, site: str, width: int) -> bool:
        """Whether the model's head reads vectors of this site."""
        where = self._reasoner.sites.get(site)
        return where is not None and where.normed is not None and where.size == width

    def at(self, site: str, visits: Iterable[tuple[int, int]]) -> list[Reader]:
        """Readers of a site at these steps and visits; the same ones whenever they are asked for."""
        found: list[Reader] = []
        for step, visit in visits:
            key = (site, step, visit)
            if key not in self._readers:
                self._readers[key] = self._made(*key)
            found += self._readers[key]
        return found

    def _made(self, site: str, step: int, visit: int) -> list[Reader]:
        values = {label: self._named(self._values_of(label, step)) for label in self._labels}
        maps: dict[str, Translator | None] = {LENSES[0]: None}
        if visit == 0 and (site, step) in self._translators:
            maps[LENSES[1]] = self._translators[site, step]
        where = f"{site}.step{step:04d}" + f".visit{visit:04d}" * (visit > 0)
        readers = []
        for kind, translator in maps.items():
            fitted = self._measured.get((kind, site, step)) if visit == 0 else None
            asked = tuple(
                Asked(f"{where}.{label}.{kind.replace(' ', '-')}", label, known,
                      fitted=fitted if label == THOUGHT else None)
                for label, known in values.items()
                if label == THOUGHT or any(value is not None for value in known)
            )  # fmt: skip
            readers.append(Reader(site, step, visit, kind, asked, self._reading(site, translator)))
        return readers

    def _named(self, values: Values) -> Values:
        """The values that a lens can name: those of one token."""
        found = {value: self._reasoner.single_token(value) is not None for value in set(values) if value is not None}
        return [value if value is not None and found[value] else None for value in values]

    def _reading(self, site: str, translator: Translator | None) -> Callable[[NDArray[Any]], Likeliest]:
        def read(vectors: NDArray[Any]) -> Likeliest:
            rows = vectors if translator is None else translator.translate(vectors).astype(np.float32)
            tokens, log_ps = likeliest_tokens(self._reasoner, rows, site=site, k=TOP)
            return Likeliest([[self._word(token) for token in row] for row in tokens.tolist()], np.exp(log_ps))

        return read

    def _word(self, token: int) -> str:
        """Text of a token without the spaces around it, as values are written; its number where it has no text."""
        if token not in self._word_of:
            text = self._reasoner.coder.text([token])
            self._word_of[token] = text.strip() or text or f"[token {token}]"
        return self._word_of[token]


def translators_of(fit: Path, record: FitRecord) -> dict[Place, Translator]:
    """The tuned lenses that a fit kept, by site and step.

    Raises:
        CorruptArtifact: its files are missing or are not text probes.
        HashMismatch: they changed since they were fitted.
    """
    if record.texts_root is None:
        return {}
    parts = []
    for name in (TEXTS_NAME, TEXTS_SPEC_NAME):
        if not (fit / name).is_file():
            raise CorruptArtifact("missing file", path=fit / name)
        parts.append((fit / name).read_bytes())
    if (found := digest(b"".join(parts))) != record.texts_root:
        raise HashMismatch("the tuned lenses changed since they were fitted", path=fit / TEXTS_NAME,
                           expected=record.texts_root, found=found)  # fmt: skip
    try:
        texts = load_texts(*parts).values()
        return {(text.metadata["site"], text.metadata["step"]): text.lens for text in texts if text.lens is not None}
    except (ProbeFileError, KeyError) as error:
        raise CorruptArtifact(f"no text probes: {error}", path=fit / TEXTS_NAME) from error


def measured_lenses(fit: Path, record: FitRecord) -> dict[tuple[str, str, int], Measured]:
    """How often each lens named the first token of the step's words when the probes were fitted.

    Raises:
        SchemaError: a score that cannot be one.
    """
    found = {}
    for row in record.text:
        for kind in LENSES:
            score = row.details.get(kind.replace(" ", "_"))
            if isinstance(score, dict):
                plain = {
                    "accuracy": score.get("value"),
                    **{key: score.get(key) for key in ("interval", "control", "n")},
                }
                found[kind, row.site, row.step] = parse_record(Measured, plain, path=fit, what="lens")
    return found
