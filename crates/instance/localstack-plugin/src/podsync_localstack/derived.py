"""What providers compute from their state and keep beside it.

After a load or reset it belongs to a state that is gone. LocalStack's own hooks renew most of it
(Lambda, CloudWatch); here is what they leave out.
"""

from typing import Any

from localstack.services.plugins import Service


def renew(name: str, service: Service) -> None:
    match name:
        case "s3":
            service._provider._expiration_cache.clear()
        case "events" if hasattr(service._provider, "_rule_services_store"):
            _renew_events(service._provider)


def _renew_events(provider: Any) -> None:
    """EventBridge delivers through objects that exist once for each bus, rule and target."""
    from localstack.services.events.api_destination import APIDestinationService
    from localstack.services.events.archive import ArchiveService
    from localstack.services.events.connection import ConnectionService
    from localstack.services.events.event_bus import EventBusService
    from localstack.services.events.models import events_stores
    from localstack.services.events.replay import ReplayService

    _forget_events(provider)
    for account, region, store in events_stores.iter_stores():
        for bus in store.event_buses.values():
            provider._event_bus_services_store[bus.arn] = EventBusService(bus)
            for rule in bus.rules.values():
                _renew_rule(provider, account, region, rule)
        for archive in store.archives.values():
            created = archive.creation_time
            provider._archive_service_store[archive.arn] = ArchiveService(archive)
            archive.creation_time = created
        # The constructors of these make new resources; only the objects around them are wanted.
        for replay in store.replays.values():
            provider._replay_service_store[replay.arn] = _around(ReplayService, replay=replay)
        for connection in store.connections.values():
            provider._connection_service_store[connection.arn] = _around(
                ConnectionService, connection=connection
            )
        by_arn = {connection.arn: connection for connection in store.connections.values()}
        for destination in store.api_destinations.values():
            provider._api_destination_service_store[destination.arn] = _around(
                APIDestinationService,
                api_destination=destination,
                connection=by_arn.get(destination.connection_arn),
            )


def _forget_events(provider: Any) -> None:
    from localstack.services.events.scheduler import JobScheduler

    for rule_service in provider._rule_services_store.values():
        if job := getattr(rule_service, "job_id", None):
            JobScheduler.instance().cancel_job(job)
    for store in (
        provider._event_bus_services_store,
        provider._rule_services_store,
        provider._target_sender_store,
        provider._archive_service_store,
        provider._replay_service_store,
        provider._connection_service_store,
        provider._api_destination_service_store,
    ):
        store.clear()


def _renew_rule(provider: Any, account: str, region: str, rule: Any) -> None:
    from localstack.services.events.rule import RuleService

    service = RuleService(rule)
    provider._rule_services_store[rule.arn] = service
    for target in rule.targets.values():
        provider.create_target_sender(target, rule.arn, rule.name, region, account)
    if service.schedule_cron and rule.targets:
        job = provider._get_scheduled_rule_job_function(account, region, rule)
        service.create_schedule_job(job)


def _around(cls: type, **attributes: Any) -> Any:
    instance = cls.__new__(cls)
    vars(instance).update(attributes)
    return instance
