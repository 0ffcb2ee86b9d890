"""Runs of Step Functions: a thread each, that waits, calls, and moves on from state to state."""

import datetime
from collections.abc import Iterator
from typing import Any

from podsync_localstack.live.part import CAUSE
from podsync_localstack.live.work import Work

ERROR = "podsync.Loaded"


class Executions(Work):
    calls = ("lambda", "events", "sqs", "sns", "dynamodb", "s3", "logs")

    def working(self) -> Iterator[tuple[str, Any]]:
        for _, _, store in self.stores():
            for execution in list(store.executions.values()):
                if execution.exec_status == "RUNNING":
                    yield "execution", execution

    def end(self, item: Any) -> None:
        from localstack.aws.api.stepfunctions import (
            ExecutionAbortedEventDetails,
            ExecutionStatus,
            HistoryEventType,
        )
        from localstack.services.stepfunctions.asl.eval.event.event_detail import EventDetails

        item.exec_status = ExecutionStatus.ABORTED
        item.stop_date = datetime.datetime.now(tz=datetime.UTC)
        item.error, item.cause = ERROR, CAUSE
        environment = getattr(item.exec_worker, "env", None)
        if environment is None:
            return
        environment.set_stop(stop_date=item.stop_date, error=ERROR, cause=CAUSE)
        details = ExecutionAbortedEventDetails(error=ERROR, cause=CAUSE)
        environment.event_manager.add_event(
            context=environment.event_history_context,
            event_type=HistoryEventType.ExecutionAborted,
            event_details=EventDetails(executionAbortedEventDetails=details),
        )
        self._end_map_runs(environment)
        self._refuse_tokens(environment)

    def leave(self, item: Any) -> None:
        """Its thread looks at this between two states, and wherever it waits."""
        environment = getattr(item.exec_worker, "env", None)
        if environment is not None:
            now = datetime.datetime.now(tz=datetime.UTC)
            environment.set_stop(stop_date=now, error=ERROR, cause=CAUSE)
            for endpoint in list(environment.callback_pool_manager._pool.values()):
                if hasattr(endpoint, "notify_activity_task_start"):
                    endpoint.notify_activity_task_start(None)
                endpoint.interrupt_all()

    def _end_map_runs(self, environment: Any) -> None:
        from localstack.aws.api.stepfunctions import MapRunStatus

        for record in environment.map_run_record_pool_manager.get_all():
            if record.status == "RUNNING":
                record.set_stop(MapRunStatus.ABORTED)

    def _refuse_tokens(self, environment: Any) -> None:
        """Reports to holders of the run's tokens that nobody waits, and removes its queued tasks."""
        from localstack.services.stepfunctions.asl.eval.callback.callback import (
            CallbackConsumerLeft,
        )

        tokens = environment.callback_pool_manager._pool
        for endpoint in tokens.values():
            endpoint.report(CallbackConsumerLeft())
        for activity in environment.activity_store.values():
            for task in [task for task in activity._tasks if task.task_token in tokens]:
                activity._tasks.remove(task)
