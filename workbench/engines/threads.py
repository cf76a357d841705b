"""Threads of a worker: two workers that each take every core are slower than one."""

from __future__ import annotations

import os
import sys

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(n_threads: int) -> None:
    """Give this process so many threads for arithmetic; libraries that are loaded later read the variables."""
    for name in VARIABLES:
        os.environ[name] = str(n_threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n_threads)


def threads_for(n_workers: int) -> int:
    """Threads of each worker where nobody says otherwise: two for one worker, one for each of several."""
    return max(1, 2 // n_workers)
