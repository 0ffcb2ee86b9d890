"""What runs beside the stores: threads, pollers, timers, sockets, caches, and work under way.

One class for each service that has some, in a module of its own. `changing` calls them around each
load and reset, `saving` asks them what is under way.
"""

from collections.abc import Iterable

from localstack.services.plugins import Service

from podsync_localstack.live.alarms import Alarms
from podsync_localstack.live.buckets import Buckets
from podsync_localstack.live.domains import Domains
from podsync_localstack.live.executions import Executions
from podsync_localstack.live.functions import Functions
from podsync_localstack.live.networks import Networks
from podsync_localstack.live.part import Live
from podsync_localstack.live.queues import Queues
from podsync_localstack.live.rules import Rules
from podsync_localstack.live.stacks import Stacks
from podsync_localstack.live.streams import DeliveryStreams
from podsync_localstack.live.tables import Tables
from podsync_localstack.live.transcriptions import Transcriptions

OF: dict[str, type[Live]] = {
    "cloudformation": Stacks,
    "cloudwatch": Alarms,
    "dynamodb": Tables,
    "ec2": Networks,
    "events": Rules,
    "firehose": DeliveryStreams,
    "lambda": Functions,
    "opensearch": Domains,
    "s3": Buckets,
    "sqs": Queues,
    "stepfunctions": Executions,
    "transcribe": Transcriptions,
}


def of(name: str, service: Service) -> Live:
    return OF.get(name, Live)(service)


def called_first(names: Iterable[str]) -> list[str]:
    """Each after those that it calls, and otherwise by name."""
    ordered: dict[str, None] = {}
    wanted = set(names)

    def visit(name: str) -> None:
        for called in sorted(OF.get(name, Live).calls):
            visit(called)
        if name in wanted:
            ordered.setdefault(name)

    for name in sorted(wanted):
        visit(name)
    return list(ordered)
