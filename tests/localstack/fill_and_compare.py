"""Fills a LocalStack through the AWS API, and prints all that the AWS API says about it.

    fill_and_compare.py fill --endpoint URL    resources with ids, versions, times and messages
    fill_and_compare.py more --endpoint URL    one queue more, and a message in it
    fill_and_compare.py large --endpoint URL --bytes N    so many random bytes in a bucket
    fill_and_compare.py many --endpoint URL --objects N --bytes M  so many objects, each of M bytes
    fill_and_compare.py digest --endpoint URL  a hash of all keys, lengths, ETags and times in S3
    fill_and_compare.py dump --endpoint URL    one canonical JSON document on stdout

Two instances hold the same when their dumps are the same bytes: ids, version ids, ETags and times
included, the address of the instance left out. A dump receives no message. The first one does leave
traces in the state: the day on which a secret was read, and an empty entry for tags that were asked.
"""

import argparse
import hashlib
import http.client
import itertools
import json
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"
OTHER_REGION = "eu-central-1"
# An access key of twelve digits is an account id to LocalStack.
ACCOUNT = "000000000000"
OTHER_ACCOUNT = "111122223333"
PLACES = [(ACCOUNT, REGION), (ACCOUNT, OTHER_REGION), (OTHER_ACCOUNT, REGION)]

OBJECT_LENGTH = 32 << 20

ODD_KEYS = [
    "plain.txt",
    "folder/inside.txt",
    "folder",
    "../climbing",
    "/leading/slash",
    "trailing/",
    "dots/./and/../more",
    "percent%2Fsign",
    "spaces and +plus & more",
    "umlauts-äöü-漢字-🦀",
    "long-" + "x" * 900,
    "UPPER",
    "upper",
]

Client = Callable[[str], Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=["fill", "more", "large", "many", "digest", "dump"])
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--objects", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.command == "fill":
        for account, region in PLACES:
            fill(clients(arguments.endpoint, account, region), account, region)
    elif arguments.command == "more":
        sqs = clients(arguments.endpoint, ACCOUNT, REGION)("sqs")
        url = sqs.create_queue(QueueName="one-more")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="one more")
    elif arguments.command == "large":
        fill_with_bytes(clients(arguments.endpoint, ACCOUNT, REGION)("s3"), arguments.bytes)
    elif arguments.command == "many":
        fill_with_objects(arguments.endpoint, arguments.objects, arguments.bytes)
    elif arguments.command == "digest":
        print(digest(clients(arguments.endpoint, ACCOUNT, REGION)("s3")))
    else:
        document = {
            f"{account} {region}": dump(
                clients(arguments.endpoint, account, region), arguments.endpoint
            )
            for account, region in PLACES
        }
        text = json.dumps(document, sort_keys=True, indent=1, default=plain)
        sys.stdout.write(text.replace(arguments.endpoint.rstrip("/"), "ENDPOINT") + "\n")


def clients(endpoint: str, account: str, region: str) -> Client:
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key="test",
            config=config,
        )

    return client


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}
    raise TypeError(type(value))


