"""Server and theme settings of the dashboard.

An installed wheel has no `.streamlit/config.toml`, and a file in the working
directory could weaken the server. What is set here wins over files and over
`STREAMLIT_*` variables, so everything that could open the server is set, also
where Streamlit's own default is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.exposure import LOOPBACK
from workbench.figures.palette import INKS, OKABE_ITO

HOSTS = ("localhost", LOOPBACK)
"""Names under which a browser on this machine reaches it."""
_ACCENTS = {"light": "#0072B2", "dark": "#2779B1"}
"""Dark enough for white letters on a button, light enough for letters on a dark ground."""
_PANELS = {"light": "#F3F5F8", "dark": "#1A1E27"}
_OPTIONS: dict[str, object] = {
    "global.developmentMode": False,
    "server.enableCORS": True,
    "server.corsAllowedOrigins": [],
    "server.enableXsrfProtection": True,
    "server.xsrfCookieSameSite": "strict",
    "server.trustedUserHeaders": {},
    "server.maxUploadSize": 1,
    "server.maxMessageSize": 50,
    "server.maxWidgetStateSize": 25,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.scriptHealthCheckEnabled": False,
    "server.baseUrlPath": "",
    "server.customComponentBaseUrlPath": "",
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.allowRunOnSave": False,
    "server.showEmailPrompt": False,
    "browser.gatherUsageStats": False,
    "client.allowedOrigins": [],
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "logger.hideWelcomeMessage": True,
    "secrets.files": [],
    "theme.fontFaces": [],
    "theme.font": "sans-serif",
    "theme.headingFont": "sans-serif",
    "theme.codeFont": "monospace",
    "theme.metricValueFontSize": "1.25rem",
}


def server_options(
    port: int | None = None, *, headless: bool, address: str = LOOPBACK, hosts: Sequence[str] = HOSTS
) -> dict[str, object]:
    """Streamlit's options by name, as ``st.App.run(config=...)`` takes them.

    Args:
        port: without one Streamlit takes the first free one from 8501 on.
        headless: no browser is opened.
        address: interface to listen on.
        hosts: names in the address bar under which the server may be asked.

    Both themes are set, so that the page and its figures follow the system together.
    """
    listening = {"server.address": address, "browser.serverAddress": hosts[0], "server.headless": headless}
    options = _OPTIONS | listening | {"server.allowedHosts": list(hosts)}
    if port is not None:
        options["server.port"] = port
    for theme in ("light", "dark"):
        ink = INKS[theme]
        options |= {
            f"theme.{theme}.primaryColor": _ACCENTS[theme],
            f"theme.{theme}.backgroundColor": ink.ground,
            f"theme.{theme}.secondaryBackgroundColor": _PANELS[theme],
            f"theme.{theme}.textColor": ink.ink,
            f"theme.{theme}.chartCategoricalColors": list(OKABE_ITO),
        }
    return options
