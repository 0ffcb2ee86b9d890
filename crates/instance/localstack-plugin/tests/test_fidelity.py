"""Service by service: filled in one instance, saved, loaded into another, seen through the API.

Each story fills with clients of the source, tells what the API shows, and may try what only a
working resource can do. What isn't here is not known to survive.
"""

import base64
import hashlib
import io
import json
import time
import urllib.request
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

Client = Callable[..., Any]
STORIES: dict[str, type["Story"]] = {}


class Story:
    services: tuple[str, ...]
    # What LocalStack makes anew when it loads; all else is saved again as the same bytes.
    renewed: frozenset[str] = frozenset()

    def __init_subclass__(cls) -> None:
        STORIES[cls.__name__.lower()] = cls

    def fill(self, client: Client) -> None:
        raise NotImplementedError

    def look(self, client: Client) -> Any:
        raise NotImplementedError

    def work(self, client: Client) -> None:
        """In the instance that was loaded."""


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


class Sqs(Story):
    services = ("sqs",)

    def fill(self, client):
        sqs = client("sqs")
        url = sqs.create_queue(QueueName="mixed")["QueueUrl"]
        self.sent = [
            sqs.send_message(QueueUrl=url, MessageBody=f"m{n}")["MessageId"] for n in range(5)
        ]
        self.handle = sqs.receive_message(QueueUrl=url, VisibilityTimeout=7200)["Messages"][0][
            "ReceiptHandle"
        ]
        delayed = sqs.create_queue(QueueName="delayed")["QueueUrl"]
        Sqs.delayed_id = sqs.send_message(QueueUrl=delayed, MessageBody="later", DelaySeconds=4)[
            "MessageId"
        ]
        Sqs.in_flight = self.handle
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
        for name in ("mixed", "order.fifo"):
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            shown[name] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
                "Attributes"
            ]
        return shown

    def work(self, client):
        sqs = client("sqs")
        url = sqs.get_queue_url(QueueName="delayed")["QueueUrl"]
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
        assert [message["MessageId"] for message in found] == [Sqs.delayed_id]
        mixed = sqs.get_queue_url(QueueName="mixed")["QueueUrl"]
        sqs.change_message_visibility(
            QueueUrl=mixed, ReceiptHandle=Sqs.in_flight, VisibilityTimeout=0
        )
        assert {received(sqs, "mixed") for _ in range(5)} == {f"m{n}" for n in range(5)}
        fifo = sqs.get_queue_url(QueueName="order.fifo")["QueueUrl"]
        found = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10)["Messages"]
        assert [message["Body"] for message in found] == ["f0", "f1", "f2"]


class Sns(Story):
    services = ("sns", "sqs")

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
        topic = client("sns").list_topics()["Topics"][0]["TopicArn"]
        for kind in ("noise", "order"):
            client("sns").publish(
                TopicArn=topic,
                Message=kind,
                MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}},
            )
        assert json.loads(received(client("sqs"), "of-topic"))["Message"] == "order"


