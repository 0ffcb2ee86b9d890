import itertools
import threading
import time

from podsync_localstack.gate import Gate


def test_closing_waits_for_those_inside_and_keeps_others_out():
    gate = Gate()
    order = []
    entered, go = threading.Event(), threading.Event()

    def first():
        gate.enter("sqs", internal=False)
        entered.set()
        go.wait(5)
        order.append("first")
        gate.leave()

    def second():
        gate.enter("sqs", internal=False)
        order.append("second")
        gate.leave()

    inside = threading.Thread(target=first)
    inside.start()
    entered.wait(5)
    threading.Timer(0.1, go.set).start()
    with gate.closed() as drained:
        outside = threading.Thread(target=second)
        outside.start()
        outside.join(0.2)
        order.append("holder")
    outside.join(5)
    inside.join(5)
    assert drained and order == ["first", "holder", "second"]


def test_the_holder_and_calls_within_a_request_pass():
    gate = Gate()
    with gate.closed(), gate.closed() as drained:
        assert drained and not gate.enter("sqs", internal=True)
    assert gate.enter("sqs", internal=False)
    assert not gate.enter("sqs", internal=True)
    gate.leave()
    with gate.closed() as drained:
        assert drained


def test_internal_calls_of_other_threads_pass_while_the_gate_closes():
    gate = Gate()
    gate.enter("sqs", internal=False)
    done = []

    def finish():
        gate.enter("sqs", internal=True)
        gate.leave()
        done.append(True)

    def close():
        with gate.closed() as drained:
            done.append(drained)

    closer = threading.Thread(target=close)
    closer.start()
    while not gate._closing:
        time.sleep(0.01)
    helper = threading.Thread(target=finish)
    helper.start()
    helper.join(3)
    gate.leave()
    closer.join(5)
    assert done == [True, True]


def test_a_long_poll_holds_nobody_up():
    gate = Gate()
    entered, go = threading.Event(), threading.Event()

    def poll():
        gate.enter("sqs", internal=False, poll=True)
        entered.set()
        go.wait(5)
        gate.leave()

    poller = threading.Thread(target=poll)
    poller.start()
    entered.wait(5)
    with gate.closed() as drained:
        assert drained and poller.is_alive()
    go.set()
    poller.join(5)


def test_a_hold_says_how_long_each_service_was_kept_out(monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    gate = Gate()
    with gate.held() as hold:
        hold.keep_out("lambda")
        with hold.closed("sqs"):
            pass
        assert hold.let_in("sqs") == 1
        assert hold.let_in("lambda") == 3
