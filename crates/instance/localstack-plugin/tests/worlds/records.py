"""Tables, buckets, keys, logs, secrets and parameters."""

import json
import random

from worlds.world import NAMES, REGIONS, ROLE, Client, few, of, some, unless_there, word


@of("acm")
def acm(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("acm").request_certificate(DomainName=f"{name}.example.com", IdempotencyToken=name)


@of("config")
def config(chance: random.Random, client: Client) -> None:
    for name in few(chance):
        client("config").put_configuration_recorder(
            ConfigurationRecorder={"name": name, "roleARN": ROLE}
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


@of("logs")
def logs(chance: random.Random, client: Client) -> None:
    for group in some(chance):
        client("logs").create_log_group(logGroupName=group, tags={"team": word(chance)})
        for stream in some(chance):
            client("logs").create_log_stream(logGroupName=group, logStreamName=stream)


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


@of("secretsmanager")
def secretsmanager(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("secretsmanager").create_secret(Name=name, SecretString=word(chance))


@of("ssm")
def ssm(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("ssm").put_parameter(Name=f"/{name}", Value=word(chance), Type="String")
    for name in few(chance):
        content = {"schemaVersion": "2.2", "description": word(chance), "mainSteps": []}
        client("ssm").create_document(
            Name=name, Content=json.dumps(content), DocumentType="Command"
        )


@of("transcribe")
def transcribe(chance: random.Random, client: Client) -> None:
    for name in few(chance):
        client("transcribe").create_vocabulary(
            VocabularyName=name, LanguageCode="en-US", Phrases=[word(chance)]
        )
