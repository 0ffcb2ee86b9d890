"""Buses, queues, topics, streams, runs, alarms and mail."""

import json
import random
from typing import Any

from stories.story import until

from worlds.world import ROLE, Client, few, of, some, word


@of("cloudwatch")
def cloudwatch(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            MetricName=word(chance),
            Namespace="n",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
            Statistic="Sum",
            ActionsEnabled=False,
            Tags=[{"Key": "team", "Value": word(chance)}],
        )
    for name in few(chance):
        client("cloudwatch").put_dashboard(
            DashboardName=name, DashboardBody=json.dumps({"widgets": []})
        )


@of("events")
def events(chance: random.Random, client: Client) -> None:
    for bus in ["default", *some(chance)]:
        if bus != "default":
            client("events").create_event_bus(Name=bus)
        for name in some(chance):
            client("events").put_rule(
                Name=name,
                EventBusName=bus,
                EventPattern=json.dumps({"source": [word(chance)]}),
                Tags=[{"Key": "team", "Value": word(chance)}],
            )
    for name in few(chance):
        events = client("events")
        region = events.meta.region_name
        bus = events.describe_event_bus(Name="default")["Arn"]
        events.create_archive(ArchiveName=name, EventSourceArn=bus, Description=word(chance))
        events.put_rule(Name=f"timer-{name}", ScheduleExpression="rate(1 day)")
        events.put_targets(
            Rule=f"timer-{name}",
            Targets=[{"Id": word(chance), "Arn": f"arn:aws:sqs:{region}:000000000000:{name}"}],
        )
        connection = events.create_connection(
            Name=name,
            AuthorizationType="BASIC",
            AuthParameters={"BasicAuthParameters": {"Username": "u", "Password": "p"}},
        )["ConnectionArn"]
        events.create_api_destination(
            Name=name,
            ConnectionArn=connection,
            InvocationEndpoint="https://example.com/",
            HttpMethod="POST",
        )


@of("firehose")
def firehose(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("firehose").create_delivery_stream(
            DeliveryStreamName=name,
            S3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/r",
                "BucketARN": f"arn:aws:s3:::{word(chance)}",
            },
        )


@of("kinesis")
def kinesis(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("kinesis").create_stream(StreamName=name, ShardCount=chance.choice([1, 2]))


@of("scheduler")
def scheduler(chance: random.Random, client: Client) -> None:
    for group in ["default", *some(chance)]:
        if group != "default":
            client("scheduler").create_schedule_group(Name=group)
        for name in some(chance):
            client("scheduler").create_schedule(
                Name=name,
                GroupName=group,
                ScheduleExpression="rate(1 day)",
                Description=word(chance),
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={
                    "Arn": "arn:aws:sqs:us-east-1:000000000000:q",
                    "RoleArn": "arn:aws:iam::000000000000:role/r",
                },
            )


@of("ses")
def ses(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("ses").verify_email_identity(EmailAddress=f"{name}@example.com")
        client("ses").create_template(
            Template={"TemplateName": name, "SubjectPart": word(chance), "TextPart": "t"}
        )
    for name in few(chance):
        client("ses").verify_email_identity(EmailAddress="from@example.com")
        client("ses").send_email(
            Source="from@example.com",
            Destination={"ToAddresses": [f"{name}@example.com"]},
            Message={"Subject": {"Data": "s"}, "Body": {"Text": {"Data": word(chance)}}},
        )


@of("sns")
def sns(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        topic = client("sns").create_topic(
            Name=name, Tags=[{"Key": "team", "Value": word(chance)}]
        )["TopicArn"]
        for queue in some(chance):
            arn = f"arn:aws:sqs:{topic.split(':')[3]}:{topic.split(':')[4]}:{queue}"
            client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)


@of("sqs")
def sqs(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        url = client("sqs").create_queue(
            QueueName=name,
            Attributes={"DelaySeconds": str(chance.choice([0, 3]))},
            tags={"team": word(chance)},
        )["QueueUrl"]
        client("sqs").send_message(QueueUrl=url, MessageBody=word(chance), DelaySeconds=900)


MACHINE = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})


@of("stepfunctions")
def stepfunctions(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("stepfunctions").create_state_machine(
            name=name,
            definition=json.dumps(json.loads(MACHINE) | {"Comment": word(chance)}),
            roleArn="arn:aws:iam::000000000000:role/r",
            publish=chance.random() < 0.5,
        )
    for name in some(chance):
        client("stepfunctions").create_activity(name=name)
    for name in few(chance):
        machine = client("stepfunctions").create_state_machine(
            name=f"runs-{name}", definition=MACHINE, roleArn=ROLE
        )["stateMachineArn"]
        run = client("stepfunctions").start_execution(stateMachineArn=machine, name=word(chance))
        until(lambda: is_over(client("stepfunctions"), run["executionArn"]))  # noqa: B023


def is_over(sfn: Any, run: str) -> bool:
    return sfn.describe_execution(executionArn=run)["status"] != "RUNNING"


@of("swf")
def swf(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("swf").register_domain(name=name, workflowExecutionRetentionPeriodInDays="1")
