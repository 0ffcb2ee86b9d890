"""Lets a big response wait for its reader.

Twisted's WSGI adapter hands every block to the transport at once, which keeps in memory what the
client hasn't read. With a state of gigabytes and a client that compresses while it reads, that
is most of the state.
"""

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import blockingCallFromThread
from twisted.web.wsgi import _WSGIResponse
from zope.interface import implementer

# Responses that ask for it carry this header.
HEADER = "x-localstack-pod-size"


@implementer(IPushProducer)
class _Valve:
    """Opened and closed by the transport, waited on by the thread that writes."""

    def __init__(self, size: int) -> None:
        self.left = size
        self._open = threading.Event()
        self._open.set()

    def pauseProducing(self) -> None:
        self._open.clear()

    def resumeProducing(self) -> None:
        self._open.set()

    # The client is gone: the writer has to wake up to find that out.
    stopProducing = resumeProducing

    def wait(self) -> None:
        self._open.wait()


def install() -> None:
    response: Any = _WSGIResponse
    plain_write: Callable[[Any, bytes], None] = response.write

    def write(self: Any, data: bytes) -> None:
        valve = getattr(self, "_podsync_valve", None)
        if valve is None and (size := _announced_size(self)):
            valve = self._podsync_valve = _Valve(size)
            blockingCallFromThread(self.reactor, self.request.registerProducer, valve, True)
        if valve is None:
            return plain_write(self, data)
        valve.wait()
        if self._requestFinished:
            return None
        plain_write(self, data)
        valve.left -= len(data)
        if valve.left <= 0:
            # Finishing a request that still has a producer is an error.
            blockingCallFromThread(self.reactor, self.request.unregisterProducer)
        return None

    response.write = write


def _announced_size(response: Any) -> int:
    for name, value in response.headers or ():
        if name.lower() == HEADER:
            return int(value)
    return 0