def answer(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def pages(client: Any, operation: str, member: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page.get(member, [])


# ---------------------------------------------------------------- fill


def fill_with_bytes(s3: Any, length: int) -> None:
    s3.create_bucket(Bucket="large")
    for number, begin in enumerate(range(0, length, OBJECT_LENGTH)):
        body = os.urandom(min(OBJECT_LENGTH, length - begin))
        s3.put_object(Bucket="large", Key=f"object-{number:05}", Body=body)


def fill_with_objects(endpoint: str, count: int, length: int) -> None:
    """Over one bare connection: boto3 spends longer on a request than LocalStack."""
    credential = f"{ACCOUNT}/20260101/{REGION}/s3/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    }
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(endpoint).netloc)
    objects = (
        (f"/many/{number % 100:02}/object-{number:06}", (b"%d" % number).ljust(length))
        for number in range(count)
    )
    for path, body in itertools.chain([("/many", b"")], objects):
        connection.request("PUT", path, body, headers)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            sys.exit(f"PUT {path}: {response.status}")


def digest(s3: Any) -> str:
    seen = hashlib.sha256()
    for bucket in s3.list_buckets()["Buckets"]:
        for found in pages(s3, "list_objects_v2", "Contents", Bucket=bucket["Name"]):
            described = [found["Key"], found["Size"], found["ETag"], str(found["LastModified"])]
            seen.update(json.dumps([bucket["Name"], *described]).encode())
    return seen.hexdigest()


def fill(client: Client, account: str, region: str) -> None:
    fill_s3(client("s3"), account, region)
    fill_sqs(client("sqs"))
    fill_ssm(client("ssm"))
    fill_secrets(client("secretsmanager"))
    if region == REGION:
        fill_iam(client("iam"))


def fill_s3(s3: Any, account: str, region: str) -> None:
    name = f"orders-{account}-{region}"
    place = (
        {} if region == REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    )
    s3.create_bucket(Bucket=name, **place)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "team", "Value": "orders"}]})
    for key in ODD_KEYS:
        s3.put_object(Bucket=name, Key=key, Body=f"body of {key} in {name}".encode())
    s3.put_object(
        Bucket=name,
        Key="described",
        Body=b"",
        ContentType="text/csv",
        CacheControl="no-store",
        Metadata={"owner": "alice", "purpose": "test"},
        Tagging="stage=dead-letter&kind=order",
    )
    # More than LocalStack keeps in memory for one object.
    s3.put_object(Bucket=name, Key="big.bin", Body=bytes(range(256)) * 8192)

    versioned = f"history-{account}-{region}"
    s3.create_bucket(Bucket=versioned, **place)
    s3.put_object(Bucket=versioned, Key="first", Body=b"before versioning")
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put_object(Bucket=versioned, Key="first", Body=f"version {number}".encode())
    s3.put_object(Bucket=versioned, Key="gone", Body=b"to be deleted")
    s3.delete_object(Bucket=versioned, Key="gone")

    part = b"p" * (5 << 20)
    done = s3.create_multipart_upload(Bucket=versioned, Key="in-parts")["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": upload_part(s3, versioned, "in-parts", done, number, body)}
        for number, body in ((1, part), (2, b"end"))
    ]
    s3.complete_multipart_upload(
        Bucket=versioned, Key="in-parts", UploadId=done, MultipartUpload={"Parts": parts}
    )
    left = s3.create_multipart_upload(Bucket=versioned, Key="unfinished")["UploadId"]
    upload_part(s3, versioned, "unfinished", left, 1, b"half of it")


def upload_part(s3: Any, bucket: str, key: str, upload: str, number: int, body: bytes) -> str:
    return s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)[
        "ETag"
    ]


def fill_sqs(sqs: Any) -> None:
    dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "3"})
    queue = sqs.create_queue(
        QueueName="orders", Attributes={"RedrivePolicy": redrive}, tags={"team": "orders"}
    )["QueueUrl"]
    for number in range(20):
        sqs.send_message(
            QueueUrl=queue,
            MessageBody=f"order {number}",
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "order"}},
        )
    # In flight for longer than any test takes.
    sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=2, VisibilityTimeout=7200)
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=900)
    fifo = sqs.create_queue(
        QueueName="steps.fifo",
        Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"},
    )["QueueUrl"]
    for number in range(6):
        sqs.send_message(
            QueueUrl=fifo, MessageBody=f"step {number}", MessageGroupId=f"group-{number % 2}"
        )


def fill_ssm(ssm: Any) -> None:
    for value in ("one", "two", "three"):
        ssm.put_parameter(Name="/orders/limit", Value=value, Type="String", Overwrite=True)
    ssm.put_parameter(
        Name="/orders/token",
        Value="secret",
        Type="SecureString",
        Tags=[{"Key": "team", "Value": "orders"}],
    )
    ssm.label_parameter_version(Name="/orders/limit", ParameterVersion=2, Labels=["stable"])


def fill_secrets(secrets: Any) -> None:
    secrets.create_secret(
        Name="orders/db", SecretString="first", Tags=[{"Key": "team", "Value": "orders"}]
    )
    secrets.put_secret_value(SecretId="orders/db", SecretString="second")
    secrets.put_secret_value(
        SecretId="orders/db", SecretString="third", VersionStages=["CANDIDATE"]
    )
    secrets.create_secret(Name="orders/key", SecretBinary=b"\0\1\2\xff")


def fill_iam(iam: Any) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    allow = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    }
    iam.create_user(UserName="alice", Tags=[{"Key": "team", "Value": "orders"}])
    iam.create_access_key(UserName="alice")
    iam.create_group(GroupName="developers")
    iam.add_user_to_group(GroupName="developers", UserName="alice")
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(trust))
    policy = iam.create_policy(PolicyName="orders-bucket", PolicyDocument=json.dumps(allow))[
        "Policy"
    ]
    iam.attach_role_policy(RoleName="worker", PolicyArn=policy["Arn"])
    iam.put_user_policy(UserName="alice", PolicyName="inline", PolicyDocument=json.dumps(allow))


# ---------------------------------------------------------------- dump


def dump(client: Client, endpoint: str) -> dict[str, Any]:
    return {
        "s3": dump_s3(client("s3")),
        "sqs": dump_sqs(client("sqs"), endpoint),
        "ssm": dump_ssm(client("ssm")),
        "secretsmanager": dump_secrets(client("secretsmanager")),
        "iam": dump_iam(client("iam")),
    }


