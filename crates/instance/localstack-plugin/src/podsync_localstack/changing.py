"""Carries out changes of several services at once.

Background work stops first, then the stores change, then the work starts again. A service that
calls others stops before them and starts after them, so the poller of a mapping finds the
queue that it polls. Failures are reported and stop neither other services nor the next step.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from localstack.services.plugins import Service

from podsync_localstack import gate, live
from podsync_localstack.live.part import Live
from podsync_localstack.report import reason

LOG = logging.getLogger(__name__)


@dataclass
class Change:
    name: str
    service: Service
    # Whether everything present is removed.
    resets: bool
    # Changes stores and files. Returns messages about failed changes.
    place: Callable[[], list[str]]
    # What went wrong, in words.
    problems: list[str] = field(default_factory=list)
    # Seconds of work on this service itself, while its clients waited.
    worked: float = 0.0
    # Seconds for which its clients waited besides, while other services were changed.
    waited: float = 0.0


def carry_out(changes: Sequence[Change]) -> Iterator[Change]:
    """Yields each when it is done."""
    by_name = {change.name: change for change in changes}
    called_first = [by_name[name] for name in live.called_first(by_name)]
    beside = {change.name: live.of(change.name, change.service) for change in changes}
    with gate.held() as hold:
        for change in reversed(called_first):
            part = beside[change.name]
            if part.runs:
                with _working(change):
                    hold.keep_out(change.name)
                    _try(change, "stop", partial(part.stop, change.resets))
        for change in reversed(called_first):
            part = beside[change.name]
            with _working(change), hold.closed(change.name):
                if not part.runs:
                    _try(change, "stop", partial(part.stop, change.resets))
                _try(change, "place", change.place)
                _try(change, "settle", part.settle)
            if not part.runs:
                _start(hold, change, part)
        for change in called_first:
            part = beside[change.name]
            if part.runs:
                _start(hold, change, part)
            yield change


def _start(hold: gate.Hold, change: Change, part: Live) -> None:
    with _working(change):
        _try(change, "start", part.start)
    change.waited = max(0.0, hold.let_in(change.name) - change.worked)


@contextmanager
def _working(change: Change) -> Iterator[None]:
    begin = time.monotonic()
    try:
        yield
    finally:
        change.worked += time.monotonic() - begin


def _try(change: Change, step: str, action: Callable[[], list[str] | None]) -> None:
    try:
        change.problems += action() or []
    except Exception as e:
        LOG.exception("Could not %s %s", step, change.name)
        change.problems.append(reason(e))
