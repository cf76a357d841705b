"""Estimators from vectors to values, their controls and their uncertainty; arrays in, arrays out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.controls import ShuffledControl, input_only, majority, shuffled_labels
    from probes.errors import ProbeDataError, ProbeFileError
    from probes.frozen import FrozenNovelty, FrozenProbe, freeze
    from probes.intervals import Interval, exact_share, exact_upper, group_bootstrap, share_by_group
    from probes.linear import ValueProbe
    from probes.metrics import Score, accuracy_score_by_group, auroc_score
    from probes.novelty import SubspaceNovelty
    from probes.persistence import load_probes, save_probes
    from probes.splits import assert_no_leakage, merge_duplicate_groups, split_groups

_HOME = {
    "controls": ("ShuffledControl", "input_only", "majority", "shuffled_labels"),
    "errors": ("ProbeDataError", "ProbeFileError"),
    "frozen": ("FrozenNovelty", "FrozenProbe", "freeze"),
    "intervals": ("Interval", "exact_share", "exact_upper", "group_bootstrap", "share_by_group"),
    "linear": ("ValueProbe",),
    "metrics": ("Score", "accuracy_score_by_group", "auroc_score"),
    "novelty": ("SubspaceNovelty",),
    "persistence": ("load_probes", "save_probes"),
    "splits": ("assert_no_leakage", "merge_duplicate_groups", "split_groups"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "FrozenNovelty",
    "FrozenProbe",
    "Interval",
    "ProbeDataError",
    "ProbeFileError",
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
    "input_only",
    "load_probes",
    "majority",
    "merge_duplicate_groups",
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
