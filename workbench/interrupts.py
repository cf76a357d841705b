"""Ctrl-C once: finish what is being written, then stop where it can be resumed. Twice: stop now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from workbench.errors import Interrupted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopFlag:
    """Whether someone asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def check(self, *, hint: str) -> None:
        """Raise `Interrupted` if someone asked to stop; `hint` says how to go on."""
        if self.asked:
            raise Interrupted("stopped as asked; everything finished so far is kept", hint=hint)

    def between(self, tell: Callable[[int, int], None], *, hint: str) -> Callable[[int, int], None]:
        """Progress of a stage that can be stopped between any two bits of it."""

        def told(done: int, planned: int) -> None:
            tell(done, planned)
            self.check(hint=hint)

        return told


@contextmanager
def stop_on_signal() -> Iterator[StopFlag]:
    """Turn the first signal into a flag that the loop looks at; a second one interrupts at once."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if flag.asked:
            raise KeyboardInterrupt
        flag.asked = True

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
