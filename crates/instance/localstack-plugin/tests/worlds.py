"""Instances with something in every service that has an index, made from a seed.

Two worlds share some names, places and ids, so that loading one onto the other replaces, adds,
keeps and removes, within containers too.
"""

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

ACCOUNTS = ["000000000000", "111122223333"]
REGIONS = ["us-east-1", "eu-central-1"]
NAMES = ["alpha", "beta", "gamma"]

Client = Callable[[str], Any]
FILLS: dict[str, Callable[[random.Random, Client], None]] = {}


def fill(instance: Any, seed: int) -> None:
    chance = random.Random(seed)
    for make in FILLS.values():
        for account in ACCOUNTS:
            for region in REGIONS:
                if chance.random() < 0.6:
                    make(chance, lambda name: instance.client(name, account, region))  # noqa: B023


def of(service: str) -> Callable[[Any], Any]:
    def register(make: Any) -> Any:
        FILLS[service] = make
        return make

    return register


def some(chance: random.Random) -> list[str]:
    return [name for name in NAMES if chance.random() < 0.6]


def word(chance: random.Random) -> str:
    return chance.choice(["one", "two"])


def unless_there(call: Callable[[], Any]) -> Any:
    """What has a name that all accounts or regions share may be there already."""
    try:
        return call()
    except ClientError as error:
        assert "Exist" in str(error) or "Already" in str(error) or "owned" in str(error), error
        return None


@of("acm")
def acm(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("acm").request_certificate(DomainName=f"{name}.example.com", IdempotencyToken=name)


@of("apigateway")
def apigateway(chance: random.Random, client: Client) -> None:
    gateway = client("apigateway")
    for name in some(chance):
        # Regions and accounts share the ids that clients choose.
        custom = f"{name}{gateway.meta.region_name[:2]}{chance.choice(ACCOUNTS)[:1]}"
        made = unless_there(
            lambda: gateway.create_rest_api(name=name, tags={"_custom_id_": custom})  # noqa: B023
        )
        if made is None:
            continue
        api = made["id"]
        (root,) = gateway.get_resources(restApiId=api)["items"]
        for part in some(chance):
            resource = gateway.create_resource(restApiId=api, parentId=root["id"], pathPart=part)[
                "id"
            ]
            which = {"restApiId": api, "resourceId": resource, "httpMethod": "GET"}
            gateway.put_method(**which, authorizationType="NONE")
            gateway.put_integration(**which, type="MOCK")
            gateway.create_deployment(restApiId=api, stageName=part)


TEMPLATE = {"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}


@of("cloudformation")
def cloudformation(chance: random.Random, client: Client) -> None:
    for name in some(chance)[:1]:
        stacks = client("cloudformation")
        stacks.create_stack(
            StackName=name, TemplateBody=json.dumps(TEMPLATE | {"Description": word(chance)})
        )
        stacks.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )


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


@of("dynamodb")
def dynamodb(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for key in some(chance):
            client("dynamodb").put_item(TableName=name, Item={"id": {"S": key}})


@of("ec2")
def ec2(chance: random.Random, client: Client) -> None:
    if chance.random() < 0.3:
        networks = client("ec2")
        vpc = networks.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        networks.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
        networks.create_security_group(GroupName="web", Description="d", VpcId=vpc)
        networks.create_key_pair(KeyName=word(chance))
        networks.create_tags(Resources=[vpc], Tags=[{"Key": "team", "Value": word(chance)}])


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


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
ALLOW = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    }
)


@of("iam")
def iam(chance: random.Random, client: Client) -> None:
    iam = client("iam")
    if iam.meta.region_name != REGIONS[0]:
        return
    policies = [
        iam.create_policy(PolicyName=name, PolicyDocument=ALLOW, Description=word(chance))
        for name in some(chance)
    ]
    for name in some(chance):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Description=word(chance))
        for policy in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=policy["Policy"]["Arn"])
    groups = some(chance)
    for name in groups:
        iam.create_group(GroupName=name)
    for name in some(chance):
        iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": word(chance)}])
        iam.create_access_key(UserName=name)
        for group in groups:
            if chance.random() < 0.5:
                iam.add_user_to_group(GroupName=group, UserName=name)


