"""Server and theme settings of the dashboard, as command-line options.

An installed wheel has no `.streamlit/config.toml`, and a file in the working
directory could weaken the server; options on the command line win over both.
"""

from __future__ import annotations

import json

from workbench.figures.palette import INKS, OKABE_ITO

ADDRESS = "127.0.0.1"
_ACCENTS = {"light": "#0072B2", "dark": "#56B4E9"}
_PANELS = {"light": "#F3F5F8", "dark": "#1A1E27"}
_OPTIONS = {
    "server.address": ADDRESS,
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.xsrfCookieSameSite": "strict",
    "server.maxUploadSize": "20",
    "server.maxMessageSize": "50",
    "server.enableStaticServing": "false",
    "server.enableAgentApi": "false",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": ADDRESS,
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "logger.hideWelcomeMessage": "true",
}


def streamlit_arguments(port: int | None, headless: bool) -> list[str]:
    """Options for ``python -m streamlit run FILE``.

    Without a port Streamlit takes the first free one from 8501 on; a port that
    is named and taken is Streamlit's error. Both themes are set explicitly, so
    that the page and its figures follow the system together.
    """
    options = dict(_OPTIONS, **{"server.headless": str(headless).lower()})
    if port is not None:
        options["server.port"] = str(port)
    for theme in ("light", "dark"):
        ink = INKS[theme]
        options |= {
            f"theme.{theme}.primaryColor": _ACCENTS[theme],
            f"theme.{theme}.backgroundColor": ink.ground,
            f"theme.{theme}.secondaryBackgroundColor": _PANELS[theme],
            f"theme.{theme}.textColor": ink.ink,
            f"theme.{theme}.chartCategoricalColors": json.dumps(OKABE_ITO),
        }
    words = [f"--{name}={value}" for name, value in options.items()]
    return [*words, "--server.allowedHosts=localhost", f"--server.allowedHosts={ADDRESS}"]
