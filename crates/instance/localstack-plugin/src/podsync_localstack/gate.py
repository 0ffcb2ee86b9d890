"""Keeps clients out while the state is read or changed.

Every request of the AWS API passes on its way to the provider. A save closes the gate as a whole,
so that it is of one moment; a load closes it for one service after the other, and the others go on.

Closing waits for those inside to finish. A request inside may call other services: such calls pass
until a service is closed, and calls made by the thread that holds the gate always do.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DRAIN_SECONDS = 5.0
# A poll takes what is there at once, or waits for what can't arrive while the gate is closed.
POLL_SECONDS = 0.25
# A service that stops for a load may wait for its own worker, which may wait here.
INTERNAL_PATIENCE_SECONDS = 10.0

_POLLS = frozenset({("sqs", "ReceiveMessage"), ("stepfunctions", "GetActivityTask")})

_MARK = "podsync_inside"

# In the place of a service: all of them.
_ALL = "*"


class Gate:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: Counter[str] = Counter()
        self._polls: Counter[str] = Counter()
        # Services whose clients wait, and those where calls of other services wait as well.
        self._closing: set[str] = set()
        self._closed: set[str] = set()
        self._one_at_a_time = threading.RLock()
        self._own = threading.local()

    def enter(self, service: str, internal: bool, poll: bool = False) -> bool:
        """Waits until the gate is open. False if the caller needn't leave again."""
        if getattr(self._own, "holder", False) or getattr(self._own, "inside", None):
            return False
        held = {service, _ALL}
        counts = self._polls if poll else self._inside
        with self._changed:
            self._changed.wait_for(
                lambda: not held & self._closed and (internal or not held & self._closing),
                INTERNAL_PATIENCE_SECONDS if internal else None,
            )
            counts[service] += 1
        self._own.inside = counts, service
        return True

    def leave(self) -> None:
        counts, service = self._own.inside
        self._own.inside = None
        with self._changed:
            counts[service] -= 1
            self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[bool]:
        """Closes the gate for all. Yields whether all requests inside finished in time."""
        with self._held() as first:
            if not first:
                yield True
                return
            drained = self.close(_ALL)
            try:
                yield drained
            finally:
                self.let_in(_ALL)

    @contextmanager
    def held(self) -> Iterator["Hold"]:
        """Holds the gate open; the holder may close it for single services."""
        with self._held():
            hold = Hold(self)
            try:
                yield hold
            finally:
                hold.let_all_in()

    @contextmanager
    def _held(self) -> Iterator[bool]:
        with self._one_at_a_time:
            first = not getattr(self._own, "holder", False)
            self._own.holder = True
            try:
                yield first
            finally:
                self._own.holder = not first

    def keep_out(self, service: str) -> bool:
        """Blocks clients, not calls of services. False if a request inside didn't end in time."""
        with self._changed:
            self._closing.add(service)
            drained = self._changed.wait_for(lambda: not _of(self._inside, service), DRAIN_SECONDS)
            self._changed.wait_for(lambda: not _of(self._polls, service), POLL_SECONDS)
            return drained

    def close(self, service: str) -> bool:
        drained = self.keep_out(service)
        with self._changed:
            self._closed.add(service)
        return drained

    def let_calls_pass(self, service: str) -> None:
        with self._changed:
            self._closed.discard(service)
            self._changed.notify_all()

    def let_in(self, service: str) -> None:
        with self._changed:
            self._closing.discard(service)
            self._closed.discard(service)
            self._changed.notify_all()


class Hold:
    """What the holder of an open gate may do, by service."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        # Since when, by service.
        self._kept_out: dict[str, float] = {}

    def keep_out(self, service: str) -> None:
        """Blocks clients from now on, but not calls of other services."""
        self._kept_out.setdefault(service, time.monotonic())
        self._gate.keep_out(service)

    @contextmanager
    def closed(self, service: str) -> Iterator[None]:
        """Blocks all callers, and afterwards only clients."""
        self._kept_out.setdefault(service, time.monotonic())
        self._gate.close(service)
        try:
            yield
        finally:
            self._gate.let_calls_pass(service)

    def let_in(self, service: str) -> float:
        """Returns for how many seconds clients were kept out."""
        self._gate.let_in(service)
        return time.monotonic() - self._kept_out.pop(service)

    def let_all_in(self) -> None:
        for service in sorted(self._kept_out):
            self.let_in(service)


def _of(counts: Counter[str], service: str) -> int:
    return counts.total() if service == _ALL else counts[service]


_GATE = Gate()
closed = _GATE.closed
held = _GATE.held


def install() -> None:
    from localstack.aws import handlers

    def enter(chain: Any, context: Any, response: Any) -> None:
        name, operation = context.service.service_name, context.operation.name
        if _GATE.enter(name, context.is_internal_call, (name, operation) in _POLLS):
            setattr(context, _MARK, True)

    def leave(chain: Any, context: Any, response: Any) -> None:
        if getattr(context, _MARK, False):
            setattr(context, _MARK, False)
            _GATE.leave()

    # The last station before the service is loaded and called; /_localstack never comes this far.
    handlers.serve_custom_service_request_handlers.append(enter)
    handlers.run_custom_finalizers.append(leave)
