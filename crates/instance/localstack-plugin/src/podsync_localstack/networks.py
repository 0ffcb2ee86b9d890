"""The default network that EC2 makes for itself in each region of each instance, by ids of its own.

Two of them become one in a merge: the state's is the default. The instance's goes, unless something
that stays lies in it or names it; then it stays as a network like any other.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from localstack.services.plugins import SERVICE_PLUGINS

from podsync_localstack import pickling
from podsync_localstack.containers import Attributes, Container, Scope, ServiceState, running
from podsync_localstack.references import Replaced

# Services whose resources name networks, subnets and groups of EC2.
NAMING = (
    *("cloudformation", "es", "lambda", "opensearch", "redshift", "resource-groups"),
    *("route53", "route53resolver"),
)

# What a network is made of, by id: in maps by zone or network, and in one map for all.
_IN_MAPS = ("subnets", "groups")
_IN_ONE = ("route_tables", "network_acls")
# A thousand of each, and none of them names a network.
_NAMES_NONE = frozenset({"amis", "snapshots", "managed_prefix_lists"})
_EVERYWHERE = frozenset({"aws", "global", None})


def one_default(scope: Scope, merged: Attributes, replaced: Replaced) -> None:
    """Adds to `replaced` the replacements for a default network that stays."""
    defaults = [vpc for vpc in merged.get("vpcs", {}).values() if vpc.is_default]
    wanted = merged.get("default_vpc")
    if not any(vpc is wanted for vpc in defaults):
        return
    for vpc in defaults:
        if vpc is not wanted:
            network = _Network(vpc.id, merged)
            if network.is_as_made() and not network.is_named_in(_others(scope, merged, network)):
                network.drop()
            else:
                network.become_plain(replaced)


class _Network:
    def __init__(self, vpc_id: str, merged: Attributes) -> None:
        self._id = vpc_id
        # Its maps may be the instance's own: they are changed as copies.
        self._merged = merged
        self.parts: dict[str, Any] = {vpc_id: merged["vpcs"][vpc_id]}
        for attribute in (*_IN_MAPS, *_IN_ONE):
            self.parts |= {it.id: it for it in self._in(attribute)}

    def is_as_made(self) -> bool:
        single = all(len(self._in(attribute)) == 1 for attribute in ("groups", *_IN_ONE))
        # By the id of its zone somebody made it, though it is called a default as well.
        by_zone_id = self._merged["subnets"].get(None, {})
        return single and all(
            subnet.default_for_az and subnet.id not in by_zone_id for subnet in self._in("subnets")
        )

    def is_named_in(self, others: Iterable[Any]) -> bool:
        names = [name.encode() for name in self.parts]
        return any(name in written for written in map(pickling.dumps, others) for name in names)

    def drop(self) -> None:
        def without(held: Any) -> Any:
            return {key: item for key, item in dict.items(held) if key not in self.parts}

        for attribute in ("vpcs", "tags", *_IN_ONE):
            self._merged[attribute] = _changed(self._merged[attribute], without)
        for attribute in _IN_MAPS:
            self._merged[attribute] = _changed_within(self._merged[attribute], without)
        del self._merged["groups"][self._id]

    def become_plain(self, replaced: Replaced) -> None:
        plain = {
            item.id: _with(item, replaced, **{flag: False})
            for flag, items in (
                ("is_default", [self._merged["vpcs"][self._id]]),
                ("default_for_az", self._in("subnets")),
            )
            for item in items
        }

        def with_plain(held: Any) -> Any:
            return {key: plain.get(key, item) for key, item in dict.items(held)}

        self._merged["vpcs"] = _changed(self._merged["vpcs"], with_plain)
        self._merged["subnets"] = _changed_within(self._merged["subnets"], with_plain)

    def _in(self, attribute: str) -> list[Any]:
        held = self._merged[attribute]
        maps = held.values() if attribute in _IN_MAPS else [held]
        return [it for inner in maps for it in inner.values() if it.vpc_id == self._id]


def _changed(held: Any, change: Callable[[Any], Any]) -> Any:
    """A copy, also of a map that makes entries by itself."""
    other = copy.copy(held)
    entries = change(held)
    dict.clear(other)
    dict.update(other, entries)
    return other


def _changed_within(held: Any, change: Callable[[Any], Any]) -> Any:
    return _changed(held, lambda maps: {key: _changed(it, change) for key, it in maps.items()})


def _with(item: Any, replaced: Replaced, **attributes: Any) -> Any:
    other = copy.copy(item)
    vars(other).update(attributes)
    replaced[id(item)] = (item, other)
    return other


def _others(scope: Scope, merged: Attributes, network: _Network) -> Iterator[Any]:
    """All objects that may name a network without being part of it."""
    for name, held in merged.items():
        if name in _NAMES_NONE:
            continue
        if isinstance(held, dict):
            maps = held.values() if name in _IN_MAPS else [held]
            for inner in maps:
                yield {k: it for k, it in dict.items(inner) if k not in network.parts}
        elif isinstance(held, list | set):
            yield held
    for name in NAMING:
        if SERVICE_PLUGINS.is_running(name):
            for container in ServiceState(running(name)).containers:
                yield from _of_place(container, scope)


def _of_place(container: Container, scope: Scope) -> Iterator[Any]:
    for other in container.scopes():
        here = other.region in _EVERYWHERE or other.region == scope.region
        if here and other.account in (scope.account, None):
            yield container.read(other)
