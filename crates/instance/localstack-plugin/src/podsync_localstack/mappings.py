"""Event source mappings that poll a queue of SQS, and those whose queue is gone.

A queue may be deleted by right while its mapping stays. So a save says for which mappings that was
so, and a load can tell them from those of a state that lost a queue later.
"""

from typing import Any

from localstack.services.plugins import Service

from podsync_localstack.live import queues
from podsync_localstack.live.part import Live

# Of the store of Lambda.
ATTRIBUTE = "attr_event_source_mappings"


def of_queues(held: dict[str, Any]) -> dict[str, str]:
    """The ARN of the queue, by the id of its mapping."""
    return {
        uuid: mapping["EventSourceArn"]
        for uuid, mapping in held.items()
        if ":sqs:" in mapping.get("EventSourceArn", "") and mapping.get("State") != "Deleting"
    }


def dangling(service: Service) -> list[str]:
    """The ids of mappings of the running Lambda whose queue this instance doesn't have."""
    polled: dict[str, str] = {}
    for _, _, store in Live(service).stores():
        polled |= of_queues(store.event_source_mappings)
    there = {queue.arn for queue in queues.by_arn(polled.values())}
    return sorted(uuid for uuid, arn in polled.items() if arn not in there)
