"""What one service runs beside its stores, and how it is stopped and started.

The base is for services that have nothing of that kind but LocalStack's own hooks.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from localstack.services.plugins import Service
from localstack.services.stores import AccountRegionBundle
from localstack.state import StateVisitor

from podsync_localstack.containers import provider

# What ends because of a load says so to whoever asks why.
CAUSE = "podsync: it was under way when this state was saved, and a load can't go on with it"


class Live:
    """The order of calls is `stop`, a change of the stores, `settle`, `start`."""

    # The services that `start` calls: theirs have been started by then.
    calls: ClassVar[tuple[str, ...]] = ()
    # Clients wait from `stop` until `start` is done, and not only while the stores change.
    runs: ClassVar[bool] = False

    def __init__(self, service: Service) -> None:
        self.service = service

    @property
    def provider(self) -> Any:
        return provider(self.service)

    def stop(self, resets: bool) -> None:
        """Nothing acts by itself afterwards. `resets`: nothing of what is there stays."""
        hook = self.service.lifecycle_hook
        if resets:
            hook.on_before_state_reset()
        else:
            hook.on_before_state_load()

    def settle(self) -> None:
        """Ends what was under way, in the state that came and where it went away."""

    def start(self) -> list[str]:
        """For what is in the stores now. Answers what couldn't be started, in words."""
        self.service.lifecycle_hook.on_after_state_load()
        return []

    def under_way(self) -> Counter[str]:
        """How much would end with a load, by kind."""
        return Counter()

    def stores(self) -> Iterator[tuple[str, str, Any]]:
        """Account, region and store."""
        found = _Bundles()
        self.service.accept_state_visitor(found)
        for bundle in found.bundles:
            yield from list(bundle.iter_stores())


class _Bundles(StateVisitor):
    def __init__(self) -> None:
        self.bundles: list[AccountRegionBundle[Any]] = []

    def visit(self, state_container: Any) -> None:
        if isinstance(state_container, AccountRegionBundle):
            self.bundles.append(state_container)
