"""Workers on a Ray cluster (extra `[ray]`): stateful actors, one worker each; nothing is written but by the driver.

Source: docs.ray.io, `ray.init`, actors and fault tolerance. Ray's own restarts and retries stay off: the dispatcher
gives a lost task to another worker, as it does on one machine.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast, final

from workbench.engines.base import Engine, Hand, MakeWorker, WorkerLost, attempt, dispatch, require_positive
from workbench.engines.threads import THREADS, limit_threads
from workbench.errors import ConfigError
from workbench.interrupts import StopFlag

OBJECT_STORE_BYTES = 256 << 20
"""Of a Ray that we start: room for some results on their way; what is larger is spilled to the disk."""
KNOCK_SECONDS = 10


@final
@dataclass(frozen=True, slots=True)
class RayEngine(Engine):
    """Workers on the machines of a cluster; without an address, on a Ray that is started and ended with each run.

    A process that is connected to Ray already uses that connection and leaves it open. Every machine needs this
    package, the same versions, and the model and files under the same paths. One process should keep to one cluster:
    Ray (2.60) ends the workers of a process that comes back to a cluster after it was connected to another.
    """

    workers: int = 1
    threads: int = THREADS
    """Processor cores that Ray sets aside for each worker, and its threads."""
    address: str | None = None
    gpus: float = 0.0
    """Accelerators that Ray sets aside for each worker."""

    def __post_init__(self) -> None:
        require_positive(workers=self.workers, threads=self.threads)
        _ray()

    @property
    def in_process(self) -> bool:
        """Never."""
        return False

    def run(
        self, make_worker: MakeWorker, tasks: Sequence[Any], *, stop: StopFlag | None = None
    ) -> Generator[tuple[int, Any]]:
        """See `Engine.run`; raises ConfigError where no cluster answers or no machine of it has room for a worker."""
        if not tasks:
            return
        ray = _ray()
        with _connected(ray, self):
            actor = ray.remote(_Actor).options(
                num_cpus=self.threads, num_gpus=self.gpus, max_restarts=0, max_task_retries=0
            )
            made = ray.put(make_worker)
            yield from dispatch(
                tasks,
                n_workers=min(self.workers, len(tasks)),
                hire=lambda: _RayHand(ray, actor.remote(self.threads), made),
                wait=lambda hands: _first_finished(ray, hands),
                stop=stop,
            )


class _Actor:
    """A worker as Ray keeps it; made at its first task, so that what goes wrong comes back as the answer."""

    def __init__(self, threads: int) -> None:
        limit_threads(threads)
        self.threads = threads
        self.worker: Any = None

    def work(self, make_worker: MakeWorker, task: Any) -> Any:
        """The answer to one task."""
        if self.worker is None:
            limit_threads(self.threads)  # unpickling may have loaded libraries, and so may making
            self.worker, error = attempt(make_worker)
            limit_threads(self.threads)
            if error is not None:
                return None, error
        return attempt(lambda: self.worker(task))


@final
class _RayHand(Hand):
    """An actor and the answer that it owes."""

    def __init__(self, ray: Any, actor: Any, made: Any) -> None:
        self.ray, self.actor, self.made = ray, actor, made
        self.answer: Any = None

    def give(self, task: Any) -> None:
        """Begin a task."""
        self.answer = self.actor.work.remote(self.made, task)

    def take(self) -> Any:
        """The answer, or `WorkerLost` with what Ray says of the actor's end."""
        ended = self.ray.exceptions
        try:
            return self.ray.get(self.answer)
        except (
            ended.RayActorError, ended.ObjectLostError, ended.NodeDiedError, ended.WorkerCrashedError,
            ended.OutOfMemoryError, ended.LocalRayletDiedError,
        ) as lost:  # fmt: skip
            raise WorkerLost(" ".join(str(lost).split())[:300]) from lost
        finally:
            self.answer = None

    def dismiss(self) -> None:
        """End the actor."""
        self.ray.kill(self.actor)


def _first_finished(ray: Any, hands: Collection[Hand]) -> Hand:
    by_answer = {cast(_RayHand, hand).answer: hand for hand in hands}
    finished, _ = ray.wait(list(by_answer), num_returns=1)
    return by_answer[finished[0]]


def _ray() -> Any:
    """The package; only these functions know it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return import_module("ray")
    except ImportError as missing:
        raise ConfigError(
            "Ray is not installed", field="engine", found="ray",
            hint="Install it on every machine: pip install 'neuralese-workbench[ray]'.",
        ) from missing  # fmt: skip


@contextmanager
def _connected(ray: Any, engine: RayEngine) -> Iterator[None]:
    """Connected to a cluster, and as before afterwards."""
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, engine)
    try:
        _refuse_too_small(ray, engine)
        yield
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, engine: RayEngine) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _own_signals():
        if engine.address is None:
            ray.init(
                address="local", num_cpus=engine.workers * engine.threads, include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES, **quiet,
            )  # fmt: skip
            return
        try:
            _knock(engine.address)
            ray.init(address=engine.address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:  # ConnectionError is an OSError
            raise ConfigError(
                f"no Ray cluster that fits answers there: {error}", field="address", found=engine.address,
                hint="Start one with `ray start --head`, with the same versions of Python and Ray as here.",
            ) from error  # fmt: skip


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does on SIGTERM: `ray.init` would exit where we finish what is being written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_too_small(ray: Any, engine: RayEngine) -> None:
    """A worker that fits no machine would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(m.get("CPU", 0) >= engine.threads and m.get("GPU", 0) >= engine.gpus for m in machines):
        raise ConfigError(
            "no machine of the cluster has room for one worker", field="threads",
            expected=f"{engine.threads} cores and {engine.gpus:g} accelerators on one machine",
            found="; ".join(f"{m.get('CPU', 0):g} and {m.get('GPU', 0):g}" for m in machines) or "no machine",
        )  # fmt: skip
