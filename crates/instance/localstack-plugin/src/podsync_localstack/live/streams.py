"""Delivery streams of Firehose that read a stream of Kinesis: a program each, and a thread that it
sends records to.

LocalStack starts it when a delivery stream is made, and at no other time.
"""

import functools
import logging
import threading
from typing import Any

from podsync_localstack.live.part import Live

LOG = logging.getLogger(__name__)

_OF_KINESIS = "KinesisStreamAsSource"


class DeliveryStreams(Live):
    calls = ("dynamodb", "kinesis", "opensearch", "s3")
    runs = True

    def stop(self, resets: bool) -> None:
        super().stop(resets)
        _ROUND.end()
        listeners = self.provider.kinesis_listeners
        for arn in list(listeners):
            listeners.pop(arn).stop()

    def start(self) -> list[str]:
        problems = super().start()
        number = _ROUND.begin()
        for account, region, store in self.stores():
            for stream in store.delivery_streams.values():
                if stream["DeliveryStreamType"] == _OF_KINESIS:
                    # It takes a Java program some seconds, for which nobody has to wait.
                    stream["DeliveryStreamStatus"] = "CREATING"
                    threading.Thread(
                        target=self._listen,
                        args=(number, account, region, stream),
                        name=f"podsync-firehose-{stream['DeliveryStreamName']}",
                        daemon=True,
                    ).start()
        return problems

    def _listen(self, number: int, account: str, region: str, stream: Any) -> None:
        from localstack.utils.kinesis import kinesis_connector

        name, arn = stream["DeliveryStreamName"], stream["DeliveryStreamARN"]
        source = stream["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"]
        deliver = functools.partial(self.provider._process_records, account, region, name)
        try:
            listener = kinesis_connector.listen_to_kinesis(
                stream_name=source.split(":stream/")[1],
                account_id=account,
                region_name=region,
                listener_func=deliver,
                wait_until_started=True,
                ddb_lease_table_suffix=f"-firehose-{name}",
            )
        except Exception:
            LOG.exception("Could not listen to %s for the delivery stream %s", source, name)
            stream["DeliveryStreamStatus"] = "CREATING_FAILED"
            return
        if _ROUND.keep(number, self.provider.kinesis_listeners, arn, listener):
            stream["DeliveryStreamStatus"] = "ACTIVE"
        else:
            listener.stop()


class _Round:
    """From one start to the next stop: what was begun in one is not kept in another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0

    def begin(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def end(self) -> None:
        self.begin()

    def keep(self, number: int, listeners: dict[str, Any], arn: str, listener: Any) -> bool:
        with self._lock:
            if number == self._number:
                listeners[arn] = listener
            return number == self._number


_ROUND = _Round()
