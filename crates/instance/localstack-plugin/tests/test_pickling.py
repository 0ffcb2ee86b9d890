import functools
import importlib
import operator
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import defaultdict

import localstack.services.plugins
import localstack.utils.run
import moto.ssm.models
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from localstack.aws.api.sqs import QueueAttributeName
from localstack.services.sqs.models import sqs_stores
from moto.ec2.models.security_groups import SecurityGroup
from moto.logs.models import LogEvent
from moto.ssm.models import ParameterDict, ssm_backends

from podsync_localstack import nameable, pickling
from podsync_localstack.nameable import NotNameable


def again(value):
    return pickling.loads(pickling.dumps(value))


def test_sets_come_out_the_same_in_every_process():
    program = (
        "import sys; from podsync_localstack import pickling;"
        "sys.stdout.buffer.write(pickling.dumps([{'a','b','c',('d',1),b'e'}, frozenset('xyz')]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert pickling.loads(outputs.pop()) == [{"a", "b", "c", ("d", 1), b"e"}, frozenset("xyz")]


def test_it_makes_no_difference_which_equal_strings_are_one_object():
    one = "".join(["a", "b"])
    assert pickling.dumps([one, one]) == pickling.dumps([one, "".join(["a", "b"])])


def test_pickling_what_was_unpickled_changes_nothing():
    value = {"q": {"name": "orders", "kinds": {"x", "y"}}, "n": [1.5, None, b"x", ("a", "b")]}
    assert pickling.dumps(again(value)) == pickling.dumps(value)


def test_a_key_that_equals_a_name_stays_what_it_is():
    attributes = [{name: {"at": at} for name in ("Policy", "KmsMasterKeyId")} for at in range(3)]
    attributes.append({QueueAttributeName.Policy: True, QueueAttributeName.KmsMasterKeyId: 1})
    restored = again(attributes)
    assert restored == attributes
    assert {type(name) for name in restored[-1]} == {QueueAttributeName}
    assert [type(value) for value in restored[-1].values()] == [bool, int]


def test_objects_of_one_class_keep_what_each_has():
    def event(**held):
        made = LogEvent.__new__(LogEvent)
        vars(made).update(held)
        return made

    shared = {"zone": "a"}
    events = [event(text="one", tags=shared, size=1), event(text="two", tags=shared, size=None)]
    events += [event(text="x" * 300, tags={}, size=1.5), event(size=True, text=b"one")]
    restored = again(events)
    assert [vars(it) for it in restored] == [vars(it) for it in events]
    assert restored[0].tags is restored[1].tags and restored[3].size is True
    assert pickling.dumps(restored) == pickling.dumps(events)


def test_locks_are_new_and_shared_ones_stay_shared():
    lock = threading.RLock()
    lock.acquire()
    restored = again([lock, threading.Condition(lock), threading.Lock(), threading.Event()])
    assert restored[1]._lock is restored[0]
    worker = threading.Thread(target=restored[0].acquire)
    worker.start()
    worker.join(5)
    assert not worker.is_alive()


def test_an_event_keeps_whether_it_is_set():
    event = threading.Event()
    event.set()
    assert again(event).is_set() and not again(threading.Event()).is_set()


def test_queues_keep_their_items_in_order():
    waiting = queue.PriorityQueue(7)
    for item in (3, 1, 2):
        waiting.put(item)
    restored = again(waiting)
    assert restored.maxsize == 7 and [restored.get(timeout=1) for _ in range(3)] == [1, 2, 3]


def test_threads_stay_behind():
    assert again({"worker": threading.Thread()}) == {"worker": None}


def test_keys_are_the_same_keys():
    key = ec.generate_private_key(ec.SECP256R1())
    plain = (
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    assert again(key).private_bytes(*plain) == key.private_bytes(*plain)
    assert again(key.public_key()) == key.public_key()


def test_defaultdicts_with_constructors_of_their_own():
    parameters = ParameterDict("000000000000", "us-east-1")
    parameters["/orders/limit"].append("one")
    restored = again(parameters)
    assert type(restored) is ParameterDict and dict(restored) == dict(parameters)
    assert vars(restored) == vars(parameters)


def test_a_container_inside_of_the_state_is_the_live_one():
    backend = ssm_backends["000000000000"]["us-east-1"]
    store = sqs_stores["000000000000"]["us-east-1"]
    assert again({"backend": backend, "store": store}) == {"backend": backend, "store": store}


def test_an_object_in_a_set_may_lead_back_to_the_set():
    node, other = LogEvent.__new__(LogEvent), LogEvent.__new__(LogEvent)
    vars(node)["peers"] = {node, other}
    restored = again([node])
    assert restored[0] in restored[0].peers


def test_a_default_is_a_place_in_the_source_and_no_code():
    tags = ssm_backends["000000000000"]["us-east-1"]._resource_tags
    data = pickling.dumps(tags)
    assert b"_restore_lambda" in data and b"co_code" not in data and b"/" not in data
    restored = pickling.loads(data)
    assert restored["Parameter"] == {} and type(restored["Parameter"]) is defaultdict
    assert pickling.dumps(tags) == data


class Reduced:
    """Pickles as a call, the way every attack does."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Reduced(os.system, "true"),
        Reduced(subprocess.Popen, ["true"]),
        Reduced(eval, "1"),
        Reduced(getattr, "", "join"),
        Reduced(__import__, "os"),
        Reduced(type, "C", (), {}),
        Reduced(importlib.import_module, "os"),
        Reduced(operator.attrgetter("real"), 1),
        Reduced(functools.partial(print, 1)),
        # What the modules of resources hold, import, or run.
        Reduced(localstack.utils.run.run, "true"),
        Reduced(localstack.utils.run.ShellCommandThread, "true"),
        Reduced(localstack.services.plugins.eager_load_services),
        Reduced(moto.ssm.models.ParameterDict._load_latest_amis, None),
    ],
    ids=lambda call: getattr(call.call[0], "__qualname__", "object"),
)
def test_a_pickle_that_calls_something_else_is_refused_before_the_call(call):
    data = pickle.dumps({"attr_queues": [call]}, 4)
    with pytest.raises(NotNameable):
        pickling.loads(data)
    with pytest.raises(NotNameable):
        pickling.dumps(call)


@pytest.mark.parametrize(
    "name",
    [
        ("moto.ssm.models", "json.dumps"),
        ("moto.ssm.models", "ParameterDict._load_latest_amis"),
        ("moto.ssm.models", "ParameterDict.__init__.__globals__"),
        ("moto.ssm.models", "defaultdict"),
        ("moto.ssm.models", "nothing"),
        ("localstack.services.s3.models", "threading.Thread"),
        ("localstack.services.infra", "os.system"),
        ("podsync_localstack.reducers", "nameable"),
        ("podsync_localstack.loading", "PreparedLoad"),
        ("localstack.services", ""),
        ("moto.", ""),
    ],
    ids="-".join,
)
def test_names_that_lead_out_of_a_module_lead_nowhere(name):
    with pytest.raises((NotNameable, ImportError)):
        nameable.find(*name)


def test_only_defaults_without_arguments_are_lambdas_of_a_state():
    default = ssm_backends["000000000000"]["us-east-1"]._resource_tags.default_factory
    module, qualname, position = nameable.place_of(default)
    assert position == 0
    for place in (
        (module, qualname, 1),
        (module, qualname, -1),
        (module, "SimpleSystemManagerBackend.__init__", 0),
        ("os", "system", 0),
    ):
        with pytest.raises(NotNameable):
            nameable.lambda_of(*place)
    bound = 7
    for function in (lambda: 7, lambda: bound, lambda argument: argument):
        with pytest.raises(NotNameable):
            pickling.dumps(function)


def test_of_methods_a_resource_may_hold_its_filters():
    group = SecurityGroup.__new__(SecurityGroup)
    group.filters = {"group-id": group.filter_group_id}
    restored = again(group)
    assert restored.filters["group-id"].__self__ is restored
    for holder, name in ((group, "delete"), ("text", "filter_"), (group, "filters")):
        with pytest.raises(NotNameable):
            nameable.method_of(holder, name)


def test_a_live_container_is_one_of_stores_or_backends():
    for module, name in (("os", "environ"), ("moto.ssm.models", "ssm_parameter_path")):
        with pytest.raises((NotNameable, AttributeError)):
            pickling.loads(pickle.dumps(Reduced(pickling._live, module, name, "a", "b"), 4))
