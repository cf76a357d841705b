"""How other libraries fit many probes: each where it is installed, at the penalty of the loop where it has one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks.probe_data import Planted

Fit = Callable[[], tuple[np.ndarray, np.ndarray]]
"""To weights [labels, d] and biases [labels] of the second class."""

PEERS = ("himalaya", "probelab", "probekit")


def peers_of(data: Planted, labels: list[int]) -> dict[str, tuple[Fit, int]]:
    """What is installed here, with how many labels each fits: all, or those given where that would take too long."""
    ways: dict[str, tuple[Fit, int]] = {}
    if find_spec("himalaya"):
        ways["himalaya RidgeCV, 5 folds, 10 penalties"] = (lambda: himalaya(data), len(data.y))
    if find_spec("probelab"):
        ways["probelab Logistic, a loop"] = (lambda: probelab(data, labels), len(labels))
    if find_spec("probekit"):
        ways["probekit fit_logistic_batch"] = (lambda: probekit(data, labels), len(labels))
    return ways


def himalaya(data: Planted) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression on -1 and 1, all labels as targets, in PyTorch."""
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV

    set_backend("torch")
    batches = {"n_targets_batch": 200, "n_alphas_batch": 2}  # all at once takes gigabytes
    targets = torch.from_numpy(2 * data.y.T.astype(np.float32) - 1)
    model = RidgeCV(alphas=np.logspace(-1, 5, 10), cv=5, fit_intercept=True, solver_params=batches).fit(
        torch.from_numpy(data.X), targets
    )
    return model.coef_.T.numpy(), model.intercept_.numpy()


def probelab(data: Planted, labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """PyTorch's L-BFGS, label after label; it standardises the rows, which here are so already."""
    from probelab import Activations
    from probelab.probes.logistic import Logistic

    rows = Activations(torch.from_numpy(data.X), "bh")
    coef, intercept = [], []
    for label in labels:
        probe = Logistic(C=1.0, seed=0).fit(rows, torch.from_numpy(data.y[label]))
        slope = probe.linear.weight.detach()[0] / probe.scaler_std
        coef.append(slope.numpy())
        intercept.append(float(probe.linear.bias.detach()) - float(slope @ probe.scaler_mean))
    return np.stack(coef), np.array(intercept)


def probekit(data: Planted, labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method for a batch of labels; every one gets its own copy of the rows."""
    from probekit.fitters.batch.logistic import fit_logistic_batch

    rows = torch.from_numpy(data.X)[None].expand(len(labels), -1, -1)
    found = fit_logistic_batch(rows, torch.from_numpy(data.y[labels]), c_param=1.0, normalize=False)
    return np.asarray(found.weights).reshape(len(labels), -1), np.asarray(found.biases).reshape(-1)
