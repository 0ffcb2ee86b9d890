"""The endpoints of a running instance: shapes, refusals, merges, saving while clients write."""

import io
import json
import threading
import zipfile
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def clean(target):
    target.reset()
    return target


def queues(instance, region="us-east-1", account="000000000000"):
    urls = instance.client("sqs", account, region).list_queues().get("QueueUrls", [])
    return {url.rsplit("/", 1)[1] for url in urls}


def buckets(instance, account="000000000000"):
    return {bucket["Name"] for bucket in instance.client("s3", account).list_buckets()["Buckets"]}


def topics(instance, region="us-east-1"):
    arns = [
        topic["TopicArn"] for topic in instance.client("sns", region=region).list_topics()["Topics"]
    ]
    return {arn.rsplit(":", 1)[1] for arn in arns}


def test_what_is_loaded_has_not_changed(source, clean):
    source.reset()
    source.client("sqs").create_queue(QueueName="orders")
    source.client("s3").create_bucket(Bucket="stays")
    source.client("s3").put_object(Bucket="stays", Key="../odd key", Body=b"bytes")
    state = source.save("s3,sqs")
    assert source.save("s3,sqs") == state
    clean.load(state, "overwrite")
    assert clean.save("s3,sqs") == state
    found = clean.client("s3").get_object(Bucket="stays", Key="../odd key")
    assert found["Body"].read() == b"bytes"


def test_its_own_log_says_what_was_loaded(source, clean):
    source.reset()
    source.client("sqs").create_queue(QueueName="orders")
    state = source.save("sqs")
    path = "/_localstack/pods?merge=overwrite"
    for name, said in (
        ("orders:3@alice", "podsync loaded orders:3@alice: sqs"),
        ("", "podsync loaded a state: sqs"),
        ("\x1b[31mred", "podsync loaded a state: sqs"),
    ):
        before = clean.log().count(said)
        headers = {"x-podsync-reference": name} if name else {}
        assert clean.call("POST", path, state, **headers)[0] == 201
        assert clean.log().count(said) == before + 1


def test_the_index_names_resources_and_holds_no_values(source):
    source.reset()
    queue = source.client("sqs").create_queue(QueueName="orders")["QueueUrl"]
    source.client("sqs").send_message(QueueUrl=queue, MessageBody="a-private-body")
    ssm = source.client("ssm", region="eu-central-1")
    ssm.put_parameter(Name="/orders/limit", Value="a-private-value", Type="String")
    source.client("secretsmanager", "111122223333").create_secret(
        Name="db", SecretString="a-private-secret"
    )
    source.client("iam").create_access_key(
        UserName=source.client("iam").create_user(UserName="alice")["User"]["UserName"]
    )
    with zipfile.ZipFile(io.BytesIO(source.save())) as archive:
        text = archive.read("podsync/index.json").decode()
    assert "a-private" not in text and "AKIA" not in text and "LKIA" not in text
    found = {
        (entry["service"], entry.get("account"), entry.get("region"), entry.get("name")): entry
        for entry in json.loads(text)["resources"]
    }
    here = "000000000000", "us-east-1"
    assert found["sqs", *here, "orders"]["counts"] == {"delayed": 0, "in_flight": 0, "messages": 1}
    assert found["ssm", here[0], "eu-central-1", "/orders/limit"]["counts"] == {"versions": 1}
    assert found["secretsmanager", "111122223333", "us-east-1", "db"]["type"] == "secret"
    assert found["iam", here[0], None, "alice"]["type"] == "user"
    status, _, running = source.call("GET", "/_localstack/pods/index")
    assert status == 200 and json.loads(running) == json.loads(text)
    _, _, running = source.call("GET", "/_localstack/pods/index?services=sqs")
    assert {entry["service"] for entry in json.loads(running)["resources"]} == {"sqs"}

    ssm.put_parameter(Name="/orders/limit", Value="another", Type="String", Overwrite=True)
    _, _, after = source.call("GET", "/_localstack/pods/index")
    changed = [entry for entry in json.loads(after)["resources"] if entry not in found.values()]
    assert [entry["name"] for entry in changed] == ["/orders/limit"]


