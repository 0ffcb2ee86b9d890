"""A rule with a schedule has one timer, whatever was there before a load."""

import json

import pytest
from stories.story import queue_arn, received


def each_minute(instance, calls):
    """A rule whose targets were put one by one: LocalStack makes a timer in each call."""
    events = instance.client("events")
    events.put_rule(Name="each-minute", ScheduleExpression="rate(1 minute)")
    arn = queue_arn(instance.client("sqs"), "due")
    for number in range(calls):
        events.put_targets(Rule="each-minute", Targets=[{"Id": f"{number}", "Arn": arn}])


@pytest.mark.parametrize("merge", ["overwrite", "account-region-merge", "service-merge"])
def test_a_rule_has_one_timer_after_a_load_whatever_was_there(source, target, merge):
    source.reset()
    target.reset()
    each_minute(source, 1)
    state = source.save("events,sqs")
    each_minute(target, 3)
    assert target.pass_a_minute() == 3
    for _ in range(2):
        target.load(state, merge)
        target.client("sqs").purge_queue(
            QueueUrl=target.client("sqs").get_queue_url(QueueName="due")["QueueUrl"]
        )
        assert target.pass_a_minute() == 1
        assert json.loads(received(target.client("sqs"), "due"))["source"] == "aws.events"
    target.reset()
    assert target.pass_a_minute() == 0
