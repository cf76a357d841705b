"""Back from a text to the thought: how much of the thought the text explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from probes.errors import ProbeDataError
from probes.text_space import SharedSpace, look_up
from probes.text_sums import END, TextRows

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

PENALTIES = np.logspace(-6, 1, 8)
"""Ridge penalties per fit row, in mean variances of a feature; generalised cross-validation chooses."""


@dataclass(frozen=True, slots=True, eq=False)
class ThoughtWriter:
    """A linear map from the places of a text's tokens to the thought."""

    slope: Floats
    """[features, d]."""
    feature_mean: Floats
    """[features]."""
    mean: Floats
    """The mean thought of the fit rows, [d]."""

    def __post_init__(self) -> None:
        q, d = self.slope.shape
        if self.feature_mean.shape != (q,) or self.mean.shape != (d,) or not np.isfinite(self.slope).all():
            raise ProbeDataError(f"a map of {(q, d)} does not fit means {self.feature_mean.shape}, {self.mean.shape}")

    @classmethod
    def fit(cls, rows: TextRows, spaces: Sequence[SharedSpace], unembedding: Any) -> ThoughtWriter:
        """Ridge regression of thoughts on the places of their true tokens, at every offset together."""
        features = text_features(rows.tokens, spaces, unembedding)
        thoughts = np.asarray(rows.thoughts, dtype=np.float64)
        mean, feature_mean = thoughts.mean(axis=0), features.mean(axis=0)
        centred = features - feature_mean
        scale = float(np.sqrt(np.square(centred).mean())) if centred.size else 0.0
        if not scale:
            return cls(np.zeros((features.shape[1], len(mean))), feature_mean, mean)
        ridge = RidgeCV(alphas=PENALTIES * len(rows), fit_intercept=False).fit(centred / scale, thoughts - mean)
        return cls(np.atleast_2d(ridge.coef_).reshape(len(mean), -1).T / scale, feature_mean, mean)

    def write(self, features: Floats) -> Floats:
        """Thoughts [n, d] for features [n, features]."""
        written: Floats = self.mean + (features - self.feature_mean) @ self.slope
        return written


def text_features(tokens: Ints, spaces: Sequence[SharedSpace], unembedding: Any) -> Floats:
    """Places of the tokens at every offset side by side, 0 past the end, and whether there is one, [n, features]."""
    parts = []
    for offset, space in enumerate(spaces):
        column = tokens[:, offset]
        here = column != END
        placed = np.zeros((len(column), space.token_map.shape[1] + 1))
        distinct, which = np.unique(column[here], return_inverse=True)
        if len(distinct):
            placed[here, :-1] = space.place_tokens(look_up(unembedding, distinct))[which]
        placed[here, -1] = 1.0
        parts.append(placed)
    return np.concatenate(parts, axis=1)
