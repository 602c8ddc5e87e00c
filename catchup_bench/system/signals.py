"""SIGINT and SIGTERM end a command at once and in order: every file is whole, and training keeps its last epoch."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop; it ends with 128 + its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def _stop(signum: int, frame: FrameType | None) -> None:
    # a scheduler may signal a process and its group: the second SIGTERM must not cut off what the first one saves
    signal.signal(signum, signal.SIG_IGN if signum == signal.SIGTERM else signal.default_int_handler)
    raise Stopped(signum)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` within at the first SIGINT or SIGTERM, also where a shell had set them to be ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    before = {number: signal.signal(number, _stop) for number in CAUGHT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sigint_held() -> Iterator[None]:
    """Block SIGINT within; processes started there never receive it, and are stopped by their parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
