"""Brings running services back to what they were when they started."""

from localstack.services.plugins import SERVICE_PLUGINS

from podsync_localstack import asset_folders
from podsync_localstack.changing import Change, carry_out
from podsync_localstack.containers import ServiceState, provider, running


def reset_all() -> list[str]:
    return reset(SERVICE_PLUGINS.list_active_services())


def reset(names: list[str]) -> list[str]:
    """Returns messages about failures."""
    changes = [change(name) for name in names if SERVICE_PLUGINS.is_running(name)]
    return [f"{done.name}: {problem}" for done in carry_out(changes) for problem in done.problems]


def change(name: str) -> Change:
    return Change(name, running(name), True, lambda: clear(name))


def clear(name: str) -> list[str]:
    """The caller must block clients. Runs between the steps of `live`."""
    service = running(name)
    state = ServiceState(service)
    for container in state.containers:
        container.reset()
    if name == "s3":
        provider(service)._storage_backend.reset()
    else:
        asset_folders.clear(state.asset_directories)
    return []
