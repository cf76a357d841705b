"""Where the dashboard may listen, and under which names it answers: loopback, unless a person says otherwise."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import ConfigError

LOOPBACK = "127.0.0.1"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_FORWARD = "From another machine: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE, then open http://127.0.0.1:{port} there"


@dataclass(frozen=True, slots=True)
class Exposure:
    """An interface, and the names that requests may call it by beside `localhost`."""

    address: str
    names: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether others than this machine can reach it."""
        return not ipaddress.ip_address(self.address).is_loopback

    def url(self, port: int) -> str:
        """Where a browser finds it."""
        host = self.names[0] if self.names else self.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def exposure(host: str, names: Sequence[str] = (), *, unsafe: bool = False) -> Exposure:
    """Check where a person wants the dashboard to listen.

    Args:
        host: an address of this machine, or `localhost`.
        names: names in the address bar under which it may be asked.
        unsafe: the person knows that whoever reaches the address sees everything and can start jobs.

    Raises:
        ConfigError: no address, a name that is none, or an open address without `unsafe` and a name.
    """
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError as error:
        expected = "an address of this machine, such as 127.0.0.1"
        raise ConfigError("this is no address", field="--host", expected=expected, found=host) from error
    known = tuple(dict.fromkeys(_checked(name) for name in names))
    if address.is_loopback:
        if unsafe:
            raise ConfigError(
                "nothing would be exposed", field="--unsafe-expose", found=f"--host {host}",
                hint="Leave it away, or name the address to listen on: --host ADDRESS.",
            )  # fmt: skip
        own = () if str(address) == LOOPBACK else (str(address),)
        return Exposure(str(address), known + own)
    if not unsafe:
        raise ConfigError(
            "the dashboard has no login: on this address everyone in reach could read every run and start jobs",
            field="--host", expected=f"{LOOPBACK}, or --unsafe-expose beside it", found=host,
            hint=f"{_FORWARD.format(port=8501)}. Or let a proxy on this machine ask for a login and pass on to "
            f"{LOOPBACK} (--allow-host NAME).",
        )  # fmt: skip
    if not known:
        raise ConfigError(
            "say by which names it may be asked", field="--allow-host", expected="at least one NAME with "
            "--unsafe-expose", hint="It is what people write into the address bar, such as --allow-host lab-7.example.",
        )  # fmt: skip
    return Exposure(str(address), known)


def _checked(name: str) -> str:
    plain = name.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        pass
    if not _NAME.fullmatch(plain) or ".." in plain:
        raise ConfigError(
            "this is no name of a machine", field="--allow-host", found=name,
            expected="a name or an address, without scheme, port or *",
        )  # fmt: skip
    return plain
