"""Writes the state of the running services to an archive."""

import json
import logging
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, BinaryIO

from localstack.services.plugins import SERVICE_PLUGINS, Service

from podsync_localstack import (
    asset_folders,
    environment,
    gate,
    index,
    interpreter,
    live,
    mappings,
    names,
    outside,
    pickling,
    s3_bodies,
    sqs_queues,
)
from podsync_localstack.archive import ArchiveWriter
from podsync_localstack.containers import Container, Scope, ServiceState, provider, running
from podsync_localstack.report import Failure, SaveReport, UnderWay, reason

LOG = logging.getLogger(__name__)

# Background threads of a service may change what is being read; the next try mostly succeeds.
ATTEMPTS = 3


def save(wanted: Collection[str], target: BinaryIO) -> SaveReport:
    """Saves `wanted` services, or all that run if it is empty, as they are at one moment."""
    report = SaveReport()
    archive = ArchiveWriter(target)
    with gate.closed() as quiesced, interpreter.uncollected():
        report.quiesced = quiesced
        states: list[tuple[str, Service, ServiceState]] = []
        resources: list[index.Resource] = []
        # The slash keeps this the order of the member names: `a-b/` comes before `a/`.
        for name in sorted(SERVICE_PLUGINS.list_active_services(), key=lambda name: name + "/"):
            if wanted and name not in wanted:
                continue
            try:
                service = running(name)
                service.lifecycle_hook.on_before_state_save()
                state = ServiceState(service)
                with sqs_queues.still() if name == "sqs" else nullcontext():
                    resources += _save_containers(name, state, archive, report)
                states.append((name, service, state))
                report.under_way += [
                    UnderWay(name, kind, count)
                    for kind, count in sorted(live.of(name, service).under_way().items())
                ]
                if name == "lambda":
                    report.dangling_mappings = mappings.dangling(service)
                if missing := outside.not_saved(name, service):
                    report.failed.append(Failure(name, missing))
            except Exception as e:
                LOG.exception("Could not save %s", name)
                report.failed.append(Failure(name, reason(e)))
        for name, service, state in states:
            try:
                _save_assets(name, service, state, archive, report)
                service.lifecycle_hook.on_after_state_save()
                report.services.append(name)
            except Exception as e:
                LOG.exception("Could not save the assets of %s", name)
                report.failed.append(Failure(name, reason(e)))
    archive.add(names.INDEX, _json(index.document(resources)))
    archive.add(names.METADATA, _json(_metadata(report)))
    archive.close()
    return report


def running_index(wanted: Collection[str]) -> dict[str, Any]:
    """The index that a save would write now. A service that can't be read is left out of it."""
    resources: list[index.Resource] = []
    with gate.closed():
        for name in sorted(SERVICE_PLUGINS.list_active_services()):
            if wanted and name not in wanted:
                continue
            try:
                state = ServiceState(running(name))
                with sqs_queues.still() if name == "sqs" else nullcontext():
                    for container in state.containers:
                        for scope in container.scopes():
                            resources += index.resources(name, scope, container.read(scope))
            except Exception:
                LOG.exception("Could not look into %s", name)
    return index.document(resources)


def _save_containers(
    service: str, state: ServiceState, archive: ArchiveWriter, report: SaveReport
) -> list[index.Resource]:
    resources: list[index.Resource] = []
    pending: list[tuple[str, Container, Scope]] = []
    for container in state.containers:
        for scope in container.scopes():
            member = names.state(service, container.kind, container.name, *scope)
            pending.append((member, container, scope))
    for member, container, scope in sorted(pending, key=lambda entry: entry[0]):
        data, failed = _pickle_scope(service, container, scope)
        report.failed += failed
        if data is not None:
            archive.add(member, data)
            resources += index.resources(service, scope, container.read(scope))
    return resources


def _pickle_scope(
    service: str, container: Container, scope: Scope
) -> tuple[bytes | None, list[Failure]]:
    """The pickle of a scope, None if there is nothing in it, and what had to be left out."""
    error: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            attributes = container.read(scope)
            return (pickling.dumps(attributes) if attributes else None), []
        except Exception as e:
            error = e
    LOG.warning("Saving %s %s in parts, because of: %r", service, scope, error)
    kept, failed = _what_pickles(service, scope, container.read(scope))
    return pickling.dumps(kept), failed


def _what_pickles(
    service: str, scope: Scope, attributes: dict[str, Any]
) -> tuple[dict[str, Any], list[Failure]]:
    kept: dict[str, Any] = {}
    failed: list[Failure] = []

    def keep(target: dict[Any, Any], name: Any, value: Any, label: str) -> bool:
        try:
            pickling.dumps(value)
        except Exception as e:
            failed.append(Failure(service, reason(e), scope.account, scope.region, label))
            return False
        target[name] = value
        return True

    for name, value in attributes.items():
        label = name.removeprefix("attr_")
        if type(value) is not dict:
            keep(kept, name, value, label)
            continue
        part: dict[Any, Any] = {}
        for key, item in list(value.items()):
            keep(part, key, item, f"{label}/{key}")
        kept[name] = part
    return kept, failed


def _save_assets(
    name: str, service: Service, state: ServiceState, archive: ArchiveWriter, report: SaveReport
) -> None:
    if name == "s3":
        report.failed += s3_bodies.save(provider(service)._storage_backend, archive)
    else:
        asset_folders.save(name, state.asset_directories, archive)


def _metadata(report: SaveReport) -> dict[str, Any]:
    return {
        **environment.describe(),
        "services": sorted(report.services),
        "failed": [failure.as_json() for failure in report.failed],
        "under_way": [asdict(work) for work in report.under_way],
        "dangling_mappings": report.dangling_mappings,
    }


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True).encode() + b"\n"