def dump_s3(s3: Any) -> dict[str, Any]:
    listing = s3.list_buckets()
    return {
        "owner": listing["Owner"],
        "buckets": {
            bucket["Name"]: dump_bucket(s3, bucket["Name"]) | {"created": bucket["CreationDate"]}
            for bucket in listing["Buckets"]
        },
    }


def dump_bucket(s3: Any, name: str) -> dict[str, Any]:
    try:
        tags = s3.get_bucket_tagging(Bucket=name)["TagSet"]
    except s3.exceptions.ClientError:
        tags = []
    versions = list(pages(s3, "list_object_versions", "Versions", Bucket=name))
    uploads = s3.list_multipart_uploads(Bucket=name).get("Uploads", [])
    return {
        "location": s3.get_bucket_location(Bucket=name)["LocationConstraint"],
        "tags": tags,
        "versioning": s3.get_bucket_versioning(Bucket=name).get("Status"),
        "current": list(pages(s3, "list_objects_v2", "Contents", Bucket=name)),
        "versions": versions,
        "deleted": list(pages(s3, "list_object_versions", "DeleteMarkers", Bucket=name)),
        "objects": [dump_object(s3, name, version) for version in versions],
        "uploads": [
            {**upload, "parts": list_parts(s3, name, upload["Key"], upload["UploadId"])}
            for upload in uploads
        ],
    }


def list_parts(s3: Any, bucket: str, key: str, upload: str) -> list[Any]:
    return s3.list_parts(Bucket=bucket, Key=key, UploadId=upload).get("Parts", [])


def dump_object(s3: Any, bucket: str, version: dict[str, Any]) -> dict[str, Any]:
    which = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
    found = answer(s3.get_object(**which))
    return {
        **found,
        "Key": version["Key"],
        "Body": found["Body"].read(),
        "Tags": s3.get_object_tagging(**which)["TagSet"],
    }


def dump_sqs(sqs: Any, endpoint: str) -> dict[str, Any]:
    return {
        url.rsplit("/", 1)[1]: {
            "attributes": sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
                "Attributes"
            ],
            "tags": sqs.list_queue_tags(QueueUrl=url).get("Tags", {}),
            "messages": messages(endpoint, url),
        }
        for url in pages(sqs, "list_queues", "QueueUrls")
    }


def messages(endpoint: str, queue_url: str) -> Any:
    """LocalStack's own view of a queue, which doesn't receive anything."""
    query = urllib.parse.urlencode(
        {"QueueUrl": queue_url, "ShowInvisible": "true", "ShowDelayed": "true"}
    )
    request = urllib.request.Request(
        f"{endpoint}/_aws/sqs/messages?{query}", headers={"Accept": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        result = json.load(response)["ReceiveMessageResponse"]["ReceiveMessageResult"]
    found = result["Message"] if result else []
    found = found if isinstance(found, list) else [found]
    for message in found:
        # A handle of this request, not of the message.
        message.pop("ReceiptHandle", None)
    return found


def dump_ssm(ssm: Any) -> dict[str, Any]:
    return {
        parameter["Name"]: {
            "described": parameter,
            "history": list(
                pages(
                    ssm,
                    "get_parameter_history",
                    "Parameters",
                    Name=parameter["Name"],
                    WithDecryption=True,
                )
            ),
            "tags": ssm.list_tags_for_resource(
                ResourceType="Parameter", ResourceId=parameter["Name"]
            )["TagList"],
        }
        for parameter in pages(ssm, "describe_parameters", "Parameters")
    }


def dump_secrets(secrets: Any) -> dict[str, Any]:
    found = {}
    for secret in pages(secrets, "list_secrets", "SecretList"):
        described = answer(secrets.describe_secret(SecretId=secret["ARN"]))
        found[secret["Name"]] = {
            "described": {
                name: value for name, value in described.items() if name != "LastAccessedDate"
            },
            "values": {
                version: answer(secrets.get_secret_value(SecretId=secret["ARN"], VersionId=version))
                for version in described.get("VersionIdsToStages", {})
            },
        }
    return found


def dump_iam(iam: Any) -> dict[str, Any]:
    everything = answer(
        iam.get_account_authorization_details(
            Filter=["User", "Role", "Group", "LocalManagedPolicy"]
        )
    )
    users = [user["UserName"] for user in pages(iam, "list_users", "Users")]
    return {
        **everything,
        "access_keys": {
            user: list(pages(iam, "list_access_keys", "AccessKeyMetadata", UserName=user))
            for user in users
        },
    }


if __name__ == "__main__":
    main()
