import queue
import subprocess
import sys
import threading
from collections import defaultdict

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from localstack.services.sqs.models import sqs_stores
from moto.ssm.models import ParameterDict, ssm_backends

from podsync_localstack import pickling


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
            env={"PYTHONHASHSEED": seed},
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
    plain = defaultdict(lambda: 7)
    assert again(plain)["missing"] == 7


def test_a_container_inside_of_the_state_is_the_live_one():
    backend = ssm_backends["000000000000"]["us-east-1"]
    store = sqs_stores["000000000000"]["us-east-1"]
    assert again({"backend": backend, "store": store}) == {"backend": backend, "store": store}


def test_an_object_in_a_set_may_lead_back_to_the_set():
    class Node:
        pass

    node = Node()
    node.peers = {node, Node()}
    restored = again([node])
    assert restored[0] in restored[0].peers
