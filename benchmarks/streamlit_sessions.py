"""Streamlit servers and sessions without a browser, to measure what a server does and not what Chromium does.

A session speaks Streamlit's own websocket protocol as its front end does: it keeps large messages and names those that
it has, so that the server need not send a table again that has not changed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

PATIENCE = 120.0
"""Seconds that a server or a rerun may take before the measurement is given up."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    port: int
    pid: int
    seconds_to_start: float

    @property
    def url(self) -> str:
        """Its first page."""
        return f"http://127.0.0.1:{self.port}"

    def resident_mib(self) -> float:
        """Resident memory now."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str], port: int, *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run the command, in this folder and environment or in those of here, until the end of the block.

    Raises:
        RuntimeError: it ended, or nothing answered on this port in time.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _healthy(port):
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"no server came up: {' '.join(command)}")
            time.sleep(0.02)
        yield Server(port, process.pid, time.monotonic() - began)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def session_with(server: Server, query: str = "") -> Iterator[Session]:
    """A session that is open until the end of the block."""
    address = f"ws://127.0.0.1:{server.port}/_stcore/stream"
    with connect(address, subprotocols=["streamlit"], max_size=None) as websocket:  # type: ignore[list-item]
        yield Session(websocket, query)


class Session:
    """One reader of a page; the last value of each widget goes with every rerun, as a browser sends it."""

    def __init__(self, socket: Any, query: str = "") -> None:
        self._socket = socket
        self._query, self._kept, self._page = query, dict[str, ForwardMsg](), ""
        self._selected: dict[str, str] = {}
        self.elements: list[Any] = []
        self.n_bytes = 0

    def rerun(self, trigger: str | None = None) -> float:
        """Run the page, and wait until it is done; seconds."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self._query, self._page
        state.cached_message_hashes.extend(self._kept)
        for widget, value in self._selected.items():
            state.widget_states.widgets.add(id=widget, string_value=value)
        if trigger is not None:
            state.widget_states.widgets.add(id=trigger, trigger_value=True)
        began = time.perf_counter()
        self._socket.send(message.SerializeToString())
        self._until_finished()
        return time.perf_counter() - began

    def pick_row(self, row: int) -> float:
        """Pick a row of the first table that has rows to pick; seconds."""
        table = next(e.dataframe for e in self.elements if e.WhichOneof("type") == "dataframe" and e.dataframe.id)
        self._selected[table.id] = json.dumps({"selection": {"rows": [], "columns": [], "cells": [[row, "problem"]]}})
        return self.rerun()

    def click(self, label: str) -> float:
        """Click a button; seconds."""
        button = next(e.button for e in self.elements if e.WhichOneof("type") == "button" and e.button.label == label)
        return self.rerun(button.id)

    def _until_finished(self) -> None:
        self.elements, self.n_bytes = [], 0
        while True:
            raw = self._socket.recv(timeout=PATIENCE)
            assert isinstance(raw, bytes)
            self.n_bytes += len(raw)
            message = ForwardMsg.FromString(raw)
            kind = message.WhichOneof("type")
            if kind == "ref_hash":
                message = self._kept[message.ref_hash]
            elif message.metadata.cacheable:
                self._kept[message.hash] = message
            if kind == "new_session":
                self._page = message.new_session.page_script_hash
            elif message.WhichOneof("type") == "delta" and message.delta.WhichOneof("type") == "new_element":
                self.elements.append(message.delta.new_element)
            elif kind == "script_finished":
                if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                    return
                if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    raise RuntimeError("the page does not compile")
