"""Queues, topics, streams, rules and schedules."""

import json

from stories.story import Story, bare, queue_arn, received


class Sqs(Story):
    services = ("sqs",)
    survives = "queues and messages, delayed and in flight; receipt handles stay good; FIFO windows"
    ends = "tasks that move messages: FAILED; consumers that wait are answered at once"

    def fill(self, client):
        sqs = client("sqs")
        url = sqs.create_queue(QueueName="mixed")["QueueUrl"]
        self.sent = [
            sqs.send_message(QueueUrl=url, MessageBody=f"m{n}")["MessageId"] for n in range(5)
        ]
        self.in_flight = sqs.receive_message(QueueUrl=url, VisibilityTimeout=7200)["Messages"][0][
            "ReceiptHandle"
        ]
        delayed = sqs.create_queue(QueueName="delayed")["QueueUrl"]
        self.delayed_id = sqs.send_message(QueueUrl=delayed, MessageBody="later", DelaySeconds=4)[
            "MessageId"
        ]
        held = sqs.create_queue(QueueName="held")["QueueUrl"]
        sqs.send_message(QueueUrl=held, MessageBody="much later", DelaySeconds=900)
        fifo = sqs.create_queue(QueueName="order.fifo", Attributes={"FifoQueue": "true"})[
            "QueueUrl"
        ]
        for number in range(3):
            sqs.send_message(
                QueueUrl=fifo,
                MessageBody=f"f{number}",
                MessageGroupId="g",
                MessageDeduplicationId=str(number),
            )

    def look(self, client):
        sqs = client("sqs")
        shown = {}
        for name in ("mixed", "held", "order.fifo"):
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            shown[name] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
                "Attributes"
            ]
        assert shown["mixed"]["ApproximateNumberOfMessagesNotVisible"] == "1"
        assert shown["held"]["ApproximateNumberOfMessagesDelayed"] == "1"
        return shown

    def work(self, client):
        sqs = client("sqs")
        held = sqs.get_queue_url(QueueName="held")["QueueUrl"]
        assert not sqs.receive_message(QueueUrl=held).get("Messages"), "it is delayed still"
        url = sqs.get_queue_url(QueueName="delayed")["QueueUrl"]
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
        assert [message["MessageId"] for message in found] == [self.delayed_id]
        mixed = sqs.get_queue_url(QueueName="mixed")["QueueUrl"]
        sqs.change_message_visibility(
            QueueUrl=mixed, ReceiptHandle=self.in_flight, VisibilityTimeout=0
        )
        assert {received(sqs, "mixed") for _ in range(5)} == {f"m{n}" for n in range(5)}
        fifo = sqs.get_queue_url(QueueName="order.fifo")["QueueUrl"]
        found = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10)["Messages"]
        assert [message["Body"] for message in found] == ["f0", "f1", "f2"]


class Sns(Story):
    services = ("sns", "sqs")
    survives = "topics, subscriptions, filters; they deliver"

    def fill(self, client):
        topic = client("sns").create_topic(Name="orders", Tags=[{"Key": "team", "Value": "a"}])[
            "TopicArn"
        ]
        client("sns").subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=queue_arn(client("sqs"), "of-topic"),
            Attributes={"FilterPolicy": json.dumps({"kind": ["order"]})},
        )

    def look(self, client):
        sns = client("sns")
        return [sns.list_topics()["Topics"], sns.list_subscriptions()["Subscriptions"]]

    def work(self, client):
        arns = [topic["TopicArn"] for topic in client("sns").list_topics()["Topics"]]
        topic = next(arn for arn in arns if arn.endswith(":orders"))
        for kind in ("noise", "order"):
            client("sns").publish(
                TopicArn=topic,
                Message=kind,
                MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}},
            )
        assert json.loads(received(client("sqs"), "of-topic"))["Message"] == "order"


