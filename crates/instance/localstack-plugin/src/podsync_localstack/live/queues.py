"""Queues of SQS: consumers that wait for messages, and tasks that move them to another queue."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from localstack.services.plugins import Service

from podsync_localstack.live.part import CAUSE
from podsync_localstack.live.work import Work, ended

_UNDER_WAY = frozenset({"CREATED", "RUNNING", "CANCELLING"})


class Queues(Work):
    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._before: list[tuple[Any, Any]] = []
        self._tasks: list[Any] = []

    def working(self) -> Iterator[tuple[str, Any]]:
        for _, _, store in self.stores():
            for task in list(store.move_tasks.values()):
                if task.status in _UNDER_WAY:
                    yield "message-move-task", task

    def stop(self, resets: bool) -> None:
        super().stop(resets)
        self._before = list(_all())
        # A task looks its queues up by name, and would go on with what comes in their place.
        self._tasks = [task for task in self._own.values() if task.status != "CREATED"]
        for task in self._tasks:
            task.cancel_event.set()
        if not ended(lambda: all(task.status not in _UNDER_WAY for task in self._tasks)):
            raise TimeoutError("a task that moves messages doesn't end")

    def settle(self) -> None:
        super().settle()
        self._keep_those_of_the_instance()
        present = {id(queue) for _, queue in _all()}
        for _, queue in self._before:
            if id(queue) not in present:
                # Consumers that wait on it would never get a message.
                queue.shutdown()

    def end(self, item: Any) -> None:
        item.status = "CANCELLED" if item.status == "CANCELLING" else "FAILED"
        item.failure_reason = CAUSE
        item.cancel_event.set()

    def start(self) -> list[str]:
        problems = super().start()
        there = {id(task) for _, _, store in self.stores() for task in store.move_tasks.values()}
        for task in self._tasks:
            if task.status == "CANCELLED" and id(task) in there:
                moved = task.approximate_number_of_messages_moved
                self.provider._message_move_task_manager.submit(task)
                task.approximate_number_of_messages_moved += moved
        return problems

    def _keep_those_of_the_instance(self) -> None:
        """Lambda's own queues are of the functions that run here, and of no other instance's."""
        own = [(store, queue) for store, queue in self._before if _is_of_the_instance(queue)]
        for store, queue in list(_all()):
            if _is_of_the_instance(queue) and not any(queue is kept for _, kept in own):
                del store.queues[queue.name]
        for store, queue in own:
            store.queues[queue.name] = queue


def of_the_instance() -> list[Any]:
    """Those that LocalStack made for itself, to call functions asynchronously."""
    return [queue for _, queue in _all() if _is_of_the_instance(queue)]


def by_arn(arns: Iterable[str | None]) -> list[Any]:
    wanted = set(arns)
    return [queue for _, queue in _all() if queue.arn in wanted]


@contextmanager
def interrupted(queues: list[Any]) -> Iterator[None]:
    """Ends the waits for messages of these queues, without a message."""
    for queue in queues:
        queue.shutdown()
    try:
        yield
    finally:
        for queue in queues:
            for waited_on in ("visible", "message_group_queue"):
                if hasattr(queue, waited_on):
                    getattr(queue, waited_on).is_shutdown = False


def _is_of_the_instance(queue: Any) -> bool:
    from localstack import config

    return bool(queue.account_id == config.INTERNAL_RESOURCE_ACCOUNT)


def _all() -> Iterator[tuple[Any, Any]]:
    from localstack.services.sqs.models import sqs_stores

    for _, _, store in sqs_stores.iter_stores():
        for queue in list(store.queues.values()):
            yield store, queue
