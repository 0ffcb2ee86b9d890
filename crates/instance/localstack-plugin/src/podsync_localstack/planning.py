"""What a load changes, by resource, computed from the objects that it will place.

A `ServicePlan` is both what `--dry-run` prints and what a load carries out, so neither can say what
the other doesn't do.
"""

from dataclasses import dataclass
from typing import Any

from podsync_localstack import index, merging
from podsync_localstack.beside import Scopes
from podsync_localstack.containers import Attributes, Container, Scope, ServiceState
from podsync_localstack.index import Resource
from podsync_localstack.merging import Placing, Strategy

FORMAT_VERSION = 1

Change = tuple[str, Resource]
_Held = dict[tuple[Container, Scope], Attributes]


@dataclass
class ServicePlan:
    """The caller must block the service's clients from its creation to its end."""

    service: str
    state: ServiceState
    strategy: Strategy
    placing: Placing

    def changes(self) -> list[Change]:
        """In the order of the index; what is removed as it was, all else as it will be."""
        before = {
            key: container.read(scope) for key in self._places() for container, scope in [key]
        }
        after = self._after(before)
        known: index.Names = {}
        for attributes in (*before.values(), *after.values()):
            known |= index.names(self.service, attributes)
        was, will_be = (self._resources(held, known) for held in (before, after))
        return sorted(_differences(was, will_be), key=lambda change: change[1])

    def _places(self) -> list[tuple[Container, Scope]]:
        places = [(it, scope) for it in self.state.containers for scope in it.scopes()]
        return list(dict.fromkeys([*places, *((it, to) for it, to, _ in self.placing.scopes)]))

    def _after(self, before: _Held) -> _Held:
        if self.strategy is Strategy.OVERWRITE:
            after = {
                (it, scope): it.when_reset(scope) if held else {}
                for (it, scope), held in before.items()
            }
        else:
            after = dict(before)
        return after | {(it, scope): attributes for it, scope, attributes in self.placing.scopes}

    def _resources(self, held: _Held, known: index.Names) -> list[Resource]:
        return [
            resource
            for (_, scope), attributes in held.items()
            for resource in index.resources(self.service, scope, attributes, known)
        ]


def plan(strategy: Strategy, service: str, state: ServiceState, incoming: Scopes) -> ServicePlan:
    """`incoming` is what the state has for the service, and becomes part of the plan."""
    placing = merging.place(strategy, service, state.containers, incoming)
    return ServicePlan(service, state, strategy, placing)


def document(changes: list[Change], failed: list[dict[str, str]]) -> dict[str, Any]:
    """As JSON. `failed` are services that can't be loaded and stay as they are."""
    kept = sorted(changes, key=lambda change: change[1])[: index.MOST_RESOURCES]
    left_out = len(changes) - len(kept)
    return {
        "format_version": FORMAT_VERSION,
        "changes": [{"change": change, **resource.as_json()} for change, resource in kept],
        **({"failed": failed} if failed else {}),
        **({"left_out": left_out} if left_out else {}),
    }


def _differences(before: list[Resource], after: list[Resource]) -> list[Change]:
    was, will_be = _by_place(before), _by_place(after)
    return [
        *(("removed", was[place]) for place in was.keys() - will_be.keys()),
        *(("added", will_be[place]) for place in will_be.keys() - was.keys()),
        *(
            ("changed", will_be[place])
            for place in was.keys() & will_be.keys()
            if _differ(was[place], will_be[place])
        ),
    ]


def _by_place(resources: list[Resource]) -> dict[tuple[str, ...], Resource]:
    return {
        (found.service, found.account, found.region, found.type, found.name): found
        for found in resources
    }


def _differ(before: Resource, after: Resource) -> bool:
    # Of a resource without a digest nobody knows whether it is the same.
    return before != after or bool(after.name and not after.digest)
