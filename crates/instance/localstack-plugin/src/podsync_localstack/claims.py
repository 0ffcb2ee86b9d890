"""Compares a state's index with its content before anything is changed.

A state whose list promises more than its stores have, or whose stores name what isn't there, was
cut or put together by hand: what it is loaded into would look whole and not be. Nothing of it is
loaded, of other services neither.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from podsync_localstack import index, mappings, names, s3_bodies
from podsync_localstack.archive import ArchiveReader
from podsync_localstack.beside import Scopes
from podsync_localstack.environment import IncompatibleState

# As long as podsync reads one.
INDEX_BYTES = 64 << 20


class CutState(IncompatibleState):
    """The state lacks something that it names."""


class Claims:
    def __init__(self, archive: ArchiveReader, metadata: dict[str, Any]) -> None:
        self._archive = archive
        self._promised = _promised(archive)
        failed = metadata.get("failed")
        told = [it for it in (failed if isinstance(failed, list) else []) if isinstance(it, dict)]
        # A save reports bodies that it couldn't read: those are known to be missing.
        self._known_missing = {failure.get("object") for failure in told}
        self._incomplete = {failure.get("service") for failure in told}
        # None if an older plugin saved the state, and didn't say.
        dangling = metadata.get("dangling_mappings")
        self._known_dangling = set(map(str, dangling)) if isinstance(dangling, list) else None
        self._mappings: dict[str, str] = {}
        self._queues: set[str] | None = None

    def require_resources(self, service: str, incoming: Scopes) -> None:
        """Raises IncompatibleState where the index names a resource that isn't in `incoming`."""
        if not incoming:
            # Not this service: a state can be loaded in part.
            return
        there: set[index.Place] = set()
        for _, scope, attributes in incoming:
            there |= index.places(service, scope, attributes)
        lacking = self._promised.get(service, set()) - there
        if lacking:
            account, region, kind, name = min(lacking)
            where = " ".join(filter(None, (account, region)))
            raise CutState(
                f"the state's index names the {kind} {name} ({where}), and its stores don't have "
                f"it: the state was changed after it was saved; save it again where it came from"
            )

    def require_named(self, service: str, incoming: Scopes) -> None:
        """Raises CutState if a store names a key that its other parts lack."""
        self._note(service, incoming)
        for held_in, names_in, named in _NAMED.get(service, ()):
            if service in self._incomplete:
                continue
            there = {key for _, _, attributes in incoming for key in attributes.get(held_in, {})}
            for _, _, attributes in incoming:
                for holder, keys in named(attributes.get(names_in, {})):
                    if lacking := set(keys) - there:
                        raise CutState(
                            f"{holder} names {min(lacking)}, which the state doesn't have: the "
                            f"state was changed after it was saved; save it again where it came "
                            f"from"
                        )

    def require_queues(self) -> None:
        """Raises CutState if a mapping polls a queue that the state lost after it was saved.

        Call it once all services are read. A queue that was gone when the state was saved is no
        damage, and neither is one of a service that isn't loaded: the load tells of both.
        """
        if self._known_dangling is None or self._queues is None or "sqs" in self._incomplete:
            return
        for uuid, source in sorted(self._mappings.items()):
            if source not in self._queues and uuid not in self._known_dangling:
                raise CutState(
                    f"the event source mapping {uuid} names {source}, which the state doesn't "
                    f"have: the state was changed after it was saved; save it again where it came "
                    f"from"
                )

    def _note(self, service: str, incoming: Scopes) -> None:
        held = [attributes for _, _, attributes in incoming]
        if service == "lambda":
            for attributes in held:
                self._mappings |= mappings.of_queues(attributes.get(mappings.ATTRIBUTE, {}))
        if service == "sqs" and held:
            self._queues = {
                queue.arn for it in held for queue in it.get("attr_queues", {}).values()
            }

    def bodies(self, incoming: Scopes) -> list[s3_bodies.Body]:
        """Raises IncompatibleState where a store of S3 names an object without its body."""
        there = []
        for body in s3_bodies.bodies_of(s3_bodies.buckets_in(incoming)):
            if body.member in self._archive:
                there.append(body)
            elif body.label not in self._known_missing:
                raise CutState(
                    f"{body.label} is in the state without its body: the state was cut after it "
                    f"was saved; save it again where it came from"
                )
        return there


Named = Iterator[tuple[str, Iterable[str]]]


def _subscriptions(topics: dict[str, Any]) -> Named:
    for arn, topic in topics.items():
        yield f"the topic {arn}", topic["subscriptions"]


def _owned_buckets(owners: dict[str, str]) -> Named:
    yield "the list of who owns which bucket", owners


# By service: the attribute that holds, the one that names, and how.
_NAMED: dict[str, tuple[tuple[str, str, Callable[[Any], Named]], ...]] = {
    "s3": (("buckets", "global_bucket_map", _owned_buckets),),
    "sns": (("attr_subscriptions", "attr_topics", _subscriptions),),
}


def _promised(archive: ArchiveReader) -> dict[str, set[index.Place]]:
    """By service. What isn't as an index is promises nothing: podsync itself has refused it."""
    promised: dict[str, set[index.Place]] = {}
    if names.INDEX not in archive or archive.size(names.INDEX) > INDEX_BYTES:
        return promised
    try:
        document = json.loads(archive.read(names.INDEX))
        for entry in document["resources"]:
            service, kind = entry["service"], entry["type"]
            if "name" in entry and index.is_known(service, kind):
                place = (entry.get("account", ""), entry.get("region", ""), kind, entry["name"])
                promised.setdefault(service, set()).add(place)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}
    return promised