class DynamoDb(Story):
    services = ("dynamodb",)

    def fill(self, client):
        db = client("dynamodb")
        db.create_table(
            TableName="orders",
            KeySchema=[
                {"AttributeName": "id", "KeyType": "HASH"},
                {"AttributeName": "n", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "id", "AttributeType": "S"},
                {"AttributeName": "n", "AttributeType": "N"},
                {"AttributeName": "state", "AttributeType": "S"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-state",
                    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        for number in range(10):
            item = {
                "id": {"S": "a"},
                "n": {"N": str(number)},
                "state": {"S": "odd" if number % 2 else "even"},
            }
            db.put_item(TableName="orders", Item=item | {"blob": {"B": bytes([number])}})

    def look(self, client):
        db = client("dynamodb")
        return [
            db.describe_table(TableName="orders")["Table"],
            db.scan(TableName="orders")["Items"],
            db.query(
                TableName="orders",
                IndexName="by-state",
                KeyConditionExpression="#s = :odd",
                ExpressionAttributeNames={"#s": "state"},
                ExpressionAttributeValues={":odd": {"S": "odd"}},
            )["Items"],
        ]


class Kinesis(Story):
    services = ("kinesis",)

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


class Kms(Story):
    services = ("kms",)

    def fill(self, client):
        kms = client("kms")
        key = kms.create_key(Description="orders")["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/orders", TargetKeyId=key)
        Kms.old = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
        Kms.signer = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"][
            "KeyId"
        ]

    def look(self, client):
        kms = client("kms")
        return [
            kms.list_aliases()["Aliases"],
            kms.describe_key(KeyId="alias/orders")["KeyMetadata"],
            bare(kms.get_public_key(KeyId=Kms.signer)),
        ]

    def work(self, client):
        assert client("kms").decrypt(CiphertextBlob=Kms.old)["Plaintext"] == b"secret"
        signed = client("kms").sign(
            KeyId=Kms.signer, Message=b"m", SigningAlgorithm="ECDSA_SHA_256"
        )
        assert signed["Signature"]


class Events(Story):
    services = ("events", "sqs")

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


class Logs(Story):
    services = ("logs",)

    def fill(self, client):
        logs = client("logs")
        logs.create_log_group(logGroupName="/orders")
        logs.create_log_stream(logGroupName="/orders", logStreamName="s")
        now = int(time.time() * 1000)
        entries = [{"timestamp": now + n, "message": f"line {n}"} for n in range(5)]
        logs.put_log_events(logGroupName="/orders", logStreamName="s", logEvents=entries)

    def look(self, client):
        logs = client("logs")
        return [
            logs.describe_log_groups()["logGroups"],
            logs.get_log_events(logGroupName="/orders", logStreamName="s")["events"],
        ]


class CloudWatch(Story):
    services = ("cloudwatch",)

    def fill(self, client):
        cloudwatch = client("cloudwatch")
        cloudwatch.put_metric_data(
            Namespace="shop", MetricData=[{"MetricName": "orders", "Value": 7}]
        )
        cloudwatch.put_metric_alarm(
            AlarmName="many",
            Namespace="shop",
            MetricName="orders",
            Statistic="Sum",
            Period=3600,
            EvaluationPeriods=1,
            Threshold=1e9,
            ComparisonOperator="GreaterThanThreshold",
        )

    def look(self, client):
        alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
        # Evaluated by each instance for itself, at times of its own.
        own = (
            "StateValue",
            "StateReason",
            "StateReasonData",
            "StateUpdatedTimestamp",
            "StateTransitionedTimestamp",
        )
        metrics = client("cloudwatch").list_metrics(Namespace="shop")["Metrics"]
        return [[{k: v for k, v in alarm.items() if k not in own} for alarm in alarms], metrics]


class StepFunctions(Story):
    services = ("stepfunctions",)

    def fill(self, client):
        sfn = client("stepfunctions")
        definition = {
            "StartAt": "A",
            "States": {"A": {"Type": "Pass", "Result": {"n": 1}, "End": True}},
        }
        role = "arn:aws:iam::000000000000:role/any"
        machine = sfn.create_state_machine(
            name="m", definition=json.dumps(definition), roleArn=role
        )
        run = sfn.start_execution(stateMachineArn=machine["stateMachineArn"], name="one")[
            "executionArn"
        ]
        while sfn.describe_execution(executionArn=run)["status"] == "RUNNING":
            time.sleep(0.1)

    def look(self, client):
        sfn = client("stepfunctions")
        (machine,) = sfn.list_state_machines()["stateMachines"]
        runs = sfn.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
        one = next(run for run in runs if run["name"] == "one")["executionArn"]
        return [
            machine,
            bare(sfn.describe_execution(executionArn=one)),
            sfn.get_execution_history(executionArn=one)["events"],
        ]

    def work(self, client):
        sfn = client("stepfunctions")
        machine = sfn.list_state_machines()["stateMachines"][0]["stateMachineArn"]
        run = sfn.start_execution(stateMachineArn=machine, name="two")["executionArn"]
        while (found := sfn.describe_execution(executionArn=run))["status"] == "RUNNING":
            time.sleep(0.1)
        assert json.loads(found["output"]) == {"n": 1}


class CloudFormation(Story):
    services = ("cloudformation", "s3", "sqs")

    def fill(self, client):
        template = {
            "Resources": {
                "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-stack"}},
                "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "of-stack"}},
            },
            "Outputs": {"Url": {"Value": {"Ref": "Queue"}}},
        }
        cloudformation = client("cloudformation")
        cloudformation.create_stack(StackName="shop", TemplateBody=json.dumps(template))
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="shop", WaiterConfig={"Delay": 1}
        )

    def look(self, client):
        cloudformation = client("cloudformation")
        return [
            cloudformation.describe_stacks(StackName="shop")["Stacks"],
            cloudformation.list_stack_resources(StackName="shop")["StackResourceSummaries"],
        ]

    def work(self, client):
        cloudformation = client("cloudformation")
        cloudformation.delete_stack(StackName="shop")
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName="shop", WaiterConfig={"Delay": 1}
        )
        assert client("s3").list_buckets()["Buckets"] == []


class ApiGateway(Story):
    services = ("apigateway",)

    def fill(self, client):
        api = client("apigateway")
        made = api.create_rest_api(name="shop")["id"]
        root = api.get_resources(restApiId=made)["items"][0]["id"]
        child = api.create_resource(restApiId=made, parentId=root, pathPart="orders")["id"]
        where = {"restApiId": made, "resourceId": child, "httpMethod": "GET"}
        api.put_method(**where, authorizationType="NONE")
        api.put_method_response(**where, statusCode="200")
        api.put_integration(
            **where, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
        )
        api.put_integration_response(
            **where, statusCode="200", responseTemplates={"application/json": '{"n": 1}'}
        )
        api.create_deployment(restApiId=made, stageName="dev")

    def look(self, client):
        api = client("apigateway")
        (made,) = api.get_rest_apis()["items"]
        return [
            made,
            api.get_resources(restApiId=made["id"])["items"],
            api.get_stages(restApiId=made["id"])["item"],
        ]

    def work(self, client):
        api = client("apigateway")
        made = api.get_rest_apis()["items"][0]["id"]
        url = f"{api.meta.endpoint_url}/_aws/execute-api/{made}/dev/orders"
        with urllib.request.urlopen(url) as response:
            assert json.load(response) == {"n": 1}


