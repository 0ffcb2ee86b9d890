"""Puts a saved state into the running instance.

Two steps: making a `PreparedLoad` checks the archive without touching the instance; `apply` changes
it. A pickle may name resources only (`nameable`), and can still build nonsense of them: states come
from trusted people.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, BinaryIO, NotRequired, TypedDict

from localstack.services.plugins import SERVICE_PLUGINS
from localstack.services.s3.storage.core import S3ObjectStore

from podsync_localstack import (
    asset_folders,
    changing,
    environment,
    names,
    pickling,
    planning,
    resetting,
    s3_bodies,
    sqs_queues,
)
from podsync_localstack.archive import ArchiveReader, BrokenArchive
from podsync_localstack.beside import Scopes
from podsync_localstack.changing import Change
from podsync_localstack.claims import Claims, CutState
from podsync_localstack.containers import Container, Scope, ServiceState, provider, running
from podsync_localstack.environment import IncompatibleState
from podsync_localstack.merging import Strategy
from podsync_localstack.report import reason

LOG = logging.getLogger(__name__)


class Event(TypedDict):
    service: str
    status: str
    message: str
    # Milliseconds for which clients waited besides, while other services were changed.
    waited_ms: NotRequired[int]


# Names of services and of what could not be saved; a hundred thousand of these are enough.
METADATA_BYTES = 16 << 20


class PreparedLoad:
    def __init__(self, source: BinaryIO, strategy: Strategy) -> None:
        """Raises BrokenArchive or IncompatibleState, and hasn't touched anything then."""
        self._archive = ArchiveReader(source)
        self._staged: list[s3_bodies.Staged] = []
        self._strategy = strategy
        metadata = self._read_metadata()
        environment.require_loadable(metadata)
        self.services = _services(metadata)
        self._claims = Claims(self._archive, metadata)

    def _read_metadata(self) -> dict[str, Any]:
        if names.METADATA not in self._archive:
            raise IncompatibleState(
                f"the archive has no {names.METADATA}: it was not saved by podsync's companion "
                "plugin; load it into the kind of LocalStack that saved it"
            )
        if self._archive.size(names.METADATA) > METADATA_BYTES:
            raise BrokenArchive(f"{names.METADATA} is longer than {METADATA_BYTES} bytes")
        try:
            metadata = json.loads(self._archive.read(names.METADATA))
        except (ValueError, RecursionError) as e:
            raise BrokenArchive(f"{names.METADATA} is not JSON: {e}") from e
        if not isinstance(metadata, dict):
            raise BrokenArchive(f"{names.METADATA} is not an object")
        return metadata

    def apply(self) -> Iterator[Event]:
        """Loads all services; one that fails doesn't keep the others back.

        Each is read whole before the first is changed: one that can't be read stays as it is, and
        all of them where the state doesn't have what it says.
        """
        changes: list[Change] = []
        unreadable: list[Event] = []
        for name in self.services:
            try:
                changes.append(self._change(name))
            except CutState as e:
                yield from self._refused(name, e)
                return
            except Exception as e:
                LOG.exception("Could not read %s", name)
                unreadable.append(_event(name, [reason(e)]))
        try:
            self._claims.require_queues()
        except CutState as e:
            yield from self._refused("lambda", e)
            return
        yield from unreadable
        if self._strategy is Strategy.OVERWRITE:
            others = set(SERVICE_PLUGINS.list_active_services()) - set(self.services)
            changes += [resetting.change(name) for name in sorted(others)]
        for change in changing.carry_out(changes):
            if change.problems or change.name in self.services:
                event = _event(change.name, change.problems)
                event["waited_ms"] = round(change.waited * 1000)
                yield event

    def plan(self, *, assets_omitted: bool = False) -> dict[str, Any]:
        """What `apply` would change, by resource. Nothing is changed by asking.

        For callers that hold the gate. `assets_omitted`: the caller left bodies and files out.
        """
        changes: list[planning.Change] = []
        failed: list[dict[str, str]] = []
        others = SERVICE_PLUGINS.list_active_services()
        reset = set(others) - set(self.services) if self._strategy is Strategy.OVERWRITE else set()
        for name in sorted({*self.services, *reset}):
            try:
                state = ServiceState(SERVICE_PLUGINS.require(name))
                incoming = [] if name in reset else self._read_scopes(name, state)
                if not assets_omitted:
                    self._claims.bodies(incoming if name == "s3" else [])
                with sqs_queues.still() if name == "sqs" else nullcontext():
                    changes += planning.plan(self._strategy, name, state, incoming).changes()
            except CutState as e:
                return self._refused_plan(name, e)
            except Exception as e:
                LOG.exception("Could not plan to load %s", name)
                failed.append({"service": name, "message": reason(e)})
        try:
            self._claims.require_queues()
        except CutState as e:
            return self._refused_plan("lambda", e)
        return planning.document(changes, failed)

    def _refused_plan(self, service: str, error: CutState) -> dict[str, Any]:
        told = self._refused(service, error)
        return planning.document(
            [], [{"service": it["service"], "message": it["message"]} for it in told]
        )

    def _refused(self, service: str, error: CutState) -> list[Event]:
        """A message for each service, if one of them prevents the whole load."""
        LOG.error("Nothing was loaded: %s", error)
        others = f"nothing of this state is loaded, because of its {service}"
        return [
            _event(name, [reason(error) if name == service else others]) for name in self.services
        ]

    def close(self) -> None:
        for staged in self._staged:
            staged.close()
        self._archive.close()

    def _change(self, name: str) -> Change:
        service = SERVICE_PLUGINS.require(name)
        state = ServiceState(service)
        incoming = self._read_scopes(name, state)
        resets = self._strategy is Strategy.OVERWRITE
        if name == "s3":
            staged = self._stage(provider(service)._storage_backend, incoming)
            return Change(name, service, resets, lambda: self._place_s3(state, incoming, staged))
        return Change(name, service, resets, lambda: self._place(name, state, incoming))

    def _stage(self, storage: S3ObjectStore, incoming: Scopes) -> s3_bodies.Staged:
        buckets = list(s3_bodies.buckets_in(incoming))
        staged = s3_bodies.Staged(storage, self._archive, buckets, self._claims.bodies(incoming))
        self._staged.append(staged)
        return staged

    def _place_s3(
        self, state: ServiceState, incoming: Scopes, staged: s3_bodies.Staged
    ) -> list[str]:
        storage = provider(running("s3"))._storage_backend
        before = [] if self._strategy is Strategy.OVERWRITE else list(s3_bodies.bodies())
        self._place_stores("s3", state, incoming)
        s3_bodies.drop_all_but_present(storage, before)
        staged.take_over()
        return []

    def _place(self, name: str, state: ServiceState, incoming: Scopes) -> list[str]:
        self._place_stores(name, state, incoming)
        self._load_folders(name, state)
        return []

    def _place_stores(self, name: str, state: ServiceState, incoming: Scopes) -> None:
        planned = planning.plan(self._strategy, name, state, incoming)
        if self._strategy is Strategy.OVERWRITE:
            resetting.clear(name)
        planned.placing.carry_out()

    def _read_scopes(self, name: str, state: ServiceState) -> Scopes:
        incoming: Scopes = []
        unplaced = set(self._archive.under(names.service_folder(name)))
        for container in state.containers:
            for member, scope in self._scopes(name, container):
                incoming.append((container, scope, pickling.loads(self._archive.read(member))))
                unplaced.discard(member)
        if unplaced:
            raise IncompatibleState(
                f"this instance has no place for {min(unplaced)}; it runs another provider "
                f"of {name} than the one that saved the state"
            )
        self._claims.require_resources(name, incoming)
        self._claims.require_named(name, incoming)
        return incoming

    def _scopes(self, service: str, container: Container) -> Iterator[tuple[str, Scope]]:
        prefix = names.container_folder(service, container.kind, container.name)
        for member in self._archive.under(prefix):
            yield member, Scope(*names.parse_scope(member.removeprefix(prefix)))

    def _load_folders(self, name: str, state: ServiceState) -> None:
        # Files can't be merged: where the state has some, they take the place of the instance's.
        if any(True for _ in self._archive.under(f"assets/{names.segment(name)}/")):
            asset_folders.clear(state.asset_directories)
            asset_folders.load(name, state.asset_directories, self._archive)


def _event(name: str, problems: list[str]) -> Event:
    message = "; ".join(problems)[:2000]
    return {"service": name, "status": "error" if problems else "ok", "message": message}


def _services(metadata: dict[str, Any]) -> list[str]:
    services = metadata.get("services")
    if not isinstance(services, list) or not all(isinstance(name, str) for name in services):
        raise BrokenArchive(f"{names.METADATA} has no list of services")
    return sorted(set(services))