class Events(Story):
    services = ("events", "sqs")
    survives = "buses, rules, targets, archives, connections; they deliver and fire"

    def fill(self, client):
        events = client("events")
        events.create_event_bus(Name="shop")
        pattern = json.dumps({"source": ["shop"]})
        events.put_rule(Name="all", EventBusName="shop", EventPattern=pattern)
        arn = queue_arn(client("sqs"), "of-rule")
        events.put_targets(Rule="all", EventBusName="shop", Targets=[{"Id": "q", "Arn": arn}])
        events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")

    def look(self, client):
        events = client("events")
        return [
            events.list_event_buses()["EventBuses"],
            events.list_rules(EventBusName="shop")["Rules"],
            events.list_rules()["Rules"],
            events.list_targets_by_rule(Rule="all", EventBusName="shop")["Targets"],
        ]

    def work(self, client):
        events = client("events")
        entry = {
            "Source": "shop",
            "DetailType": "order",
            "Detail": '{"n": 1}',
            "EventBusName": "shop",
        }
        assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
        assert json.loads(received(client("sqs"), "of-rule"))["detail"] == {"n": 1}
        events.put_targets(
            Rule="hourly", Targets=[{"Id": "q", "Arn": queue_arn(client("sqs"), "of-rule")}]
        )
        events.remove_targets(Rule="all", EventBusName="shop", Ids=["q"])
        events.delete_rule(Name="all", EventBusName="shop")


class Scheduler(Story):
    services = ("scheduler",)
    survives = "schedules and groups"
    refused = "LocalStack fires none, loaded or not"

    def fill(self, client):
        client("scheduler").create_schedule(
            Name="nightly",
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": "arn:aws:sqs:us-east-1:000000000000:q",
                "RoleArn": "arn:aws:iam::000000000000:role/r",
            },
        )

    def look(self, client):
        return bare(client("scheduler").get_schedule(Name="nightly"))

    def work(self, client):
        scheduler = client("scheduler")
        kept = {
            name: self.look(client)[name]
            for name in ("Name", "FlexibleTimeWindow", "Target", "ScheduleExpression")
        }
        scheduler.update_schedule(**kept | {"ScheduleExpression": "rate(2 days)"})
        assert self.look(client)["ScheduleExpression"] == "rate(2 days)"
        scheduler.delete_schedule(Name="nightly")


class Kinesis(Story):
    services = ("kinesis",)
    survives = "on moto: streams, records, consumers"
    refused = "LocalStack's own: records lie in kinesis-mock, and each save says so"

    def fill(self, client):
        kinesis = client("kinesis")
        kinesis.create_stream(StreamName="orders", ShardCount=2)
        kinesis.add_tags_to_stream(StreamName="orders", Tags={"team": "a"})
        for number in range(6):
            kinesis.put_record(
                StreamName="orders", Data=bytes([number, 255]), PartitionKey=str(number)
            )
        arn = kinesis.describe_stream(StreamName="orders")["StreamDescription"]["StreamARN"]
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="worker")

    def look(self, client):
        kinesis = client("kinesis")
        described = kinesis.describe_stream(StreamName="orders")["StreamDescription"]
        records = []
        for shard in described["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName="orders", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            records.append(kinesis.get_records(ShardIterator=iterator)["Records"])
        assert sum(map(len, records)) == 6
        return [
            described,
            records,
            kinesis.list_tags_for_stream(StreamName="orders")["Tags"],
            kinesis.list_stream_consumers(StreamARN=described["StreamARN"])["Consumers"],
        ]

    def work(self, client):
        put = client("kinesis").put_record(StreamName="orders", Data=b"new", PartitionKey="1")
        assert put["SequenceNumber"]


class Ses(Story):
    services = ("ses",)
    survives = "identities, templates, mail that was sent"

    def fill(self, client):
        client("ses").verify_email_identity(EmailAddress="orders@example.com")
        client("ses").create_template(
            Template={"TemplateName": "t", "SubjectPart": "s", "TextPart": "t", "HtmlPart": "h"}
        )

    def look(self, client):
        ses = client("ses")
        return [ses.list_identities()["Identities"], ses.get_template(TemplateName="t")["Template"]]

    def work(self, client):
        sent = client("ses").send_templated_email(
            Source="orders@example.com",
            Destination={"ToAddresses": ["b@example.com"]},
            Template="t",
            TemplateData="{}",
        )
        assert sent["MessageId"]
        client("ses").delete_template(TemplateName="t")
