"""`python -m apps --port N -- DIR ...`: run the dashboard under Streamlit with its safe settings."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from apps.settings import streamlit_arguments

ENTRY = Path(__file__).parent / "dashboard.py"


def main() -> int:
    """Replace this process by Streamlit's."""
    parser = argparse.ArgumentParser(prog="python -m apps")
    parser.add_argument("--port", type=int)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("folders", nargs="*", type=Path)
    chosen = parser.parse_args()
    settings = streamlit_arguments(chosen.port, headless=chosen.headless)
    command = [sys.executable, "-m", "streamlit", "run", str(ENTRY), *settings, "--", *map(str, chosen.folders)]
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
