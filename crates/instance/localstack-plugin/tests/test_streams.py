"""Firehose reads Kinesis by a Java program that isn't here: what starts and stops it is tested."""

import pytest
from localstack.services.firehose.models import firehose_stores
from localstack.services.firehose.provider import FirehoseProvider
from localstack.services.plugins import Service
from localstack.utils.kinesis import kinesis_connector
from stories.story import until

from podsync_localstack.live.streams import DeliveryStreams

ARN = "arn:aws:firehose:us-east-1:000000000000:deliverystream/orders"
SOURCE = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"


class Listener:
    def __init__(self, **told):
        self.told, self.stopped = told, False

    def stop(self):
        self.stopped = True


@pytest.fixture
def stream():
    held = {
        "DeliveryStreamName": "orders",
        "DeliveryStreamARN": ARN,
        "DeliveryStreamType": "KinesisStreamAsSource",
        "DeliveryStreamStatus": "ACTIVE",
        "Source": {"KinesisStreamSourceDescription": {"KinesisStreamARN": SOURCE}},
    }
    streams = firehose_stores["000000000000"]["us-east-1"].delivery_streams
    streams["orders"] = held
    yield held
    streams.clear()


def test_a_stream_is_listened_to_once_however_often_it_is_loaded(stream, monkeypatch):
    made = []

    def listen(**told):
        made.append(Listener(**told))
        return made[-1]

    monkeypatch.setattr(kinesis_connector, "listen_to_kinesis", listen)
    provider = FirehoseProvider()
    part = DeliveryStreams(Service.for_provider(provider))
    for _ in range(2):
        part.stop(resets=False)
        assert part.start() == []
        until(lambda: stream["DeliveryStreamStatus"] == "ACTIVE")
    assert [listener.stopped for listener in made] == [True, False]
    assert provider.kinesis_listeners == {ARN: made[1]}
    assert made[1].told["stream_name"] == "clicks"
    part.stop(resets=True)
    assert made[1].stopped and provider.kinesis_listeners == {}


def test_a_stream_that_cannot_be_listened_to_says_so(stream, monkeypatch):
    def fail(**_):
        raise RuntimeError("no Java here")

    monkeypatch.setattr(kinesis_connector, "listen_to_kinesis", fail)
    part = DeliveryStreams(Service.for_provider(FirehoseProvider()))
    part.start()
    until(lambda: stream["DeliveryStreamStatus"] == "CREATING_FAILED")
