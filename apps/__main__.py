"""`python -m apps --port N -- DIR ...`: run the dashboard under Streamlit with its safe settings."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from apps.settings import HOSTS, server_options
from workbench.errors import ConfigError
from workbench.exposure import LOOPBACK, exposure

ENTRY = Path(__file__).parent / "dashboard.py"
EXPOSED = "--exposed"


def forget_settings() -> None:
    """Settings of other Streamlit programs on this machine are not meant for this one."""
    for name in [name for name in os.environ if name.startswith("STREAMLIT_")]:
        del os.environ[name]


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m apps")
    parser.add_argument("--port", type=int)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--address", default=LOOPBACK)
    parser.add_argument("--allow-host", action="append", metavar="NAME")
    parser.add_argument(EXPOSED, action="store_true")
    parser.add_argument("folders", nargs="*", type=Path)
    chosen = parser.parse_args()
    try:
        where = exposure(chosen.address, chosen.allow_host or (), unsafe=chosen.exposed)
    except ConfigError as error:
        parser.error(str(error))
    hosts = (*where.names, *HOSTS)
    forget_settings()

    import streamlit
    from starlette.middleware import Middleware

    from apps.guard import Guard

    options = server_options(chosen.port, headless=chosen.headless, address=where.address, hosts=hosts)
    # What the pages read: folders, and whether others than this machine can see them.
    sys.argv = [str(ENTRY), *([EXPOSED] if chosen.exposed else []), "--", *map(str, chosen.folders)]
    streamlit.App(ENTRY, middleware=[Middleware(Guard, hosts=hosts)]).run(config=options)


if __name__ == "__main__":
    main()
