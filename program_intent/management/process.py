"""What a command sets for its whole process: in the main thread alone, only over Python's defaults, and put back."""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread
from types import FrameType

SWITCH_INTERVAL = 0.005  # Python's
INTERRUPTS = (signal.SIGINT,)


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
def finishing() -> Iterator[None]:
    """Within the block, Ctrl-C waits for its end, unless pressed twice.

    A batch stored but not counted would make a lie of the report. What the batch left behind in cycles, such as a
    driver's cursors, is collected.
    """
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(number, signal.default_int_handler)

    ours = [
        number
        for number in INTERRUPTS
        if current_thread() is main_thread() and signal.getsignal(number) is signal.default_int_handler
    ]
    for number in ours:
        signal.signal(number, note)
    try:
        yield
        gc.collect(1)
    finally:
        for number in ours:
            signal.signal(number, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt
