"""What comes in is hostile: bodies that aren't states, states that are made to harm."""

import io
import json
import os
import pickle
import struct
import zipfile

import pytest

from podsync_localstack import archive, loading, pickling
from podsync_localstack.archive import ArchiveReader, BrokenArchive
from podsync_localstack.merging import Strategy


def zipped(members, compression=zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as written:
        for name, data in members:
            written.writestr(name, data)
    return target.getvalue()


def refused(body: bytes) -> str:
    with pytest.raises(BrokenArchive) as caught:
        loading.PreparedLoad(io.BytesIO(body), Strategy.OVERWRITE)
    return str(caught.value)


def test_nothing_grows_when_it_is_opened():
    bomb = zipped([("api_states/sqs/a", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 12 and "compressed" in refused(bomb)
    # The same bytes for a hundred members: the directory says so, and nothing has to be inflated.
    one = zipped([("a", b"x" * 10_000)])
    start = one.index(b"PK\x01\x02")
    entry = one[start : one.index(b"PK\x05\x06")]
    directory = b"".join(entry[:-1] + bytes([33 + n]) for n in range(90))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 90, 90, len(directory), start, 0)
    assert "overlap" in refused(one[:start] + directory + end)


def test_more_members_than_a_version_may_have_are_refused(monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    ArchiveReader(io.BytesIO(zipped([(str(n), b"") for n in range(3)])))
    assert "4 members" in refused(zipped([(str(n), b"") for n in range(4)]))


def test_metadata_that_is_no_metadata_is_refused(monkeypatch):
    for text in (b"[]", b"{", b"\xff", b"[" * 100_000):
        assert "podsync/metadata.json" in refused(zipped([("podsync/metadata.json", text)]))
    monkeypatch.setattr(loading, "METADATA_BYTES", 10)
    assert "longer" in refused(zipped([("podsync/metadata.json", b"{" + b" " * 10 + b"}")]))


@pytest.mark.parametrize("services", [None, "sqs", {"sqs": 1}, [1], ["sqs", None]])
def test_services_that_are_no_list_of_names_are_refused(services, source):
    state = changed(source.save("sqs"), {"services": services})
    status, _, answer = source.call("POST", "/_localstack/pods", state)
    assert status == 400 and "services" in json.loads(answer)["error"]["message"]


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_calls_the_system_changes_neither_service_nor_disk(source, tmp_path):
    source.reset()
    source.client("sqs").create_queue(QueueName="mine")
    source.client("ssm").put_parameter(Name="/a", Value="b", Type="String")
    state = source.save()
    made = tmp_path / "made"
    harm = pickle.dumps({"attr_queues": Touch(str(made))}, 4)
    harmful = replaced(state, lambda name, data: harm if "/sqs/" in name else data)
    status, _, body = source.call("POST", "/_localstack/pods?merge=overwrite", harmful)
    events = {event["service"]: event for event in map(json.loads, body.splitlines())}
    assert status == 201
    assert events["sqs"]["status"] == "error" and "posix.mkdir" in events["sqs"]["message"]
    assert events["ssm"]["status"] == "ok"
    assert not made.exists()
    assert source.save() == state


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x05}\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xff" * 99,
    ],
    ids=["empty", "cut", "nothing", "a frame of exabytes", "noise"],
)
def test_a_broken_pickle_leaves_its_service_whole(source, data):
    source.reset()
    source.client("sqs").create_queue(QueueName="mine")
    state = source.save("sqs")
    broken = replaced(state, lambda name, old: data if name.endswith(".state") else old)
    status, _, body = source.call("POST", "/_localstack/pods?merge=overwrite", broken)
    (event,) = map(json.loads, body.splitlines())
    assert status == 201 and event["service"] == "sqs" and event["status"] == "error"
    assert source.save("sqs") == state


@pytest.mark.parametrize(
    "path",
    ["universal/x", "accounts/1/regions", "accounts/%2E%2E/regions/us-east-1/more", "x"],
)
def test_a_member_that_names_no_scope_leaves_its_service_whole(source, path):
    source.reset()
    source.client("sqs").create_queue(QueueName="mine")
    state = source.save("sqs")
    extra = f"api_states/sqs/store/sqs/{path}.state"
    with zipfile.ZipFile(io.BytesIO(state)) as old:
        odd = zipped([(extra, b"")] + [(name, old.read(name)) for name in old.namelist()])
    status, _, body = source.call("POST", "/_localstack/pods?merge=overwrite", odd)
    (event,) = map(json.loads, body.splitlines())
    assert status == 201 and event["status"] == "error"
    assert source.save("sqs") == state


def changed(state: bytes, metadata: dict) -> bytes:
    def change(name, data):
        return json.dumps(json.loads(data) | metadata).encode() if "metadata" in name else data

    return replaced(state, change)


def replaced(state: bytes, change) -> bytes:
    with zipfile.ZipFile(io.BytesIO(state)) as old:
        changed = ((name, change(name, old.read(name))) for name in old.namelist())
        return zipped([(name, data) for name, data in changed if data is not None])


@pytest.fixture
def cut(source):
    """A state that was changed is refused, by a load and by its plan, and changes nothing."""
    source.reset()
    source.client("sqs").create_queue(QueueName="jobs")
    source.client("s3").create_bucket(Bucket="held")
    for key in ("there", "not there"):
        source.client("s3").put_object(Bucket="held", Key=key, Body=b"body")
    topic = source.client("sns").create_topic(Name="orders")["TopicArn"]
    source.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:jobs"
    )
    state = source.save("s3,sns,sqs")
    source.reset()
    source.client("sqs").create_queue(QueueName="mine")
    before = source.save()

    def refused(service, told, merge, change):
        changed = replaced(state, change)
        _, _, body = source.call("POST", f"/_localstack/pods/plan?merge={merge}", changed)
        plan = json.loads(body)
        assert plan["changes"] == []
        status, _, body = source.call("POST", f"/_localstack/pods?merge={merge}", changed)
        events = {event["service"]: event for event in map(json.loads, body.splitlines())}
        assert status == 201 and {event["status"] for event in events.values()} == {"error"}
        assert events.keys() == {"s3", "sns", "sqs"}
        assert told in events[service]["message"]
        assert {it["service"]: it["message"] for it in plan["failed"]} == {
            name: event["message"] for name, event in events.items()
        }
        assert source.save() == before

    return refused


