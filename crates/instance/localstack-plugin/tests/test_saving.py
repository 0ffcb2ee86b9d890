import io
import json
import sqlite3
import time
import zipfile
from types import SimpleNamespace

from localstack.services.plugins import ServiceLifecycleHook

from podsync_localstack import cloudwatch_metrics, outside, pickling, saving
from podsync_localstack.containers import Scope

HERE = Scope("000000000000", "us-east-1")


class Container:
    kind, name = "store", "orders"

    def __init__(self, attributes):
        self.attributes = attributes

    def read(self, scope):
        return self.attributes


def test_an_object_that_cannot_be_pickled_is_named_and_the_rest_is_saved():
    unpicklable = (number for number in range(3))
    attributes = {
        "attr_queues": {"good": 1, "bad": unpicklable},
        "attr_worker": unpicklable,
        "attr_limit": 7,
    }
    data, failed = saving._pickle_scope("orders", Container(attributes), HERE)
    assert pickling.loads(data) == {"attr_queues": {"good": 1}, "attr_limit": 7}
    assert {failure.object for failure in failed} == {"queues/bad", "worker"}
    assert {(failure.service, *failure.as_json()["account"].split()) for failure in failed} == {
        ("orders", "000000000000")
    }


def test_a_service_that_cannot_be_saved_is_named_and_the_others_are_saved(monkeypatch):
    class Service:
        lifecycle_hook = ServiceLifecycleHook()
        _provider = None

        def __init__(self, name):
            self._name = name

        def name(self):
            return self._name

        def accept_state_visitor(self, visitor):
            if self._name == "bad":
                raise RuntimeError("out of order")

    active = SimpleNamespace(list_active_services=lambda: ["good", "bad", "better"])
    monkeypatch.setattr(saving, "SERVICE_PLUGINS", active)
    monkeypatch.setattr(saving, "running", Service)
    target = io.BytesIO()
    report = saving.save([], target)
    assert report.services == ["better", "good"]
    (failure,) = report.failed
    assert failure.as_json() == {"service": "bad", "reason": "RuntimeError: out of order"}
    with zipfile.ZipFile(target) as archive:
        metadata = json.loads(archive.read("podsync/metadata.json"))
    assert metadata["services"] == ["better", "good"]
    assert metadata["failed"] == [failure.as_json()]


def test_nothing_is_saved_of_an_empty_scope():
    assert saving._pickle_scope("orders", Container({}), HERE) == (None, [])


def test_what_localstack_measures_of_itself_makes_no_difference(tmp_path):
    def database(name, namespaces):
        path = tmp_path / name
        with sqlite3.connect(path) as connection:
            for table in ("SINGLE_METRICS", "AGGREGATED_METRICS"):
                connection.execute(f"CREATE TABLE {table} (namespace TEXT, value NUMERIC)")
                for namespace in namespaces:
                    connection.execute(
                        f"INSERT INTO {table} VALUES (?, ?)", (namespace, time.time_ns())
                    )
        return path

    def content(path):
        file, size = cloudwatch_metrics.without_own(path)
        with file:
            data = file.read()
        assert len(data) == size
        return data

    busy = database("busy", ["AWS/SQS"] * 500)
    assert content(busy) == content(database("idle", []))
    assert content(database("used", ["AWS/SQS", "shop"])) != content(busy)


def test_what_lies_in_another_program_is_named():
    def served_by(module):
        provider = type("Provider", (), {"__module__": module})()
        return SimpleNamespace(_provider=provider)

    for name in ("dynamodb", "kinesis", "opensearch"):
        assert outside.not_saved(name, served_by(f"localstack.services.{name}.provider"))
        assert outside.not_saved(name, served_by(f"localstack.aws.api.{name}")) is None
    assert outside.not_saved("sqs", served_by("localstack.services.sqs.provider")) is None
