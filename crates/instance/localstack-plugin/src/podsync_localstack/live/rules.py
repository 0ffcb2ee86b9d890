"""EventBridge delivers through an object for each bus, rule and target, and by timers."""

from typing import Any

from podsync_localstack.live.part import Live


class Rules(Live):
    runs = True

    def stop(self, resets: bool) -> None:
        super().stop(resets)
        if not hasattr(self.provider, "_rule_services_store"):
            return
        from localstack.services.events.scheduler import JobScheduler

        # A rule knows its last timer only, and was given another one with each call of PutTargets.
        JobScheduler.instance().jobs = []

    def start(self) -> list[str]:
        problems = super().start()
        if hasattr(self.provider, "_rule_services_store"):
            self._forget()
            for account, region, store in self.stores():
                self._renew(account, region, store)
        return problems

    def _forget(self) -> None:
        events = self.provider
        for held in (
            events._event_bus_services_store,
            events._rule_services_store,
            events._target_sender_store,
            events._archive_service_store,
            events._replay_service_store,
            events._connection_service_store,
            events._api_destination_service_store,
        ):
            held.clear()

    def _renew(self, account: str, region: str, store: Any) -> None:
        from localstack.services.events.api_destination import APIDestinationService
        from localstack.services.events.archive import ArchiveService
        from localstack.services.events.connection import ConnectionService
        from localstack.services.events.event_bus import EventBusService
        from localstack.services.events.replay import ReplayService

        events = self.provider
        for bus in store.event_buses.values():
            events._event_bus_services_store[bus.arn] = EventBusService(bus)
            for rule in bus.rules.values():
                self._renew_rule(account, region, rule)
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

    def _renew_rule(self, account: str, region: str, rule: Any) -> None:
        from localstack.services.events.rule import RuleService

        service = RuleService(rule)
        self.provider._rule_services_store[rule.arn] = service
        for target in rule.targets.values():
            self.provider.create_target_sender(target, rule.arn, rule.name, region, account)
        if service.schedule_cron and rule.targets:
            job = self.provider._get_scheduled_rule_job_function(account, region, rule)
            service.create_schedule_job(job)


def _around(cls: Any, **attributes: Any) -> Any:
    instance = cls.__new__(cls)
    vars(instance).update(attributes)
    return instance
