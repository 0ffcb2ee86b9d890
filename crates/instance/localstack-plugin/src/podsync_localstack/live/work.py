"""Work that a thread of the instance does on behalf of a resource: runs, moves, deployments.

The resource is in a store and travels, the thread isn't and doesn't. Each such resource ends with a
cause when it is loaded, so that nothing waits for a thread that is in another process.
"""

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from localstack.services.plugins import Service

from podsync_localstack.live.part import Live

# A worker that was told to end does so within a step of its work.
END_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.01


class Work(Live):
    runs = True

    @abstractmethod
    def working(self) -> Iterator[tuple[str, Any]]:
        """The work under way in the stores, with its kind."""

    @abstractmethod
    def end(self, item: Any) -> None:
        """Ends work that came with a state, and sets its cause."""

    def leave(self, item: Any) -> None:
        """Ends this instance's own work whose resource has left the stores."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        # By id: itself, so that the id stays its own.
        self._own: dict[int, Any] = {}

    def stop(self, resets: bool) -> None:
        self._own = {id(item): item for _, item in self.working()}
        super().stop(resets)

    def settle(self) -> None:
        there = {id(item): item for _, item in self.working()}
        for key, item in there.items():
            if key not in self._own:
                self.end(item)
        for key, item in self._own.items():
            if key not in there:
                self.leave(item)

    def under_way(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.working())


def ended(is_over: Callable[[], bool], seconds: float = END_SECONDS) -> bool:
    """Polls until work without an event has ended. False if it goes on."""
    deadline = time.monotonic() + seconds
    while not is_over():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True
