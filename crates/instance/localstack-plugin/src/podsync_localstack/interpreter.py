"""Settings of the whole interpreter: the cycle collector and the switching of threads."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A request lets go of the interpreter at each read and write, and waits that long to have it back
# from a thread that computes. Python's own time is ten times as long, and a request takes many.
TURN_SECONDS = 0.0005
_PLAIN_TURN_SECONDS = sys.getswitchinterval()


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of cycles, which would look through a state over and over as it is
    made. What is made here stays: looking through it finds nothing to free.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # All that is there counts as old: it isn't looked through at once, while all wait.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@contextmanager
def in_short_turns() -> Iterator[None]:
    """Makes Python switch soon to threads that answer requests, during long computations."""
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(_PLAIN_TURN_SECONDS)