@pytest.fixture(scope="module")
def incoming(source):
    """One queue in two regions, one bucket, in one account; a queue in another."""
    source.reset()
    source.client("sqs").create_queue(QueueName="both", Attributes={"DelaySeconds": "7"})
    source.client("sqs").create_queue(QueueName="theirs")
    source.client("sqs", region="eu-central-1").create_queue(QueueName="theirs-eu")
    source.client("sqs", "111122223333").create_queue(QueueName="theirs-other")
    source.client("s3").create_bucket(Bucket="their-bucket")
    source.client("s3").put_object(Bucket="their-bucket", Key="k", Body=b"their body")
    source.client("s3").create_bucket(Bucket="both-have")
    for key in ("theirs", "both"):
        source.client("s3").put_object(Bucket="both-have", Key=key, Body=b"their body")
    source.client("iam").create_user(UserName="their-user")
    source.client("sns").create_topic(Name="their-topic")
    source.client("sns", region="eu-central-1").create_topic(Name="their-eu-topic")
    return source.save("sqs,s3,iam,sns")


AFTER = {
    "overwrite": {
        "us": {"both", "theirs"},
        "eu": {"theirs-eu"},
        "ap": set(),
        "other": {"theirs-other"},
        "buckets": {"their-bucket", "both-have"},
        "users": {"their-user"},
        "topics": {"their-topic"},
        "topics-eu": {"their-eu-topic"},
        "parameters": 0,
    },
    "account-region-merge": {
        "us": {"both", "theirs"},
        "eu": {"theirs-eu"},
        "ap": {"mine-ap"},
        "other": {"theirs-other"},
        "buckets": {"their-bucket", "both-have"},
        "users": {"their-user"},
        "topics": {"their-topic"},
        "topics-eu": {"their-eu-topic"},
        "parameters": 1,
    },
    "service-merge": {
        "us": {"both", "theirs", "mine"},
        "eu": {"theirs-eu", "mine-eu"},
        "ap": {"mine-ap"},
        "other": {"theirs-other", "mine-other"},
        "buckets": {"their-bucket", "both-have", "my-bucket"},
        "users": {"their-user", "my-user"},
        "topics": {"their-topic", "my-topic"},
        "topics-eu": {"their-eu-topic", "my-eu-topic"},
        "parameters": 1,
    },
}


@pytest.mark.parametrize("merge", AFTER)
def test_what_is_there_after_a_load_onto_something(clean, incoming, merge):
    clean.client("sqs").create_queue(QueueName="both", Attributes={"DelaySeconds": "3"})
    clean.client("sqs").create_queue(QueueName="mine")
    clean.client("sqs", region="eu-central-1").create_queue(QueueName="mine-eu")
    clean.client("sqs", region="ap-south-1").create_queue(QueueName="mine-ap")
    clean.client("sqs", "111122223333").create_queue(QueueName="mine-other")
    clean.client("s3").create_bucket(Bucket="my-bucket")
    clean.client("s3").put_object(Bucket="my-bucket", Key="k", Body=b"my body")
    clean.client("s3").create_bucket(Bucket="both-have")
    for key in ("mine", "both"):
        clean.client("s3").put_object(Bucket="both-have", Key=key, Body=b"my body")
    clean.client("sns").create_topic(Name="my-topic")
    clean.client("sns", region="eu-central-1").create_topic(Name="my-eu-topic")
    clean.client("iam").create_user(UserName="my-user")
    clean.client("ssm").put_parameter(Name="/mine", Value="v", Type="String")

    clean.load(incoming, merge)

    after = AFTER[merge]
    assert queues(clean) == after["us"]
    assert queues(clean, "eu-central-1") == after["eu"]
    assert queues(clean, "ap-south-1") == after["ap"]
    assert queues(clean, account="111122223333") == after["other"]
    assert buckets(clean) == after["buckets"]
    assert {user["UserName"] for user in clean.client("iam").list_users()["Users"]} == after[
        "users"
    ]
    assert len(clean.client("ssm").describe_parameters()["Parameters"]) == after["parameters"]
    sqs = clean.client("sqs")
    both = sqs.get_queue_url(QueueName="both")["QueueUrl"]
    assert sqs.get_queue_attributes(QueueUrl=both, AttributeNames=["DelaySeconds"])[
        "Attributes"
    ] == {"DelaySeconds": "7"}
    bodies = {"their-bucket": b"their body", "my-bucket": b"my body"}
    assert topics(clean) == after["topics"]
    assert topics(clean, "eu-central-1") == after["topics-eu"]
    # A resource that both have is the state's, whole: no object of mine is left in it.
    listed = clean.client("s3").list_objects_v2(Bucket="both-have")["Contents"]
    assert {entry["Key"] for entry in listed} == {"theirs", "both"}
    found = clean.client("s3").get_object(Bucket="both-have", Key="both")["Body"].read()
    assert found == b"their body"
    for bucket in after["buckets"] - {"both-have"}:
        found = clean.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read()
        assert found == bodies[bucket]
    # A name that went away with the merge can be taken again, by anyone.
    gone = {"my-bucket"} - after["buckets"]
    for bucket in gone:
        clean.client("s3", "444455556666").create_bucket(Bucket=bucket)


