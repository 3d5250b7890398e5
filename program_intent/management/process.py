"""What a command sets for its whole process: in the main thread alone, only over Python's defaults, and put back."""

import gc
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread
from types import FrameType

from django.conf import settings
from django.db import reset_queries

SWITCH_INTERVAL = 0.005  # Python's
ENDS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def tuned() -> Iterator[None]:
    """Within the block, Python is set to what a load needs.

    A load makes millions of tuples and no cycles; looking for cycles among them took a third of its time. The thread
    that hands rows to the database waits 5 ms, Python's default, for the one that reads to let go, at each call: with
    0.5 ms a load takes 0.93 of the time.
    """
    with ExitStack() as stack:
        if current_thread() is main_thread() and gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        if current_thread() is main_thread() and sys.getswitchinterval() == SWITCH_INTERVAL:
            sys.setswitchinterval(SWITCH_INTERVAL / 10)
            stack.callback(sys.setswitchinterval, SWITCH_INTERVAL)
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block, SIGTERM is Ctrl-C: every scheduler sends it, and by default it leaves no report.

    So is SIGHUP, which a terminal sends that is closed; nohup, which ignores it, is left alone.
    """
    ours = _handled_by(signal.SIG_DFL, ENDS)
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def finishing() -> Iterator[Callable[[], None]]:
    """Within the block, Ctrl-C waits for its end, unless pressed twice; thrice, once what it gives was called.

    That is for what is about to be committed: a batch stored but not counted would make a lie of the report. What the
    batch left behind is dropped: in cycles, such as a driver's cursors, and the statements that Django keeps under
    DEBUG, with all their values.
    """
    pressed, waits_for = 0, 1

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > waits_for:
            raise KeyboardInterrupt

    def commit() -> None:
        nonlocal waits_for
        waits_for = 2

    ours = _handled_by(signal.default_int_handler, (signal.SIGINT, *ENDS))
    for number in ours:
        signal.signal(number, note)
    try:
        yield commit
        gc.collect(1)
        if settings.DEBUG:
            reset_queries()
    finally:
        for number in ours:
            signal.signal(number, signal.default_int_handler)
        if pressed:  # also where the batch failed, or it would be tried again
            raise KeyboardInterrupt


def _handled_by(handler: object, numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Those that the process handles so, and whose handler this thread may set."""
    return [each for each in numbers if current_thread() is main_thread() and signal.getsignal(each) is handler]
