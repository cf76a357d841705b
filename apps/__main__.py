"""`python -m apps --port N -- DIR ...`: run the dashboard under Streamlit with its safe settings."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from apps.settings import streamlit_arguments

ENTRY = Path(__file__).parent / "dashboard.py"


def main() -> NoReturn:
    """Replace this process by Streamlit's."""
    parser = argparse.ArgumentParser(prog="python -m apps")
    parser.add_argument("--port", type=int)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("folders", nargs="*", type=Path)
    chosen = parser.parse_args()
    settings = streamlit_arguments(chosen.port, headless=chosen.headless)
    command = [sys.executable, "-m", "streamlit", "run", str(ENTRY), *settings, "--", *map(str, chosen.folders)]
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
