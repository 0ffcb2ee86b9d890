"""Functions of Lambda and their event source mappings, for each of which a thread polls its source.

LocalStack's own hook makes the pollers while it loads, and gives up on all of them at the first
whose source isn't there. Here one that can't be made yet is tried again whenever it would poll.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from localstack.services.plugins import Service

from podsync_localstack.live import queues
from podsync_localstack.live.part import Live
from podsync_localstack.report import reason

# A poller ends after its current poll, which the queue's shutdown ends.
JOIN_SECONDS = 5.0

_OFF = frozenset({"Disabled", "Disabling"})


class Functions(Live):
    calls = ("dynamodb", "dynamodbstreams", "iam", "kinesis", "logs", "s3", "sns", "sqs", "sts")
    runs = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._ghosts: list[str] = []

    def stop(self, resets: bool) -> None:
        workers = list(self.provider.esm_workers.values())
        self.provider.esm_workers = {}
        with queues.interrupted(self._polled(workers)):
            for worker in workers:
                worker.stop_for_shutdown()
            super().stop(resets)
            for worker in workers:
                if worker._poller_thread is not None:
                    worker._poller_thread.join(JOIN_SECONDS)
        self._ghosts = [
            f"event source mapping {worker.uuid} was still at work and ends with that"
            for worker in workers
            if worker._poller_thread is not None and worker._poller_thread.is_alive()
        ]

    def start(self) -> list[str]:
        with self._without_mappings():
            super().start()
        problems = self._ghosts
        for _, _, store in self.stores():
            for uuid, mapping in list(store.event_source_mappings.items()):
                if mapping.get("State") == "Deleting":
                    del store.event_source_mappings[uuid]
                elif problem := self._poll(store, mapping):
                    problems.append(problem)
        return problems

    def under_way(self) -> Counter[str]:
        waiting = sum(
            queue.approximate_number_of_messages + queue.approximate_number_of_messages_not_visible
            for queue in queues.of_the_instance()
        )
        return Counter({"asynchronous-invocation": waiting} if waiting else {})

    def _poll(self, store: Any, mapping: Any) -> str | None:
        """Starts the poller of a mapping, and says why it doesn't find what it polls or calls."""
        source = _Source(lambda: _poller(mapping))
        worker = _worker(store, mapping, source)
        problem = None
        if worker.enabled:
            try:
                source.find()
            except Exception as e:
                ends = f"{mapping.get('EventSourceArn')} to {mapping.get('FunctionArn')}"
                problem = (
                    f"the event source mapping {worker.uuid} from {ends} is loaded, and waits "
                    f"for what it needs: {reason(e)}"
                )
        worker.create()
        self.provider.esm_workers[worker.uuid] = worker
        return problem

    @contextmanager
    def _without_mappings(self) -> Iterator[None]:
        held = []
        for _, _, store in self.stores():
            held.append((store.event_source_mappings, dict(store.event_source_mappings)))
            store.event_source_mappings.clear()
        try:
            yield
        finally:
            for live, mappings in held:
                live.update(mappings)

    def _polled(self, workers: list[Any]) -> list[Any]:
        sources = [worker.esm_config.get("EventSourceArn") for worker in workers]
        return [*queues.of_the_instance(), *queues.by_arn(sources)]


class _Source:
    """Stands in for a poller, and makes the real one as soon as possible."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._found: Any = None

    def find(self) -> Any:
        if self._found is None:
            self._found = self._make()
        return self._found

    def poll_events(self) -> None:
        self.find().poll_events()

    def close(self) -> None:
        if self._found is not None:
            self._found.close()


def _poller(mapping: Any) -> Any:
    from localstack.services.lambda_.event_source_mapping.esm_worker_factory import (
        EsmWorkerFactory,
    )
    from localstack.services.lambda_.event_source_mapping.pollers import sqs_poller
    from localstack.services.lambda_.provider_utils import get_function_version_from_arn

    # It remembers queues that are gone.
    sqs_poller.get_queue_url.cache_clear()
    version = get_function_version_from_arn(mapping["FunctionArn"])
    return EsmWorkerFactory(dict(mapping), version.config.role, True).get_esm_worker().poller


def _worker(store: Any, mapping: Any, source: _Source) -> Any:
    """Not by its constructor, which fails where the function isn't there."""
    from localstack.services.lambda_.event_source_mapping.esm_worker import (
        EsmState,
        EsmStateReason,
        EsmWorker,
    )

    of_sqs = ":sqs:" in mapping.get("EventSourceArn", "")
    why = EsmStateReason.USER_INITIATED if of_sqs else EsmStateReason.USER_ACTION
    worker: Any = EsmWorker.__new__(EsmWorker)
    worker.esm_config = dict(mapping)
    worker.enabled = mapping.get("State") not in _OFF
    worker.current_state = EsmState.CREATING
    worker.user_state_reason = worker.state_transition_reason = why
    worker.poller = source
    worker._state = store
    worker._state_lock = threading.RLock()
    worker._shutdown_event = threading.Event()
    worker._poller_thread = None
    worker._graceful_shutdown_triggered = False
    return worker
