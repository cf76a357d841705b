"""Where tasks run: in this process, in processes beside it, or on a Ray cluster. Results are the same."""

from __future__ import annotations

from workbench.engines.base import Engine, MakeWorker, Worker
from workbench.engines.local import LocalEngine
from workbench.engines.threads import limit_threads, threads_for
from workbench.errors import ConfigError

ENGINES = ("local", "ray")

__all__ = ["ENGINES", "Engine", "LocalEngine", "MakeWorker", "Worker", "limit_threads", "open_engine", "threads_for"]


def open_engine(
    name: str, *, workers: int = 1, address: str | None = None, threads: int | None = None, gpus: float = 0.0
) -> Engine:
    """The engine of that name.

    Args:
        name: `local` or `ray`.
        workers: how many run at once.
        address: of a running Ray cluster (`host:port`, `auto`); None starts one on this machine for each run.
        threads: of each worker (default: `threads_for`).
        gpus: accelerators that Ray sets aside for each worker.

    Raises:
        ConfigError: no such engine, numbers below one, an address without Ray, or Ray is not installed.
    """
    if name not in ENGINES:
        raise ConfigError("no such engine", field="engine", expected=" or ".join(ENGINES), found=name)
    if name == "local" and address is not None:
        raise ConfigError("the local engine has no address", field="address", found=address, hint="Use --engine ray.")
    if name == "local":
        return LocalEngine(workers, threads_for(workers) if threads is None else threads)
    from workbench.engines.ray_engine import RayEngine

    return RayEngine(workers, threads_for(workers) if threads is None else threads, address=address, gpus=gpus)