class Lambda(Story):
    services = ("lambda", "iam", "s3")
    renewed = frozenset(
        {"api_states/lambda/store/lambda/accounts/000000000000/regions/us-east-1.state"}
    )

    def fill(self, client):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr(zipfile.ZipInfo("main.py"), "def handler(event, context): return 1")
        client("lambda").create_function(
            FunctionName="worker",
            Runtime="python3.12",
            Handler="main.handler",
            Role="arn:aws:iam::000000000000:role/worker",
            Code={"ZipFile": code.getvalue()},
            Environment={"Variables": {"A": "b"}},
        )

    def look(self, client):
        found = client("lambda").get_function(FunctionName="worker")
        # Each instance sees for itself whether it can be invoked, and makes a new revision.
        own = ("State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RevisionId")
        return [
            {k: v for k, v in found["Configuration"].items() if k not in own},
            found.get("Tags"),
        ]

    def work(self, client):
        found = client("lambda").get_function(FunctionName="worker")
        with urllib.request.urlopen(
            found["Code"]["Location"].replace("localhost.localstack.cloud", "127.0.0.1")
        ) as code:
            digest = hashlib.sha256(code.read()).digest()
        assert base64.b64encode(digest).decode() == found["Configuration"]["CodeSha256"]


class Route53(Story):
    services = ("route53",)

    def fill(self, client):
        client("route53").create_hosted_zone(Name="example.com", CallerReference="1")

    def look(self, client):
        (zone,) = client("route53").list_hosted_zones()["HostedZones"]
        return [
            zone,
            client("route53").list_resource_record_sets(HostedZoneId=zone["Id"])[
                "ResourceRecordSets"
            ],
        ]


class Ec2(Story):
    services = ("ec2",)

    def fill(self, client):
        ec2 = client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")
        ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)

    def look(self, client):
        ec2 = client("ec2")
        return [
            ec2.describe_vpcs()["Vpcs"],
            ec2.describe_subnets()["Subnets"],
            ec2.describe_security_groups()["SecurityGroups"],
        ]

    def work(self, client):
        ec2 = client("ec2")
        vpc = next(v for v in ec2.describe_vpcs()["Vpcs"] if v["CidrBlock"] == "10.1.0.0/16")[
            "VpcId"
        ]
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.2.0/24")


class Acm(Story):
    services = ("acm",)

    def fill(self, client):
        client("acm").request_certificate(DomainName="example.com")

    def look(self, client):
        acm = client("acm")
        arns = [
            summary["CertificateArn"]
            for summary in acm.list_certificates()["CertificateSummaryList"]
        ]
        return [arns, [acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] for arn in arns]]


class Ses(Story):
    services = ("ses",)

    def fill(self, client):
        client("ses").verify_email_identity(EmailAddress="orders@example.com")
        client("ses").create_template(
            Template={"TemplateName": "t", "SubjectPart": "s", "TextPart": "t", "HtmlPart": "h"}
        )

    def look(self, client):
        ses = client("ses")
        return [ses.list_identities()["Identities"], ses.get_template(TemplateName="t")["Template"]]


class Scheduler(Story):
    services = ("scheduler",)

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


class Sts(Story):
    services = ("sts", "iam")

    def fill(self, client):
        client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
        client("sts").assume_role(
            RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="session"
        )

    def look(self, client):
        return client("iam").get_role(RoleName="r")["Role"]


@pytest.mark.parametrize("name", STORIES)
def test_a_service_survives(name, source, target):
    story = STORIES[name]()
    source.reset()
    target.reset()
    story.fill(source.client)
    ports = str(source.port), str(target.port)
    expected = plain(ports, story.look(source.client))

    services = ",".join(story.services)
    state = source.save(services)
    assert source.save(services) == state, "saved twice without a change, and not the same"
    target.load(state, "overwrite")
    changed = {member for member, _ in members(state) ^ members(target.save(services))}
    assert changed == story.renewed, "saved again after a load, and not the same"

    assert plain(ports, story.look(target.client)) == expected
    story.work(target.client)


def plain(ports: tuple[str, ...], seen: Any) -> str:
    """Without the addresses of instances; some resources remember the one they were made in."""
    text = json.dumps(seen, sort_keys=True, default=repr, indent=1)
    for port in ports:
        text = text.replace(f":{port}", ":PORT")
    return text


def members(state: bytes) -> set[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(state)) as archive:
        return {(name, archive.read(name)) for name in archive.namelist()}
