"""Every service of the runtime is used after a load: what was saved works again.

All of them at once, in two accounts and regions, saved while four clients write.
"""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stories import STORIES
from test_fidelity import ABROAD, HOME, MOVES_BY_ITSELF, at, plain

DOCUMENT = Path(__file__).parents[4] / "docs" / "localstack.md"
BEGIN, END = "<!-- services: made by the behaviour suite -->\n", "<!-- end of services -->\n"
WRITERS = 4


def test_every_service_of_the_runtime_has_a_story():
    from localstack.services.plugins import SERVICE_PLUGINS

    told = {story.services[0] for story in STORIES.values()}
    assert set(SERVICE_PLUGINS.list_available()) == told


def test_the_table_of_services_is_what_the_stories_say():
    by_service = {story.services[0]: story for story in STORIES.values() if story.survives}
    assert by_service.keys() == {story.services[0] for story in STORIES.values()}
    rows = [
        f"| {name} | {story.survives} | {story.ends} | {story.refused} |\n"
        for name, story in sorted(by_service.items())
    ]
    table = "".join(
        [
            "| service | survives | ends | is not saved, or is told |\n",
            "| --- | --- | --- | --- |\n",
            *rows,
        ]
    )
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    held, after = rest.split(END)
    if os.environ.get("PODSYNC_UPDATE"):
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    else:
        assert held.strip() == table.strip(), "PODSYNC_UPDATE=1 writes it"


class World:
    """What was saved of all services, and what is expected of it."""

    def __init__(self, source):
        self.told = []
        for place, name in itertools.product((HOME, ABROAD), sorted(STORIES)):
            if place == HOME or STORIES[name].everywhere:
                self.told.append((name, place, STORIES[name]()))
        for _, place, story in self.told:
            story.fill(at(place, source))
        self.port = str(source.port)
        self.expected = [self._seen(source, place, story) for _, place, story in self.told]
        self.state = self._save_while_clients_write(source)

    def _save_while_clients_write(self, source):
        stop = threading.Event()

        def write(number):
            client, count = source.client("sqs", "999988887777", "eu-west-1"), 0
            urls = [
                client.create_queue(QueueName=f"{word}-{number}")["QueueUrl"]
                for word in ("first", "second")
            ]
            while not stop.is_set():
                for url in urls:
                    client.send_message(QueueUrl=url, MessageBody=str(count))
                count += 1

        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [pool.submit(write, number) for number in range(WRITERS)]
            try:
                return source.save()
            finally:
                stop.set()
                for writer in writing:
                    writer.result()

    def _seen(self, instance, place, story):
        return plain((self.port, str(instance.port)), story.look(at(place, instance)))

    def must_look_the_same(self, target):
        for (name, place, story), before in zip(self.told, self.expected, strict=True):
            if name not in MOVES_BY_ITSELF:
                assert self._seen(target, place, story) == before, (name, place)

    def must_work(self, target, by_the_clock=False):
        """A writer's two queues are of one moment, and what is there does what it is for."""
        if not by_the_clock:
            target.pass_a_minute()
        sqs = target.client("sqs", "999988887777", "eu-west-1")
        for number in range(WRITERS):
            first, second = (messages(sqs, f"{word}-{number}") for word in ("first", "second"))
            assert first - second in (0, 1), (number, first, second)
        with ThreadPoolExecutor(8) as pool:
            working = {
                pool.submit(story.work, at(place, target)): (name, place)
                for name, place, story in self.told
            }
            failed = {working[it]: it.exception() for it in working if it.exception()}
        assert failed == {}


def messages(sqs, name):
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        return 0
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture(scope="module")
def world(source):
    source.reset()
    return World(source)


def test_all_of_it_works_in_a_fresh_instance(world, start):
    fresh = start()
    fresh.load(world.state, "overwrite")
    world.must_look_the_same(fresh)
    # Here what is due each minute fires by itself.
    world.must_work(fresh, by_the_clock=True)


def test_all_of_it_works_in_an_instance_that_had_the_same_and_more(world, target):
    target.reset()
    for name, place, story in world.told:
        if name not in ("support", "swf"):
            type(story)().fill(at(place, target))
    target.client("sqs", "222233334444").create_queue(QueueName="mine")
    target.load(world.state, "account-region-merge")
    world.must_work(target)
    assert target.client("sqs", "222233334444").get_queue_url(QueueName="mine")


def test_all_of_it_works_after_two_loads(world, target):
    target.reset()
    target.load(world.state, "overwrite")
    target.load(world.state, "service-merge")
    world.must_work(target)


def test_all_of_it_works_after_it_was_put_back(world, target):
    """As `undo` does: a checkpoint is loaded over whatever came."""
    target.reset()
    target.load(world.state, "overwrite")
    checkpoint = target.save()
    other = target.client("sqs", "222233334444")
    target.reset()
    other.create_queue(QueueName="other")
    target.load(checkpoint, "overwrite")
    assert other.list_queues().get("QueueUrls") is None
    world.must_work(target)
