"""The dashboard's server is closed: started for real, asked under foreign names, from foreign pages, on open
addresses."""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import make_audit, write_audit  # type: ignore[import-not-found]
from starlette.datastructures import Headers
from test_dashboard import opened  # type: ignore[import-not-found]

from apps.guard import Guard, name_of
from apps.settings import HOSTS, server_options
from benchmarks.streamlit_sessions import free_port, serving
from workbench.cli import run
from workbench.errors import ConfigError
from workbench.exposure import exposure

ROOT = Path(__file__).resolve().parents[1]
WEAK = """
[global]
developmentMode = true
[server]
address = "0.0.0.0"
enableCORS = false
enableXsrfProtection = false
enableStaticServing = true
enableAgentApi = true
allowedHosts = ["*"]
corsAllowedOrigins = ["http://evil.test"]
maxUploadSize = 5000
baseUrlPath = "elsewhere"
[client]
showErrorDetails = "full"
allowedOrigins = ["https://evil.test"]
[browser]
gatherUsageStats = true
"""


def status_of(port: int, path: str = "/", method: str = "GET", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def websocket(port: int, host: str, origin: str | None) -> int:
    """Status of an attempt to open the websocket of the pages."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET /_stcore/stream HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]  # fmt: skip
    lines += [f"Origin: {origin}"] if origin else []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(stream.recv(64).split()[1])


@pytest.fixture(scope="module")
def port(tmp_path_factory: Any) -> Any:
    """A server that was started where a file and the environment ask for an open one."""
    where = tmp_path_factory.mktemp("weak")
    write_audit(where / "runs" / "demo", make_audit())
    (where / ".streamlit").mkdir()
    (where / ".streamlit" / "config.toml").write_text(WEAK)
    (where / "static").mkdir()
    (where / "static" / "secret.txt").write_text("secret")
    weak = {
        "STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "STREAMLIT_SERVER_ALLOWED_HOSTS": "*", "STREAMLIT_SERVER_PORT": "1",
        "STREAMLIT_SERVER_ENABLE_CORS": "false", "STREAMLIT_GLOBAL_DEVELOPMENT_MODE": "true",
        "STREAMLIT_CLIENT_SHOW_ERROR_DETAILS": "full", "HOME": str(where),
    }  # fmt: skip
    number = free_port()
    command = [sys.executable, "-m", "workbench", "dashboard", "runs", "--port", str(number), "--no-browser"]
    with serving(command, number, folder=where, environment={**os.environ, **weak, "PYTHONPATH": str(ROOT)}):
        yield number


def test_only_its_own_names_are_answered(port: int) -> None:
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", "LOCALHOST."):
        assert status_of(port, Host=host) == 200, host
    for host in ("evil.test", f"evil.test:{port}", f"127.0.0.1.evil.test:{port}", "localhost@evil.test", "*", ""):
        for path in ("/", "/trace", "/_stcore/health", "/_stcore/host-config"):
            assert status_of(port, path, Host=host) == 421, host


def test_only_its_own_pages_open_the_websocket(port: int) -> None:
    own = f"127.0.0.1:{port}"
    assert websocket(port, own, f"http://{own}") == 101
    assert websocket(port, own, None) == 101  # no browser
    for origin in ("http://evil.test", f"http://localhost:{port + 1}", f"http://{own}.evil.test", "null", "http://"):
        assert websocket(port, own, origin) == 403, origin
    assert websocket(port, "evil.test", "http://evil.test") == 403


def test_a_foreign_page_cannot_write_and_no_file_is_served(port: int) -> None:
    assert status_of(port, "/_stcore/upload_file/a/b", "PUT", Origin="http://evil.test") == 403
    assert status_of(port, "/_stcore/upload_file/a/b", "PUT") in (400, 403)  # no session, no token
    for path in ("/app/static/secret.txt", "/../static/secret.txt", "/_stcore/agent", "/elsewhere/_stcore/health"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        assert b"secret" not in connection.getresponse().read()
        connection.close()


def test_headers_keep_a_page_to_itself_and_nothing_listens_elsewhere(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/_stcore/host-config", headers={"Origin": "http://evil.test"})
    answer = connection.getresponse()
    assert "evil.test" not in answer.read().decode()
    assert answer.headers.get("Access-Control-Allow-Origin") not in ("*", "http://evil.test")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.headers["Content-Security-Policy"]
    connection.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass  # with 0.0.0.0 every address of this machine would answer


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "everyone in reach could read every run"),
        (["--address", "192.0.2.1"], "ssh -L"),
        (["--host", "::"], "has no login"),
        (["--host", "evil.test"], "this is no address"),
        (["--host", "0.0.0.0", "--unsafe-expose"], "--allow-host"),
        (["--host", "0.0.0.0", "--unsafe-expose", "--allow-host", "*"], "no name of a machine"),
        (["--host", "0.0.0.0", "--unsafe-expose", "--allow-host", "http://lab:80"], "no name of a machine"),
        (["--unsafe-expose"], "nothing would be exposed"),
    ],
)
def test_an_open_address_is_refused_with_one_message(
    options: list[str], told: str, capsys: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it would listen"))
    port = free_port()
    assert run(["dashboard", str(tmp_path), "--port", str(port), "--no-browser", *options]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("error:") == 1
    assert said.out == ""
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_the_server_refuses_an_open_address_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apps", "--address", "0.0.0.0", "--headless", "--", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "has no login" in done.stderr
    assert "Traceback" not in done.stderr


def test_who_exposes_it_is_warned_and_names_the_hosts(capfd: Any, monkeypatch: Any, tmp_path: Path) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    run(["dashboard", str(tmp_path), "--host", "0.0.0.0", "--unsafe-expose", "--allow-host", "Lab-7.example.",
         "--port", str(free_port())])  # fmt: skip
    said = capfd.readouterr()
    assert "WARNING: THE DASHBOARD IS EXPOSED on 0.0.0.0" in said.err
    assert "http://lab-7.example:" in said.out
    assert "--exposed" in started[0]
    assert started[0][started[0].index("--allow-host") + 1] == "lab-7.example"
    run(["dashboard", str(tmp_path), "--port", str(free_port())])
    assert "--exposed" not in started[1]
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize("page", [None, "trace", "grid", "jobs", "findings", "glossary", "tour"])
def test_an_exposed_server_says_so_on_every_page(page: str | None, tmp_path: Path, monkeypatch: Any) -> None:
    write_audit(tmp_path / "demo", make_audit())
    for exposed in (["--exposed"], []):
        monkeypatch.setattr(sys, "argv", ["dashboard.py", *exposed, "--", str(tmp_path)])
        app = opened(page)
        banners = [one for one in app.warning if one.value.startswith("This dashboard is exposed")]
        assert len(banners) == len(exposed)


def test_options_close_the_server_and_streamlit_knows_them_all() -> None:
    from streamlit import config

    options = server_options(8123, headless=True)
    assert [name for name in options if name not in config.get_config_options()] == []
    assert options["server.address"] == "127.0.0.1"
    assert options["server.port"] == 8123
    assert options["server.allowedHosts"] == list(HOSTS)
    assert options["client.showErrorDetails"] == "none"
    assert "server.port" not in server_options(headless=False)
    assert "*" not in str(server_options(headless=True, address="0.0.0.0", hosts=("lab", *HOSTS)))


def test_names_of_hosts_and_origins() -> None:
    known = {"a.b:80": "a.b", "A.B": "a.b", "[::1]:8501": "::1", "a.b.": "a.b"}
    assert {host: name_of(host) for host in known} == known
    assert [name_of(host) for host in ("", "a@b", "a/b", "a?b", "a#b", "a:x", "a:99999999", "[::1")] == [None] * 8
    guard = Guard(lambda *_: None, ["Lab", "127.0.0.1"])  # type: ignore[arg-type, return-value]
    twice = Headers(raw=[(b"host", b"lab"), (b"host", b"evil.test")])
    assert guard.refusal(twice, reads=True)
    assert guard.refusal(Headers({"host": "lab", "origin": "http://evil.test"}), reads=True) is None
    assert guard.refusal(Headers({"host": "lab:1", "origin": "http://lab:1"}), reads=False) is None
    assert guard.refusal(Headers({"host": "lab:1", "origin": "http://lab:2"}), reads=False)
    assert exposure("localhost").address == "127.0.0.1"
    assert exposure("127.0.0.2").names == ("127.0.0.2",)
    assert exposure("::1").url(80) == "http://[::1]:80"
    with pytest.raises(ConfigError):
        exposure("::ffff:0.0.0.0")


def test_no_page_asks_for_a_path() -> None:
    """Every field for words, by its key: a new one must be looked at. A name of a result is checked to be no path."""
    fields = {}
    for path in sorted((ROOT / "apps").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for kind, inside in re.findall(r"\.(text_input|text_area|chat_input|file_uploader)\(([^)]*)", text):
            found = re.search(r'key=f?"([^"]+)"', inside)
            fields[found[1] if found else inside] = kind
    assert fields == {
        "job-name": "text_input", "live-prompt": "text_area", "reviewer": "text_input", "find": "text_input",
        "comment-{place}": "text_area",
    }  # fmt: skip
