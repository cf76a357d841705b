"""A store ten times larger than the memory that the process may have is fitted all the same."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from fit_runs import WORDS, planted_problems

from workbench.reports.fit_records import read_fit
from workbench.store import SiteRows, StoreWriter

MIB = 2**20
ALLOWED = 96
"""MiB beyond what the imported libraries take."""
N_SITES, DIM, N_STEPS, SHARD = 40, 128, 4, 32
N = 10 * ALLOWED * MIB // (N_SITES * DIM * N_STEPS * 4)

CHILD = """
import resource, sys
from pathlib import Path
import numpy as np
import scipy.linalg
import torch
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan
torch.set_num_threads(1)
for eye in (np.eye(64), np.eye(64, dtype=np.float32)):  # every library takes its working memory at its first product
    eye @ eye; np.linalg.eigh(eye); scipy.linalg.cho_solve(scipy.linalg.cho_factor(eye), eye); scipy.linalg.eigh(eye)
    torch.linalg.eigh(torch.tensor(eye)); torch.tensor(eye) @ torch.tensor(eye)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = taken + int(sys.argv[3]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
run_fit(Path(sys.argv[1]), Path(sys.argv[2]), FitPlan.model_validate_json(sys.argv[4]))
"""


def write_store(folder):
    """Values of step s at every site, in one direction each; only the first two sites hold them."""
    rng = np.random.default_rng(0)
    sites = [f"blocks.{k}.hook_resid_post" for k in range(N_SITES)]
    problems = planted_problems(N, N_STEPS)
    config = {
        "model": "sha256:0",
        "sites": {site: {"dim": DIM, "dtype": "float32", "axes": ["d_model"]} for site in sites},
    }
    means = 2.0 * rng.normal(size=(len(WORDS), DIM)).astype(np.float32)
    with StoreWriter.open(folder, config=config, n_shards=-(-N // SHARD)) as writer:
        for shard, first in enumerate(range(0, N, SHARD)):
            mine = problems[first : first + SHARD]
            address = np.array([(first + k, s, 0, 0) for k in range(len(mine)) for s in range(N_STEPS)], np.int32)
            held = means[[WORDS.index(value) for problem in mine for value in problem["thoughts"]]]
            noise = rng.normal(size=(len(address), DIM)).astype(np.float32)
            tables = {site: SiteRows(noise + held * (k < 2), address) for k, site in enumerate(sites)}
            records = [{"problem": p, "role": "problem", "said": "", "n_emitted": 0, "n_steps": 4} for p in mine]
            writer.append(shard, tables, records)
        writer.seal()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux")
def test_a_store_of_ten_times_the_memory_limit_is_fitted_within_it(tmp_path):
    write_store(tmp_path / "run")
    size = sum(path.stat().st_size for path in (tmp_path / "run" / "shards").iterdir())
    assert size >= 10 * ALLOWED * MIB
    plan = (
        '{"memory": 32, "lambdas": [0.1], "probes": ["logistic", "lda"], "steps": [0, 1], "controls": {"tasks": 1}, '
        '"layers": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}'
    )
    arguments = [sys.executable, "-c", CHILD, str(tmp_path / "run"), str(tmp_path / "out"), str(ALLOWED), plan]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(arguments, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_fit(tmp_path / "out")
    held = [c for c in record.fits if c.layer in (0, 1)]
    assert all(c.accuracy > 0.95 and c.readable for c in held)
    assert not any(c.readable for c in record.fits if c.layer not in (0, 1))
    closed = [c.n_fit for c in record.fits if c.probe == "lda"]
    sampled = [c.n_fit for c in record.fits if c.probe == "logistic"]
    assert min(closed) > 0.45 * N, "closed forms learn from every fit row"
    assert max(sampled) < 0.3 * N, "the logistic probe learns from a sample, and says from how many"
