"""Brings a running service back to what it was when it started."""

from localstack.services.plugins import SERVICE_PLUGINS

from podsync_localstack import asset_folders, derived, gate, sqs_queues
from podsync_localstack.containers import ServiceState, provider, running


def reset_all() -> None:
    with gate.closed():
        for name in SERVICE_PLUGINS.list_active_services():
            reset_service(name)


def reset_one(name: str) -> None:
    with gate.closed():
        if SERVICE_PLUGINS.is_running(name):
            reset_service(name)


def reset_service(name: str) -> None:
    """For callers that hold the gate already."""
    service = running(name)
    service.lifecycle_hook.on_before_state_reset()
    state = ServiceState(service)
    if name == "sqs":
        sqs_queues.end_polls()
    for container in state.containers:
        container.reset()
    if name == "s3":
        provider(service)._storage_backend.reset()
    else:
        asset_folders.clear(state.asset_directories)
    derived.renew(name, service)
    service.lifecycle_hook.on_after_state_reset()
