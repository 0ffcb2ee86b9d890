"""What providers compute from their state and keep beside it.

After a load or reset it belongs to a state that is gone. LocalStack's own hooks renew most of it
(Lambda, CloudWatch); here is what they leave out.
"""

from typing import Any

from localstack.services.plugins import Service

from podsync_localstack.containers import provider


def renew(name: str, service: Service) -> None:
    match name:
        case "s3":
            provider(service)._expiration_cache.clear()
        case "events" if hasattr(provider(service), "_rule_services_store"):
            _renew_events(provider(service))


def _renew_events(events: Any) -> None:
    """EventBridge delivers through objects that exist once for each bus, rule and target."""
    from localstack.services.events.api_destination import APIDestinationService
    from localstack.services.events.archive import ArchiveService
    from localstack.services.events.connection import ConnectionService
    from localstack.services.events.event_bus import EventBusService
    from localstack.services.events.models import events_stores
    from localstack.services.events.replay import ReplayService

    _forget_events(events)
    for account, region, store in events_stores.iter_stores():
        for bus in store.event_buses.values():
            events._event_bus_services_store[bus.arn] = EventBusService(bus)
            for rule in bus.rules.values():
                _renew_rule(events, account, region, rule)
        for archive in store.archives.values():
            created = archive.creation_time
            events._archive_service_store[archive.arn] = ArchiveService(archive)
            archive.creation_time = created
        # The constructors of these make new resources; only the objects around them are wanted.
        for replay in store.replays.values():
            events._replay_service_store[replay.arn] = _around(ReplayService, replay=replay)
        for connection in store.connections.values():
            events._connection_service_store[connection.arn] = _around(
                ConnectionService, connection=connection
            )
        by_arn = {connection.arn: connection for connection in store.connections.values()}
        for destination in store.api_destinations.values():
            events._api_destination_service_store[destination.arn] = _around(
                APIDestinationService,
                api_destination=destination,
                connection=by_arn.get(destination.connection_arn),
            )


def _forget_events(events: Any) -> None:
    from localstack.services.events.scheduler import JobScheduler

    scheduler: Any = JobScheduler
    scheduler = scheduler.instance()
    for rule_service in events._rule_services_store.values():
        if job := getattr(rule_service, "job_id", None):
            scheduler.cancel_job(job)
    for store in (
        events._event_bus_services_store,
        events._rule_services_store,
        events._target_sender_store,
        events._archive_service_store,
        events._replay_service_store,
        events._connection_service_store,
        events._api_destination_service_store,
    ):
        store.clear()


def _renew_rule(events: Any, account: str, region: str, rule: Any) -> None:
    from localstack.services.events.rule import RuleService

    service = RuleService(rule)
    events._rule_services_store[rule.arn] = service
    for target in rule.targets.values():
        events.create_target_sender(target, rule.arn, rule.name, region, account)
    if service.schedule_cron and rule.targets:
        job = events._get_scheduled_rule_job_function(account, region, rule)
        service.create_schedule_job(job)


def _around(cls: Any, **attributes: Any) -> Any:
    instance = cls.__new__(cls)
    vars(instance).update(attributes)
    return instance