@of("kinesis")
def kinesis(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("kinesis").create_stream(StreamName=name, ShardCount=chance.choice([1, 2]))


@of("kms")
def kms(chance: random.Random, client: Client) -> None:
    for name in some(chance)[:2]:
        custom = f"{'abc'[NAMES.index(name)] * 8}-0000-0000-0000-000000000000"
        made = client("kms").create_key(
            Description=word(chance), Tags=[{"TagKey": "_custom_id_", "TagValue": custom}]
        )
        client("kms").create_alias(
            AliasName=f"alias/{name}", TargetKeyId=made["KeyMetadata"]["KeyId"]
        )


def code() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), "def handler(event, context): pass\n")
    return target.getvalue()


@of("lambda")
def functions(chance: random.Random, client: Client) -> None:
    for name in some(chance)[:1]:
        client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/r",
            Handler="handler.handler",
            Code={"ZipFile": code()},
            Description=word(chance),
        )
    for name in some(chance)[:1]:
        client("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": code()})


@of("logs")
def logs(chance: random.Random, client: Client) -> None:
    for group in some(chance):
        client("logs").create_log_group(logGroupName=group, tags={"team": word(chance)})
        for stream in some(chance):
            client("logs").create_log_stream(logGroupName=group, logStreamName=stream)


@of("redshift")
def redshift(chance: random.Random, client: Client) -> None:
    for name in some(chance)[:2]:
        client("redshift").create_cluster(
            ClusterIdentifier=name,
            NodeType="ds2.xlarge",
            MasterUsername="u",
            MasterUserPassword="Passw0rd",
            DBName=word(chance),
        )


@of("resource-groups")
def resource_groups(chance: random.Random, client: Client) -> None:
    query = {
        "ResourceTypeFilters": ["AWS::AllSupported"],
        "TagFilters": [{"Key": "team", "Values": ["a"]}],
    }
    for name in some(chance):
        client("resource-groups").create_group(
            Name=name,
            Description=word(chance),
            ResourceQuery={"Type": "TAG_FILTERS_1_0", "Query": json.dumps(query)},
        )


@of("route53")
def route53(chance: random.Random, client: Client) -> None:
    zones = client("route53")
    if zones.meta.region_name != REGIONS[0]:
        return
    for name in some(chance):
        zone = zones.create_hosted_zone(Name=f"{name}.example", CallerReference=name)
        for record in some(chance):
            change = {
                "Action": "CREATE",
                "ResourceRecordSet": {
                    "Name": f"{record}.{name}.example",
                    "Type": "A",
                    "TTL": 60,
                    "ResourceRecords": [{"Value": "192.0.2.1"}],
                },
            }
            zones.change_resource_record_sets(
                HostedZoneId=zone["HostedZone"]["Id"], ChangeBatch={"Changes": [change]}
            )


@of("route53resolver")
def route53resolver(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("route53resolver").create_resolver_rule(
            CreatorRequestId=name, RuleType="SYSTEM", DomainName=f"{name}.example", Name=name
        )


@of("s3")
def s3(chance: random.Random, client: Client) -> None:
    buckets = client("s3")
    region = buckets.meta.region_name
    place = (
        {}
        if region == REGIONS[0]
        else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    )
    for name in some(chance):
        # One owner for a name: the other world may have another one.
        if unless_there(lambda: buckets.create_bucket(Bucket=f"bucket-{name}", **place)):  # noqa: B023
            for key in some(chance):
                buckets.put_object(Bucket=f"bucket-{name}", Key=key, Body=word(chance).encode())


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


@of("secretsmanager")
def secretsmanager(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("secretsmanager").create_secret(Name=name, SecretString=word(chance))


@of("ses")
def ses(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("ses").verify_email_identity(EmailAddress=f"{name}@example.com")
        client("ses").create_template(
            Template={"TemplateName": name, "SubjectPart": word(chance), "TextPart": "t"}
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


@of("ssm")
def ssm(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("ssm").put_parameter(Name=f"/{name}", Value=word(chance), Type="String")


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
