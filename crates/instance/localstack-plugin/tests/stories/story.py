"""What a story is, and what several of them need."""

import time
from collections.abc import Callable
from typing import Any

Client = Callable[..., Any]
STORIES: dict[str, type["Story"]] = {}


class Story:
    services: tuple[str, ...]
    # Whether it can be told of several accounts and regions at once.
    everywhere = True
    # For the first of the services, in words: the table in docs/localstack.md.
    survives = ""
    ends = ""
    refused = ""
    # What LocalStack may make anew when it loads; all else is saved again as the same bytes.
    renewed: frozenset[str] = frozenset()

    def __init_subclass__(cls) -> None:
        STORIES[cls.__name__.lower()] = cls

    def fill(self, client: Client) -> None:
        raise NotImplementedError

    def look(self, client: Client) -> Any:
        raise NotImplementedError

    def work(self, client: Client) -> None:
        """In the instance that was loaded."""


def until[T](found: Callable[[], T | None], seconds: float = 20) -> T:
    """What is true at last."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError("it didn't happen in time")


def bare(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def received(sqs: Any, name: str, seconds: float = 15) -> str:
    """The body of the next message of a queue."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return message["Body"]
    raise AssertionError(f"nothing arrived in {name}")


def queue_arn(sqs: Any, name: str) -> str:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
