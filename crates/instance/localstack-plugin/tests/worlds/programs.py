"""APIs, stacks, functions, and who may do what."""

import io
import json
import random
import zipfile

from worlds.world import ACCOUNTS, REGIONS, ROLE, Client, few, of, some, unless_there, word


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
    for name in few(chance):
        iam.create_instance_profile(InstanceProfileName=name)


def code() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), "def handler(event, context): pass\n")
    return target.getvalue()


@of("lambda")
def functions(chance: random.Random, client: Client) -> None:
    for name in few(chance):
        client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/r",
            Handler="handler.handler",
            Code={"ZipFile": code()},
            Description=word(chance),
        )
    for name in few(chance):
        client("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": code()})
    for name in few(chance):
        arn = client("sqs").create_queue(QueueName=f"to-{name}")["QueueUrl"]
        account, queue = arn.split("/")[-2:]
        region = client("sqs").meta.region_name
        client("lambda").create_function(
            FunctionName=f"polls-{name}",
            Runtime="python3.12",
            Role=ROLE,
            Handler="handler.handler",
            Code={"ZipFile": code()},
        )
        # Off: a merge may take its queue away, and that would be told.
        client("lambda").create_event_source_mapping(
            EventSourceArn=f"arn:aws:sqs:{region}:{account}:{queue}",
            FunctionName=f"polls-{name}",
            Enabled=False,
        )


@of("sts")
def sts(chance: random.Random, client: Client) -> None:
    for name in few(chance):
        client("sts").assume_role(RoleArn=ROLE, RoleSessionName=name)