def test_a_reset_of_one_service_leaves_the_others(clean):
    clean.client("sqs").create_queue(QueueName="goes")
    clean.client("s3").create_bucket(Bucket="stays")
    assert clean.call("POST", "/_localstack/state/sqs/reset")[0] == 200
    assert queues(clean) == set() and buckets(clean) == {"stays"}
    assert clean.call("POST", "/_localstack/state/nothing/reset")[0] == 404


def changed_metadata(state, **changes):
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(state)) as old, zipfile.ZipFile(result, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "podsync/metadata.json":
                data = json.dumps(json.loads(data) | changes).encode()
            new.writestr(info, data)
    return result.getvalue()


def test_what_cannot_be_loaded_is_refused_and_touches_nothing(clean, incoming):
    clean.client("sqs").create_queue(QueueName="mine")
    before = clean.save()
    foreign = io.BytesIO()
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("metadata.yaml", "")
    refused = {
        b"": 400,
        b"no zip": 400,
        incoming[: len(incoming) // 2]: 400,
        incoming[:-1]: 400,
        foreign.getvalue(): 422,
        changed_metadata(incoming, localstack_version="2099.1.0"): 422,
        changed_metadata(incoming, format_version=3): 422,
    }
    for body, expected in refused.items():
        status, _, answer = clean.call("POST", "/_localstack/pods?merge=overwrite", body)
        assert status == expected and json.loads(answer)["error"]["message"]
    assert clean.call("POST", "/_localstack/pods?merge=sideways", incoming)[0] == 400
    assert clean.save() == before


def test_pages_of_the_web_are_refused(clean, incoming):
    clean.client("sqs").create_queue(QueueName="mine")
    for origin in (
        "https://app.localstack.cloud",
        "http://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
    ):
        for method, path in (
            ("POST", "/_localstack/pods?merge=overwrite"),
            ("POST", "/_localstack/state/reset"),
            ("GET", "/_localstack/pods/state"),
        ):
            body = incoming if method == "POST" else None
            assert clean.call(method, path, body, Origin=origin)[0] == 403
    assert queues(clean) == {"mine"}


def test_a_service_that_is_not_there_does_not_keep_the_others_back(clean, incoming):
    services = ["iam", "nothing", "s3", "sns", "sqs"]
    state = changed_metadata(incoming, services=services)
    status, _, body = clean.call("POST", "/_localstack/pods?merge=overwrite", state)
    events = {event["service"]: event for event in map(json.loads, body.splitlines())}
    assert status == 201 and sorted(events) == services
    assert {name for name, event in events.items() if event["status"] == "error"} == {"nothing"}
    assert "nothing" in events["nothing"]["message"]
    assert queues(clean) == {"both", "theirs"}


def test_a_save_is_of_one_moment_while_clients_write(clean, source):
    """Each writer sends the same number to two queues, one after the other, and to S3."""
    source.reset()
    sqs, s3 = source.client("sqs"), source.client("s3")
    first, second = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("first", "second"))
    s3.create_bucket(Bucket="numbers")
    stop, sent = threading.Event(), []

    def write():
        number = 0
        while not stop.is_set():
            sqs.send_message(QueueUrl=first, MessageBody=str(number))
            sqs.send_message(QueueUrl=second, MessageBody=str(number))
            s3.put_object(Bucket="numbers", Key="last", Body=str(number).encode())
            number += 1
        sent.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        states = [source.save("s3,sqs") for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert sent[0] > 0
    for state in states:
        clean.load(state, "overwrite")
        counts = [
            int(
                clean.client("sqs").get_queue_attributes(
                    QueueUrl=clean.client("sqs").get_queue_url(QueueName=name)["QueueUrl"],
                    AttributeNames=["ApproximateNumberOfMessages"],
                )["Attributes"]["ApproximateNumberOfMessages"]
            )
            for name in ("first", "second")
        ]
        assert counts[0] - counts[1] in (0, 1)
        if counts[1] > 1:
            last = int(clean.client("s3").get_object(Bucket="numbers", Key="last")["Body"].read())
            assert counts[1] - 1 - last in (0, 1)


def test_keys_of_any_bytes_are_themselves_again(source, clean):
    source.reset()
    s3 = source.client("s3")
    s3.create_bucket(Bucket="odd")
    odd = [chr(code) for code in (*range(1, 128), 0x80, 0xFF, 0x2028, 0xFEFF, 0xFFFD, 0x1F980)]
    keys = {*odd, *(f"a{letter}b" for letter in odd), ".", "..", "a/../b", "a//b", "/", "a/", "%2F"}
    # Two ways to write one letter are two keys.
    keys |= {"\u00e9", "e\u0301", "x" * 1024, "x" * 1023, "\u6f22" * 341}
    for key in sorted(keys):
        # LocalStack itself doesn't take every key, `/` for one.
        with suppress(ClientError):
            s3.put_object(Bucket="odd", Key=key, Body=key.encode())
    listed = s3.get_paginator("list_objects_v2").paginate(Bucket="odd")
    there = [entry["Key"] for page in listed for entry in page["Contents"]]
    assert len(there) > len(keys) - 9
    stored = {key: s3.get_object(Bucket="odd", Key=key)["Body"].read() for key in there}
    state = source.save("s3")
    clean.load(state, "overwrite")
    assert clean.save("s3") == state
    for key, body in stored.items():
        assert clean.client("s3").get_object(Bucket="odd", Key=key)["Body"].read() == body


def test_a_client_that_waits_for_messages_delays_no_save(source):
    source.reset()
    waiting, sent = source.client("sqs"), threading.Event()
    queue = waiting.create_queue(QueueName="empty")["QueueUrl"]
    waiting.meta.events.register("before-send.sqs.ReceiveMessage", lambda **_: sent.set())
    poll = threading.Thread(
        target=waiting.receive_message, kwargs={"QueueUrl": queue, "WaitTimeSeconds": 20}
    )
    poll.start()
    assert sent.wait(10)
    source.client("sqs").list_queues()
    status, headers, _ = source.call("GET", "/_localstack/pods/state?services=sqs")
    assert poll.is_alive(), "the save took as long as the client waited"
    assert status == 200 and headers.get("x-podsync-quiesced") is None
    source.client("sqs").send_message(QueueUrl=queue, MessageBody="ends the wait")
    poll.join(10)
    assert not poll.is_alive()


def test_a_state_of_another_provider_is_refused_for_that_service_alone(clean, incoming):
    clean.client("iam").create_user(UserName="stays")
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(incoming)) as old, zipfile.ZipFile(result, "w") as new:
        for info in old.infolist():
            parts = info.filename.split("/")
            if parts[:2] == ["api_states", "iam"]:
                parts[2] = "elsewhere"
            new.writestr("/".join(parts), old.read(info))
    status, _, body = clean.call("POST", "/_localstack/pods?merge=overwrite", result.getvalue())
    events = {event["service"]: event for event in map(json.loads, body.splitlines())}
    assert status == 201 and events["iam"]["status"] == "error"
    assert "another provider" in events["iam"]["message"] and events["sqs"]["status"] == "ok"
    assert [user["UserName"] for user in clean.client("iam").list_users()["Users"]] == ["stays"]
