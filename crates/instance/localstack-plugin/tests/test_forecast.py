"""What is said about a load before it comes true, and undo takes it back."""

import json
import os

import pytest
import worlds

# One world for each case; `PODSYNC_TEST_WORLDS` may ask for more of them.
WORLDS = int(os.environ.get("PODSYNC_TEST_WORLDS", "1"))
MERGES = ["overwrite", "account-region-merge", "service-merge"]
PARTS = {"all": "", "some": "events,iam,logs,s3,sns,sqs"}
CASES = [
    (merge, part, 6 * world + 3 * number + position)
    for world in range(WORLDS)
    for number, part in enumerate(PARTS)
    for position, merge in enumerate(MERGES)
]


def index(instance):
    status, _, body = instance.call("GET", "/_localstack/pods/index")
    assert status == 200
    resources = json.loads(body)["resources"]
    return {place(resource): resource for resource in resources}


def place(resource):
    parts = ("service", "account", "region", "type", "name")
    return tuple(resource.get(part) for part in parts)


def plan(instance, state, merge):
    status, _, body = instance.call("POST", f"/_localstack/pods/plan?merge={merge}", state)
    assert status == 200, body
    document = json.loads(body)
    assert document["format_version"] == 1 and "failed" not in document
    return document["changes"]


def applied(before, changes):
    after = dict(before)
    for change in changes:
        resource = {name: value for name, value in change.items() if name != "change"}
        was = after.pop(place(resource), None)
        assert (was is None) == (change["change"] == "added"), change
        if change["change"] == "removed":
            assert was == resource
        else:
            after[place(resource)] = resource
    return after


@pytest.mark.parametrize(("merge", "part", "seed"), CASES)
def test_a_load_does_what_the_plan_says_and_undo_takes_it_back(source, target, merge, part, seed):
    for instance, world in ((source, 2 * seed), (target, 2 * seed + 1)):
        instance.reset()
        worlds.fill(instance, world)
    state = source.save(PARTS[part])
    checkpoint, before = target.save(), index(target)
    changes = plan(target, state, merge)
    assert index(target) == before
    target.load(state, merge)
    assert index(target) == applied(before, changes)
    assert plan(target, state, merge) == [], "a second load changes something"
    target.load(checkpoint, "overwrite")
    assert index(target) == before
