"""What runs beside the stores: stopped before they change, ended or started again after."""

import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from stories.story import queue_arn, received, until

from podsync_localstack import names, pickling

DATA = Path(__file__).parent / "data"
ROLE = "arn:aws:iam::000000000000:role/any"


@pytest.fixture(autouse=True)
def clean(source, target):
    source.reset()
    target.reset()


def loaded(instance, state, merge="overwrite"):
    """The events of a load, by service."""
    status, _, body = instance.call("POST", f"/_localstack/pods?merge={merge}", state)
    assert status == 201
    return {event["service"]: event for event in map(json.loads, body.splitlines())}


def saved(instance, services=""):
    status, headers, body = instance.call("GET", f"/_localstack/pods/state?services={services}")
    assert status == 200
    told = json.loads(headers.get("x-podsync-under-way", "[]"))
    return body, {(work["service"], work["kind"]): work["count"] for work in told}


def without(state, service, attribute, promised=True):
    """A state whose other stores name what isn't there, and its index too, if it is promised."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(state)) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.startswith(f"api_states/{service}/store/"):
                attributes = pickling.loads(data)
                attributes.pop(f"attr_{attribute}", None)
                data = pickling.dumps(attributes)
            if info.filename == names.INDEX and not promised:
                data = json.dumps({"format_version": 1, "resources": []}).encode()
            new.writestr(info, data)
    return changed.getvalue()


# ---------------------------------------------------------------- event source mappings


def mapped(instance, queue="jobs", window=0):
    """A function, a queue, and a mapping between them."""
    arn = queue_arn(instance.client("sqs"), queue)
    instance.client("lambda").create_function(
        FunctionName="worker",
        Runtime="python3.12",
        Handler="main.handler",
        Role=ROLE,
        Code={"ZipFile": _ZIP},
    )
    more = {"MaximumBatchingWindowInSeconds": window} if window else {}
    made = instance.client("lambda").create_event_source_mapping(
        EventSourceArn=arn, FunctionName="worker", BatchSize=1, **more
    )
    until(lambda: instance.threads("poller_loop") == 1)
    return made["UUID"]


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        # What it is given stays in flight.
        archive.writestr(zipfile.ZipInfo("main.py"), "def handler(event, context): raise KeyError")
    return data.getvalue()


_ZIP = _zip()


def in_flight(instance, queue="jobs"):
    sqs = instance.client("sqs")
    found = sqs.get_queue_attributes(
        QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], AttributeNames=["All"]
    )["Attributes"]
    return int(found["ApproximateNumberOfMessagesNotVisible"])


@pytest.mark.parametrize("merge", ["overwrite", "account-region-merge", "service-merge"])
def test_a_function_finds_the_queue_that_comes_with_it(source, target, merge):
    uuid = mapped(source)
    state = source.save("iam,lambda,s3,sqs,sts")
    for _ in range(2):
        events = loaded(target, state, merge)
        assert {event["status"] for event in events.values()} == {"ok"}, events
        assert until(lambda: target.threads("poller_loop")) == 1
    mappings = target.client("lambda")
    until(lambda: mappings.get_event_source_mapping(UUID=uuid)["State"] == "Enabled")
    sqs = target.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="jobs")["QueueUrl"], MessageBody="1")
    until(lambda: in_flight(target) == 1)
    mappings.update_event_source_mapping(UUID=uuid, Enabled=False)
    until(lambda: mappings.get_event_source_mapping(UUID=uuid)["State"] == "Disabled")
    mappings.delete_event_source_mapping(UUID=uuid)


def test_no_poller_of_what_is_gone_takes_a_message(source, target):
    queue_arn(source.client("sqs"), "jobs")
    state = source.save("sqs")
    mapped(target, window=20)
    assert loaded(target, state)["sqs"]["status"] == "ok"
    assert target.threads("poller_loop") == 0
    sqs = target.client("sqs")
    url = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="mine")
    assert received(sqs, "jobs") == "mine"


@pytest.mark.parametrize("path", ["/_localstack/state/reset", "/_localstack/state/lambda/reset"])
def test_a_reset_ends_the_pollers(target, path):
    mapped(target, window=20)
    assert target.call("POST", path)[0] == 200
    assert target.threads("poller_loop") == 0


def test_a_mapping_to_a_queue_that_is_not_there_is_told_and_waits_for_it(source, target):
    uuid = mapped(source)
    state = source.save("iam,lambda,s3,sts")
    target.client("ssm").put_parameter(Name="/stays", Value="v", Type="String")
    events = loaded(target, state, "account-region-merge")
    assert events["lambda"]["status"] == "error"
    assert uuid in events["lambda"]["message"] and "jobs" in events["lambda"]["message"]
    assert {name for name, event in events.items() if event["status"] != "ok"} == {"lambda"}
    assert target.client("lambda").get_function(FunctionName="worker")
    assert target.client("ssm").get_parameter(Name="/stays")["Parameter"]["Value"] == "v"
    sqs = target.client("sqs")
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="1")
    until(lambda: in_flight(target) == 1)


MERGES = ["overwrite", "account-region-merge", "service-merge"]


@pytest.mark.parametrize("merge", MERGES)
def test_a_mapping_whose_queue_the_state_lost_leaves_the_instance_whole(source, target, merge):
    uuid = mapped(source)
    state = without(source.save("iam,lambda,s3,sqs,sts"), "sqs", "queues", promised=False)
    target.client("sqs").create_queue(QueueName="mine")
    before = target.save()
    _, _, body = target.call("POST", f"/_localstack/pods/plan?merge={merge}", state)
    plan = json.loads(body)
    events = loaded(target, state, merge)
    assert {event["status"] for event in events.values()} == {"error"}
    told = events["lambda"]["message"]
    assert uuid in told and "arn:aws:sqs:us-east-1:000000000000:jobs" in told
    assert plan["changes"] == []
    assert {it["service"]: it["message"] for it in plan["failed"]} == {
        name: event["message"] for name, event in events.items()
    }
    assert target.save() == before


@pytest.mark.parametrize("merge", MERGES)
def test_a_mapping_whose_queue_was_gone_at_the_save_is_loaded_as_it_was(source, target, merge):
    uuid = mapped(source)
    sqs = source.client("sqs")
    sqs.create_queue(QueueName="other")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="jobs")["QueueUrl"])
    events = loaded(target, source.save("iam,lambda,s3,sqs,sts"), merge)
    assert {name for name, event in events.items() if event["status"] != "ok"} == {"lambda"}
    assert uuid in events["lambda"]["message"]
    assert target.client("lambda").get_event_source_mapping(UUID=uuid)["UUID"] == uuid
    assert target.client("sqs").get_queue_url(QueueName="other")


def test_a_load_says_how_long_clients_waited_for_other_services(source, target):
    mapped(source)
    for name, event in loaded(target, source.save()).items():
        # Lambda is kept out from first to last, because its pollers call the others.
        assert 0 <= event["waited_ms"] <= 5000, (name, event)


def test_a_mapping_whose_function_the_state_lacks_is_not_placed(source, target):
    mapped(source)
    state = without(source.save("iam,lambda,s3,sqs,sts"), "lambda", "functions")
    events = loaded(target, state)
    assert "worker" in events["lambda"]["message"]
    assert {event["status"] for event in events.values()} == {"error"}
    assert target.client("lambda").list_event_source_mappings()["EventSourceMappings"] == []


# ---------------------------------------------------------------- consumers and moves


@pytest.mark.parametrize("merge", ["overwrite", "account-region-merge", "service-merge"])
def test_a_consumer_that_waits_through_a_load_gets_what_was_loaded(source, target, merge):
    sqs = source.client("sqs")
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="loaded")
    state = source.save("sqs")
    waiting, sent = target.client("sqs"), threading.Event()
    waiting.create_queue(QueueName="jobs")
    waiting.meta.events.register("before-send.sqs.ReceiveMessage", lambda **_: sent.set())
    got, began = [], time.monotonic()
    consumer = threading.Thread(target=lambda: got.append(received(waiting, "jobs", 30)))
    consumer.start()
    assert sent.wait(10)
    assert loaded(target, state, merge)["sqs"]["status"] == "ok"
    consumer.join(30)
    assert got == ["loaded"]
    print(f"a consumer had its message {time.monotonic() - began:.2f} s after it began to wait")


def moving(instance, messages=30):
    """A task that moves a message each second."""
    sqs = instance.client("sqs")
    dead = queue_arn(sqs, "dead")
    sqs.create_queue(
        QueueName="alive",
        Attributes={
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "1"})
        },
    )
    for number in range(messages):
        sqs.send_message(
            QueueUrl=sqs.get_queue_url(QueueName="dead")["QueueUrl"], MessageBody=str(number)
        )
    handle = sqs.start_message_move_task(
        SourceArn=dead, DestinationArn=queue_arn(sqs, "aside"), MaxNumberOfMessagesPerSecond=1
    )["TaskHandle"]
    return dead, handle


def tasks(instance, arn):
    listed = instance.client("sqs").list_message_move_tasks(SourceArn=arn, MaxResults=10)
    return listed["Results"]


def test_a_task_that_moves_messages_ends_with_a_load_and_blocks_no_other(source, target):
    arn, _ = moving(source)
    state, under_way = saved(source, "sqs")
    assert under_way == {("sqs", "message-move-task"): 1}
    loaded(target, state)
    (task,) = tasks(target, arn)
    assert task["Status"] == "FAILED" and "podsync" in task["FailureReason"]
    assert saved(target, "sqs")[1] == {}
    handle = target.client("sqs").start_message_move_task(
        SourceArn=arn, DestinationArn=arn.replace(":dead", ":aside")
    )
    assert handle["TaskHandle"]
    until(lambda: {task["Status"] for task in tasks(target, arn)} == {"FAILED", "COMPLETED"})


def test_a_task_of_the_instance_goes_on_where_its_queues_stay(source, target):
    source.client("sqs").create_queue(QueueName="other")
    state = source.save("sqs")
    arn, _ = moving(target)
    moved = int(tasks(target, arn)[0]["ApproximateNumberOfMessagesMoved"])
    loaded(target, state, "service-merge")
    until(lambda: int(tasks(target, arn)[0]["ApproximateNumberOfMessagesMoved"]) > moved + 1)
    assert tasks(target, arn)[0]["Status"] == "RUNNING"
    # SQS has workers of its own in functions of that name. One of an earlier task may be ending.
    running = target.threads("_run")
    loaded(target, state)
    until(lambda: target.threads("_run") < running)


# ---------------------------------------------------------------- runs of Step Functions


def waits(kind, activity=""):
    task = {"Type": "Task", "TimeoutSeconds": 900, "End": True}
    return {
        "wait": {"Type": "Wait", "Seconds": 900, "End": True},
        "activity": task | {"Resource": activity},
        "token": task
        | {
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {
                "QueueUrl": "http://sqs.us-east-1.localhost/000000000000/tokens",
                "MessageBody": {"token.$": "$$.Task.Token"},
            },
        },
        "parallel": {
            "Type": "Parallel",
            "End": True,
            "Branches": [
                {"StartAt": "B", "States": {"B": {"Type": "Wait", "Seconds": 900, "End": True}}}
            ],
        },
    }[kind]


def running(instance, kind):
    sfn = instance.client("stepfunctions")
    instance.client("sqs").create_queue(QueueName="tokens")
    activity = sfn.create_activity(name="work")["activityArn"]
    machine = sfn.create_state_machine(
        name=kind,
        roleArn=ROLE,
        definition=json.dumps({"StartAt": "A", "States": {"A": waits(kind, activity)}}),
    )["stateMachineArn"]
    run = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    entered = {"wait": "WaitStateEntered", "parallel": "WaitStateEntered"}.get(
        kind, "ActivityScheduled" if kind == "activity" else "TaskSubmitted"
    )
    until(lambda: entered in {event["type"] for event in history(instance, run)})
    return run


def history(instance, run):
    return instance.client("stepfunctions").get_execution_history(executionArn=run)["events"]


def described(instance, run):
    return instance.client("stepfunctions").describe_execution(executionArn=run)


def token(instance):
    return json.loads(received(instance.client("sqs"), "tokens"))["token"]


KINDS = ["wait", "activity", "token", "parallel"]


def test_a_run_ends_with_a_load_and_says_so(source, target):
    runs = {kind: running(source, kind) for kind in KINDS}
    state, under_way = saved(source, "sqs,stepfunctions")
    assert under_way == {("stepfunctions", "execution"): len(KINDS)}
    loaded(target, state)
    sfn = target.client("stepfunctions")
    for run in runs.values():
        found = described(target, run)
        assert found["status"] == "ABORTED" and "podsync" in found["cause"] and found["stopDate"]
        last = history(target, run)[-1]
        assert last["type"] == "ExecutionAborted"
        assert last["executionAbortedEventDetails"]["cause"] == found["cause"]
        sfn.stop_execution(executionArn=run)
        assert described(target, run)["status"] == "ABORTED"
    given = token(target)
    for answer in (
        lambda: sfn.send_task_success(taskToken=given, output="{}"),
        lambda: sfn.send_task_failure(taskToken=given),
        lambda: sfn.send_task_heartbeat(taskToken=given),
    ):
        with pytest.raises(ClientError) as refused:
            answer()
        assert refused.value.response["Error"]["Code"] in ("InvalidToken", "TaskDoesNotExist")
    assert saved(target, "sqs,stepfunctions")[1] == {}
    assert target.threads("_execution_logic") == 0
    # The source's own went on, and a new run in the target gets the first token of the activity.
    assert {described(source, run)["status"] for run in runs.values()} == {"RUNNING"}
    machine = described(target, runs["activity"])["stateMachineArn"]
    again = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    activity = sfn.list_activities()["activities"][0]["activityArn"]
    work = sfn.get_activity_task(activityArn=activity)
    sfn.send_task_success(taskToken=work["taskToken"], output="{}")
    until(lambda: described(target, again)["status"] == "SUCCEEDED")


def test_a_run_of_the_instance_goes_on_where_it_stays_and_ends_where_it_goes(source, target):
    source.client("stepfunctions").create_activity(name="other")
    state = source.save("stepfunctions")
    run = running(target, "token")
    loaded(target, state, "service-merge")
    assert described(target, run)["status"] == "RUNNING"
    target.client("stepfunctions").send_task_success(taskToken=token(target), output='{"n": 1}')
    until(lambda: described(target, run)["status"] == "SUCCEEDED")
    running(target, "wait")
    running(target, "activity")
    until(lambda: target.threads("_execution_logic") == 2)
    loaded(target, state)
    until(lambda: target.threads("_execution_logic") == 0)


# ---------------------------------------------------------------- mail


def mails(instance):
    _, _, body = instance.call("GET", "/_aws/ses")
    return {message["Subject"] for message in json.loads(body)["messages"]}


def send_mail(instance, subject):
    ses = instance.client("ses")
    ses.verify_email_identity(EmailAddress="a@example.com")
    ses.send_email(
        Source="a@example.com",
        Destination={"ToAddresses": ["b@example.com"]},
        Message={"Subject": {"Data": subject}, "Body": {"Text": {"Data": "text"}}},
    )


@pytest.mark.parametrize(
    ("merge", "after"),
    [
        ("overwrite", {"theirs"}),
        ("account-region-merge", {"theirs", "mine"}),
        ("service-merge", {"theirs", "mine"}),
    ],
)
def test_mail_that_was_sent_is_part_of_the_state(source, target, merge, after):
    send_mail(source, "theirs")
    send_mail(target, "mine")
    assert loaded(target, source.save("ses"), merge)["ses"]["status"] == "ok"
    assert mails(target) == after
    target.reset()
    assert mails(target) == set()


# ---------------------------------------------------------------- states of other formats


def test_a_state_of_format_1_is_still_read(target):
    _, _, about = target.call("GET", "/_localstack/pods/environment")
    version = json.loads(about)["localstack_version"]
    state = (DATA / f"format-1-localstack-{version}.zip").read_bytes()
    events = loaded(target, state)
    assert {event["status"] for event in events.values()} == {"ok"}, events
    assert received(target.client("sqs"), "orders") == "of format 1"
    found = target.client("s3").get_object(Bucket="orders", Key="k")["Body"].read()
    assert found == b"of format 1"
    assert target.client("ssm").get_parameter(Name="/orders")["Parameter"]["Value"] == "of format 1"
    assert target.client("ses").list_identities()["Identities"] == ["orders@example.com"]


# ---------------------------------------------------------------- who waits


def test_requests_to_other_services_go_on_while_a_load_is_under_way(source, target):
    """Prints how long the longest took; what it may be depends on the machine."""
    s3 = source.client("s3")
    s3.create_bucket(Bucket="large")
    for number in range(8):
        s3.put_object(Bucket="large", Key=f"large-{number}", Body=os.urandom(16 << 20))
    for number in range(500):
        s3.put_object(Bucket="large", Key=f"small-{number}", Body=b"x" * 4096)
    queue_arn(source.client("sqs"), "jobs")
    source.client("iam").create_user(UserName="u")
    state = source.save("iam,s3,sqs")
    # The first load of an instance starts services, which takes all of its time.
    loaded(target, state)
    ssm, sqs = target.client("ssm"), target.client("sqs")
    ssm.put_parameter(Name="/p", Value="v", Type="String")
    queue_arn(sqs, "jobs")
    asked = {
        "ssm": lambda: ssm.get_parameter(Name="/p"),
        "sqs": lambda: sqs.list_queues(),
    }
    took = {name: [] for name in asked}
    stop = threading.Event()

    def ask(name):
        while not stop.is_set():
            began = time.monotonic()
            asked[name]()
            took[name].append(time.monotonic() - began)

    asking = [threading.Thread(target=ask, args=[name]) for name in asked]
    for thread in asking:
        thread.start()
    began = time.monotonic()
    events = loaded(target, state, "account-region-merge")
    load = time.monotonic() - began
    stop.set()
    for thread in asking:
        thread.join()
    assert {event["status"] for event in events.values()} == {"ok"}
    assert all(len(times) > 3 for times in took.values())
    for name, times in took.items():
        print(f"{name}: the longest of {len(times)} requests took {max(times) * 1000:.0f} ms")
    print(f"the load of {len(state) >> 20} MiB took {load * 1000:.0f} ms")
    body = target.client("s3").get_object(Bucket="large", Key="large-3")["Body"].read()
    assert len(body) == 16 << 20


def test_a_body_that_cannot_be_written_leaves_everything_as_it_was(source, target):
    s3 = source.client("s3")
    s3.create_bucket(Bucket="blocked")
    s3.put_object(Bucket="blocked", Key="k", Body=os.urandom(1 << 20))
    state = source.save("s3")
    target.client("s3").create_bucket(Bucket="mine")
    target.client("s3").put_object(Bucket="mine", Key="k", Body=b"mine")
    # A file where the bucket's folder would be made.
    (target.home / "s3" / "blocked").write_text("in the way")
    event = loaded(target, state)["s3"]
    assert event["status"] == "error" and "blocked" in event["message"]
    assert target.client("s3").get_object(Bucket="mine", Key="k")["Body"].read() == b"mine"
    (target.home / "s3" / "blocked").unlink()
    assert loaded(target, state)["s3"]["status"] == "ok"
