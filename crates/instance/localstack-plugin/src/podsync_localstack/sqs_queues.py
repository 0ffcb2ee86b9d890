"""The queues of SQS, which change by themselves and are waited on.

A worker moves delayed and timed out messages to where they can be received, without any request;
long polls wait for what it moves.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from localstack.services.sqs.models import SqsQueue, sqs_stores


@contextmanager
def still() -> Iterator[None]:
    """Nothing is moved within a queue while this lasts."""
    with ExitStack() as stack:
        for queue in list(_queues()):
            stack.enter_context(queue.mutex)
        yield


def end_polls() -> None:
    """For queues that are about to go: who waits on one of them would wait in vain."""
    for queue in list(_queues()):
        queue.shutdown()


def _queues() -> Iterator[SqsQueue]:
    for _, _, store in sqs_stores.iter_stores():
        yield from store.queues.values()
