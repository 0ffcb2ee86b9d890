"""The index of a state's resources, as plain JSON: reading it needs no unpickling.

Names, counts and digests only. An attribute that `resource_kinds` doesn't list is counted and not
named, because its keys could be tokens. The format is described in docs/state-index.md.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from podsync_localstack import merge_rules, pickling, resource_kinds
from podsync_localstack.containers import Scope

FORMAT_VERSION = 1

# A reader holds the index in memory: at the longest names this is some 100 MB, mostly a few KB.
MOST_RESOURCES = 50_000
# Longer than what AWS allows for a name of any resource here.
LONGEST_NAME = 1024
DIGEST_BYTES = 8

# What moto calls the one region of services that have none.
_NO_REGION = frozenset({"aws", "global"})


# Account, region, type and name; empty where there is none.
Place = tuple[str, str, str, str]
# By the id of an object.
Names = dict[int, str]


@dataclass(frozen=True, order=True)
class Resource:
    service: str
    account: str
    region: str
    type: str
    # Empty if only the number of resources is given, in counts["resources"].
    name: str
    label: str = ""
    counts: resource_kinds.Counts = ()
    digest: str = ""

    def as_json(self) -> dict[str, Any]:
        document = {key: value for key, value in asdict(self).items() if value not in ("", ())}
        if self.counts:
            document["counts"] = dict(self.counts)
        return document


def document(resources: list[Resource]) -> dict[str, Any]:
    kept = sorted(set(resources))
    left_out = max(0, len(kept) - MOST_RESOURCES)
    return {
        "format_version": FORMAT_VERSION,
        "resources": [resource.as_json() for resource in kept[:MOST_RESOURCES]],
        **({"left_out": left_out} if left_out else {}),
    }


def resources(
    service: str, scope: Scope, attributes: dict[str, Any], others: Names | None = None
) -> list[Resource]:
    """What is in a scope. `others` are more names of what these resources may hold."""
    known = names(service, attributes) | (others or {})
    found: list[Resource] = []
    for name, value in _listed(service, attributes):
        kinds = resource_kinds.KINDS.get((service, name))
        if kinds is not None:
            for kind in kinds:
                found += _of_kind(kind, service, scope, value, known)
        elif not name.startswith("_") and isinstance(value, dict):
            found.append(
                Resource(
                    service,
                    scope.account or "",
                    _region(value, scope),
                    name[:LONGEST_NAME],
                    "",
                    counts=(("resources", len(value)),),
                )
            )
    return found


def places(service: str, scope: Scope, attributes: dict[str, Any]) -> set[Place]:
    """Where the resources of a scope are, also of those that are left out of an index."""
    return {
        (scope.account or "", _region(item, scope), kind.type, name[:LONGEST_NAME])
        for attribute, value in _listed(service, attributes)
        for kind in resource_kinds.KINDS.get((service, attribute), ())
        for name, item in kind.each(value)
    }


def is_known(service: str, kind: str) -> bool:
    """Whether this plugin names resources of that type."""
    return any(
        of == service and any(known.type == kind for known in kinds)
        for (of, _), kinds in resource_kinds.KINDS.items()
    )


def names(service: str, attributes: dict[str, Any]) -> Names:
    """The names of resources' objects, for places where another resource holds them."""
    found: Names = {}
    for attribute, value in _listed(service, attributes):
        for kind in resource_kinds.KINDS.get((service, attribute), ()):
            found |= {id(item): f"{kind.type} {name}" for name, item in kind.each(value)}
    return found


def _listed(service: str, attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for attribute, value in attributes.items():
        name = attribute.removeprefix("attr_")
        if (service, name) in resource_kinds.LEFT_OUT:
            continue
        if merge_rules.is_about(merge_rules.rule(service, name, value)):
            continue
        if value and (isinstance(value, dict) or (service, name) in resource_kinds.KINDS):
            yield name, value


def _of_kind(
    kind: resource_kinds.Kind, service: str, scope: Scope, held: Any, known: Names
) -> list[Resource]:
    return [
        Resource(
            service,
            scope.account or "",
            _region(item, scope),
            kind.type,
            name[:LONGEST_NAME],
            kind.label(item)[:LONGEST_NAME],
            kind.counts(item),
            _digest(kind.essence(item), known),
        )
        for name, item in kind.each(held)
        if not kind.skip(name, item)
    ]


def _region(item: Any, scope: Scope) -> str:
    region = getattr(item, "bucket_region", None) or scope.region or ""
    return "" if region in _NO_REGION else region


def _digest(essence: Any, known: Names) -> str:
    """Equal for two entries of the same resource in the same state; has no other meaning."""
    try:
        data = pickling.dumps_naming(essence, known)
    except Exception:
        # What can't be pickled is reported where it is saved.
        return ""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
