"""Resources that hold one another as objects, as users are members of a group in moto's IAM.

Where one of them gives way to the state's, those that stay must not go on with what is gone.
"""

from collections.abc import Iterable
from typing import Any

from localstack.services.stores import BaseStore
from moto.core.base_backend import BaseBackend

from podsync_localstack import nameable

# By the id of what gives way: itself, so that the id stays its own, and what comes instead.
Replaced = dict[int, tuple[Any, Any]]

_CONTAINERS = (dict, list, set)


def renew(carried: Iterable[Any], replaced: Replaced) -> None:
    """In what is carried over, and all that it leads to, without a step into a backend or store."""
    if not replaced:
        return
    seen: set[int] = set()
    pending = [item for item in carried if _leads_on(item)]
    while pending:
        holder = pending.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        pending += [item for item in _renewed(holder, replaced) if _leads_on(item)]


def _renewed(holder: Any, replaced: Replaced) -> Iterable[Any]:
    if isinstance(holder, set):
        if old := [item for item in holder if id(item) in replaced]:
            holder.difference_update(old)
            holder.update(replaced[id(item)][1] for item in old)
        return list(holder)
    if isinstance(holder, list):
        for position, item in enumerate(holder):
            if id(item) in replaced:
                holder[position] = replaced[id(item)][1]
        return holder
    held = holder if isinstance(holder, dict) else vars(holder)
    for key, item in list(dict.items(held)):
        if id(item) in replaced:
            dict.__setitem__(held, key, replaced[id(item)][1])
    return dict.values(held)


def _leads_on(item: Any) -> bool:
    if isinstance(item, _CONTAINERS):
        return True
    if isinstance(item, type | BaseBackend | BaseStore):
        return False
    return nameable.is_of_resources(type(item).__module__) and hasattr(item, "__dict__")
