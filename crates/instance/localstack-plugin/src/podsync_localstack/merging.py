"""What of a snapshot and what of the instance is there after a load."""

from collections import defaultdict
from enum import Enum
from typing import Any

from podsync_localstack.containers import Container, Scope


class Strategy(Enum):
    OVERWRITE = "overwrite"
    ACCOUNT_REGION_MERGE = "account-region-merge"
    SERVICE_MERGE = "service-merge"


def merge(strategy: Strategy, container: Container, scope: Scope, incoming: dict[str, Any]) -> None:
    present = container.read(scope)
    if strategy is Strategy.SERVICE_MERGE or scope.account is None:
        # What all accounts share can't be replaced for the sake of one of them.
        container.replace(scope, {**present, **_union(present, incoming)})
    else:
        container.replace(scope, incoming)


def _union(present: dict[str, Any], incoming: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _merged(present[name], value) if name in present else value
        for name, value in incoming.items()
    }


def _merged(present: Any, incoming: Any) -> Any:
    """Both, and of one resource that both have the incoming one, whole."""
    if type(present) is not type(incoming):
        return incoming
    if isinstance(incoming, defaultdict):
        # A map of maps by region or kind, where plain dicts hold resources or are ones.
        for key, value in incoming.items():
            present[key] = (
                _merged(present[key], value) if _is_map(value) and key in present else value
            )
        return present
    if isinstance(incoming, dict):
        present.update(incoming)
        return present
    if isinstance(incoming, set):
        present |= incoming
        return present
    if isinstance(incoming, list):
        return present + [item for item in incoming if item not in present]
    if _is_registry(incoming):
        vars(present).update(_union(vars(present), vars(incoming)))
        return present
    return incoming


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_registry(value: Any) -> bool:
    """Whether an attribute is an object that holds others by key, such as all tags of a service."""
    held: dict[str, Any] = getattr(value, "__dict__", {})
    return any(isinstance(part, dict) for part in held.values())