def without(service, attribute):
    def change(name, data):
        if name == "podsync/index.json":
            return json.dumps({"format_version": 1, "resources": []}).encode()
        if name.startswith(f"api_states/{service}/store/"):
            held = pickling.loads(data)
            held.pop(attribute, None)
            return pickling.dumps(held)
        return data

    return change


MERGES = ["overwrite", "account-region-merge", "service-merge"]


@pytest.mark.parametrize("merge", MERGES)
def test_an_index_that_promises_more_leaves_the_instance_whole(cut, merge):
    def promise(name, data):
        if name != "podsync/index.json":
            return data
        document = json.loads(data)
        (queue,) = (it for it in document["resources"] if it["service"] == "sqs")
        document["resources"].append(queue | {"name": "promised"})
        return json.dumps(document).encode()

    cut("sqs", "promised", merge, promise)


@pytest.mark.parametrize("merge", MERGES)
def test_objects_without_their_bodies_leave_the_instance_whole(cut, merge):
    cut("s3", "s3://held/not there", merge, lambda name, data: data if "%20" not in name else None)


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize(
    ("service", "attribute", "told"),
    [
        ("sns", "attr_subscriptions", "the topic arn:aws:sns:us-east-1:000000000000:orders names"),
        ("s3", "buckets", "names held"),
    ],
)
def test_a_store_that_names_what_is_not_there_leaves_the_instance_whole(
    cut, merge, service, attribute, told
):
    cut(service, told, merge, without(service, attribute))
