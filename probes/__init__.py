"""Estimators from vectors to values, their controls and their uncertainty; arrays in, arrays out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.closed_form import kfold_ridge, lda_all, mean_difference, ridge_path
    from probes.controls import ShuffledControl, input_only, majority, shuffled_labels
    from probes.correction import max_statistic
    from probes.errors import ProbeDataError, ProbeFileError
    from probes.estimators import LDAProbe, LeaceTransformer, LogisticProbe, MeanDifferenceProbe, RidgeProbe
    from probes.frozen import FrozenNovelty, FrozenProbe, freeze
    from probes.intervals import Interval, exact_share, exact_upper, group_bootstrap, share_by_group
    from probes.linear import ValueProbe
    from probes.metrics import Score, accuracy_score_by_group, auroc_score
    from probes.moments import Moments, MomentsBuilder
    from probes.novelty import SubspaceNovelty
    from probes.persistence import load_probes, save_probes
    from probes.splits import assert_no_leakage, held_out_by_hash, merge_duplicate_groups, split_groups

_HOME = {
    "closed_form": (
        "kfold_ridge",
        "lda_all",
        "mean_difference",
        "ridge_path",
    ),
    "controls": (
        "ShuffledControl",
        "input_only",
        "majority",
        "shuffled_labels",
    ),
    "correction": ("max_statistic",),
    "errors": (
        "ProbeDataError",
        "ProbeFileError",
    ),
    "estimators": (
        "LDAProbe",
        "LeaceTransformer",
        "LogisticProbe",
        "MeanDifferenceProbe",
        "RidgeProbe",
    ),
    "frozen": (
        "FrozenNovelty",
        "FrozenProbe",
        "freeze",
    ),
    "intervals": (
        "Interval",
        "exact_share",
        "exact_upper",
        "group_bootstrap",
        "share_by_group",
    ),
    "linear": ("ValueProbe",),
    "metrics": (
        "Score",
        "accuracy_score_by_group",
        "auroc_score",
    ),
    "moments": (
        "Moments",
        "MomentsBuilder",
    ),
    "novelty": ("SubspaceNovelty",),
    "persistence": (
        "load_probes",
        "save_probes",
    ),
    "splits": (
        "assert_no_leakage",
        "held_out_by_hash",
        "merge_duplicate_groups",
        "split_groups",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "FrozenNovelty",
    "FrozenProbe",
    "Interval",
    "LDAProbe",
    "LeaceTransformer",
    "LogisticProbe",
    "MeanDifferenceProbe",
    "Moments",
    "MomentsBuilder",
    "ProbeDataError",
    "ProbeFileError",
    "RidgeProbe",
    "Score",
    "ShuffledControl",
    "SubspaceNovelty",
    "ValueProbe",
    "accuracy_score_by_group",
    "assert_no_leakage",
    "auroc_score",
    "exact_share",
    "exact_upper",
    "freeze",
    "group_bootstrap",
    "held_out_by_hash",
    "input_only",
    "kfold_ridge",
    "lda_all",
    "load_probes",
    "majority",
    "max_statistic",
    "mean_difference",
    "merge_duplicate_groups",
    "ridge_path",
    "save_probes",
    "share_by_group",
    "shuffled_labels",
    "split_groups",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: scikit-learn is slow to load."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'probes' has no name {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"probes.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
