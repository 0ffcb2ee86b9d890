"""Alarms of CloudWatch: a timer each, in a scheduler that LocalStack starts once.

Its own hooks leave the timers of alarms that are gone, and start those of one account again.
"""

from podsync_localstack.live.part import Live


class Alarms(Live):
    runs = True

    def stop(self, resets: bool) -> None:
        scheduler = getattr(self.provider, "alarm_scheduler", None)
        if scheduler is None:
            return super().stop(resets)
        for task in list(scheduler.scheduled_alarms.values()):
            task.cancel()
        scheduler.shutdown()
        return None

    def start(self) -> list[str]:
        if not hasattr(self.provider, "alarm_scheduler"):
            return super().start()
        from localstack.services.cloudwatch.alarm_scheduler import AlarmScheduler
        from localstack.services.cloudwatch.models import LocalStackMetricAlarm

        # A file of its database that was replaced is opened anew, and its tables are there.
        self.provider.cloudwatch_database = type(self.provider.cloudwatch_database)()
        self.provider.alarm_scheduler = scheduler = AlarmScheduler()
        scheduler.start()
        for _, _, store in self.stores():
            for arn, alarm in list(store.alarms.items()):
                if isinstance(alarm, LocalStackMetricAlarm):
                    scheduler.schedule_metric_alarm(arn)
        return []
