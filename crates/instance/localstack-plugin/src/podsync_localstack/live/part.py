"""The background work of one service, and how it is stopped and started.

The base is for services that have nothing of that kind but LocalStack's own hooks.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from localstack.services.plugins import Service
from localstack.services.stores import AccountRegionBundle
from localstack.state import StateVisitor

from podsync_localstack.containers import provider

# The cause that is reported for work that a load ended.
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
        """Stops all background work. `resets`: everything present is removed."""
        hook = self.service.lifecycle_hook
        if resets:
            hook.on_before_state_reset()
        else:
            hook.on_before_state_load()

    def settle(self) -> None:
        """Ends work that was under way in the loaded state or in replaced resources."""

    def start(self) -> list[str]:
        """Starts work for the stores' present content. Returns messages about failures."""
        self.service.lifecycle_hook.on_after_state_load()
        return []

    def under_way(self) -> Counter[str]:
        """The amount of work that a load would end, by kind."""
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
