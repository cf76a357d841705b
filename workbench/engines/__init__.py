"""Where tasks run: in this process, in processes beside it, or on a Ray cluster. Results are the same."""

from __future__ import annotations

from workbench.engines.base import Engine, MakeWorker, Worker
from workbench.engines.local import LocalEngine
from workbench.engines.threads import THREADS, limit_threads
from workbench.errors import ConfigError

ENGINES = ("local", "ray")

__all__ = ["ENGINES", "THREADS", "Engine", "LocalEngine", "MakeWorker", "Worker", "limit_threads", "open_engine"]


def open_engine(
    name: str, *, workers: int = 1, address: str | None = None, threads: int = THREADS, gpus: float = 0.0
) -> Engine:
    """The engine of that name.

    Numbers of threads, unlike engines and numbers of workers, may change the last bits of a result.

    Args:
        name: `local` or `ray`.
        workers: how many run at once.
        address: of a running Ray cluster (`host:port`, `auto`); None starts one on this machine for each run.
        threads: of each worker that has a process of its own.
        gpus: accelerators that Ray sets aside for each worker.

    Raises:
        ConfigError: no such engine, numbers below one, an address without Ray, or Ray is not installed.
    """
    if name not in ENGINES:
        raise ConfigError("no such engine", field="engine", expected=" or ".join(ENGINES), found=name)
    if name == "local" and address is not None:
        raise ConfigError("the local engine has no address", field="address", found=address, hint="Use --engine ray.")
    if name == "local":
        return LocalEngine(workers, threads)
    from workbench.engines.ray_engine import RayEngine

    return RayEngine(workers, threads, address=address, gpus=gpus)
