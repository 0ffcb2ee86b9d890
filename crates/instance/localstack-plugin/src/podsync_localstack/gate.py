"""Keeps clients out while the state is read or changed, so that a save is of one moment.

Every request of the AWS API passes on its way to the provider. Closing waits for those inside to
finish. A request inside may call other services: such calls pass while the gate is closing, and
calls made by the thread that holds the gate always do.
"""

import threading
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


class Gate:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._polls = 0
        self._closing = False
        self._closed = False
        self._one_at_a_time = threading.RLock()
        self._own = threading.local()

    def enter(self, internal: bool, poll: bool = False) -> bool:
        """Waits until the gate is open. False if the caller needn't leave again."""
        if getattr(self._own, "holder", False) or getattr(self._own, "inside", 0):
            return False
        with self._changed:
            self._changed.wait_for(
                lambda: not self._closed and (internal or not self._closing),
                INTERNAL_PATIENCE_SECONDS if internal else None,
            )
            if poll:
                self._polls += 1
            else:
                self._inside += 1
        self._own.inside = 1
        self._own.poll = poll
        return True

    def leave(self) -> None:
        self._own.inside = 0
        with self._changed:
            if self._own.poll:
                self._polls -= 1
            else:
                self._inside -= 1
            self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[bool]:
        """Yields whether all that were inside have finished in time."""
        with self._one_at_a_time:
            if getattr(self._own, "holder", False):
                yield True
                return
            with self._changed:
                self._closing = True
                drained = self._changed.wait_for(lambda: self._inside == 0, DRAIN_SECONDS)
                self._changed.wait_for(lambda: self._polls == 0, POLL_SECONDS)
                self._closed = True
            self._own.holder = True
            try:
                yield drained
            finally:
                self._own.holder = False
                with self._changed:
                    self._closing = self._closed = False
                    self._changed.notify_all()


_GATE = Gate()
closed = _GATE.closed


def install() -> None:
    from localstack.aws import handlers

    def enter(chain: Any, context: Any, response: Any) -> None:
        poll = (context.service.service_name, context.operation.name) in _POLLS
        if _GATE.enter(context.is_internal_call, poll):
            setattr(context, _MARK, True)

    def leave(chain: Any, context: Any, response: Any) -> None:
        if getattr(context, _MARK, False):
            setattr(context, _MARK, False)
            _GATE.leave()

    # The last station before the service is loaded and called; /_localstack never comes this far.
    handlers.serve_custom_service_request_handlers.append(enter)
    handlers.run_custom_finalizers.append(leave)
