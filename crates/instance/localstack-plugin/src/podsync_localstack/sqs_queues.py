"""The queues of SQS, which change by themselves.

A worker moves delayed and timed out messages to where they can be received, without any request.
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


def _queues() -> Iterator[SqsQueue]:
    for _, _, store in sqs_stores.iter_stores():
        yield from store.queues.values()
