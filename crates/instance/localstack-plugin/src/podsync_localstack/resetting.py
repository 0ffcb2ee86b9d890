"""Brings a running service back to what it was when it started."""

from localstack.services.plugins import SERVICE_PLUGINS, Service

from podsync_localstack import asset_folders, derived, gate
from podsync_localstack.containers import ServiceState


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
    service = SERVICE_PLUGINS.get_service(name)
    service.lifecycle_hook.on_before_state_reset()
    state = ServiceState(service)
    _stop_queues(name)
    for container in state.containers:
        container.reset()
    if name == "s3":
        service._provider._storage_backend.reset()
    else:
        asset_folders.clear(state.asset_directories)
    derived.renew(name, service)
    service.lifecycle_hook.on_after_state_reset()


def _stop_queues(name: str) -> None:
    """Ends long polls: a client that waits on a queue which is gone would wait in vain."""
    if name != "sqs":
        return
    from localstack.services.sqs.models import sqs_stores

    for _, _, store in sqs_stores.iter_stores():
        for queue in store.queues.values():
            queue.shutdown()
