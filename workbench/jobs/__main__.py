"""``python -m workbench.jobs DIR``: run the job of this folder to its end."""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.jobs.runner import run_job

if __name__ == "__main__":
    sys.exit(run_job(Path(sys.argv[1])))
