"""Threads of a worker, set on purpose: workers that each take every core are slower than one."""

from __future__ import annotations

import os
import sys

THREADS = 1
"""Of each worker where nobody says otherwise, however many workers there are: sums over other numbers of threads round
otherwise, and results are to be the same bytes on one worker and on ten."""
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(n_threads: int) -> None:
    """Give this process so many threads for arithmetic; libraries that are loaded later read the variables."""
    for name in VARIABLES:
        os.environ[name] = str(n_threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n_threads)
