"""What is said about a load before it comes true, and undo takes it back."""

import io
import json
import os
import zipfile

import pytest
import worlds

from podsync_localstack import resource_kinds

# One world for each case; `PODSYNC_TEST_WORLDS` may ask for more of them.
WORLDS = int(os.environ.get("PODSYNC_TEST_WORLDS", "1"))
MERGES = ["overwrite", "account-region-merge", "service-merge"]
PARTS = {"all": "", "some": "ec2,events,iam,logs,s3,sns,sqs"}
# The state is of an even world, and lands in an odd one.
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


@pytest.fixture(scope="module")
def state_of(source):
    """The state of a world, or of some services in it; each world is made once."""
    made = {}

    def state(world, services):
        if world not in made:
            source.reset()
            worlds.fill(source, world, full=True)
            made[world] = {part: source.save(part) for part in PARTS.values()}
        return made[world][services]

    return state


def test_a_world_has_every_kind_of_resource_that_an_index_names(state_of):
    with zipfile.ZipFile(io.BytesIO(state_of(0, ""))) as archive:
        listed = json.loads(archive.read("podsync/index.json"))["resources"]
    made = {(resource["service"], resource["type"]) for resource in listed if "name" in resource}
    kinds = {
        (service, kind.type)
        for (service, _), of_attribute in resource_kinds.KINDS.items()
        for kind in of_attribute
    }
    assert kinds - made == set()


@pytest.mark.parametrize(("merge", "part", "seed"), CASES)
def test_a_load_does_what_the_plan_says_and_undo_takes_it_back(state_of, target, merge, part, seed):
    state = state_of(2 * (seed // 6), PARTS[part])
    target.reset()
    worlds.fill(target, 2 * seed + 1)
    checkpoint, before = target.save(), index(target)
    changes = plan(target, state, merge)
    assert index(target) == before
    target.load(state, merge)
    assert index(target) == applied(before, changes)
    assert plan(target, state, merge) == [], "a second load changes something"
    target.load(checkpoint, "overwrite")
    assert index(target) == before


def test_bodies_may_be_left_out_of_a_plan(state_of, target):
    state = state_of(0, "")
    target.reset()
    stores = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(state)) as old, zipfile.ZipFile(stores, "w") as new:
        for name in old.namelist():
            if not name.startswith("assets/"):
                new.writestr(name, old.read(name))
    whole = plan(target, state, "service-merge")
    assert plan(target, stores.getvalue(), "service-merge&assets=omitted") == whole


def test_a_load_that_fails_half_way_does_what_the_plan_says_up_to_there(state_of, target):
    target.reset()
    worlds.fill(target, 3)
    with zipfile.ZipFile(io.BytesIO(state_of(0, PARTS["some"]))) as old:
        target_zip = io.BytesIO()
        with zipfile.ZipFile(target_zip, "w") as new:
            for name in old.namelist():
                broken = name.startswith("api_states/logs/")
                new.writestr(name, b"\x80\x04." if broken else old.read(name))
    state, before = target_zip.getvalue(), index(target)
    _, _, body = target.call("POST", "/_localstack/pods/plan?merge=service-merge", state)
    document = json.loads(body)
    assert [failed["service"] for failed in document["failed"]] == ["logs"]
    status, _, body = target.call("POST", "/_localstack/pods?merge=service-merge", state)
    events = {event["service"]: event["status"] for event in map(json.loads, body.splitlines())}
    assert status == 201
    assert {name for name, status in events.items() if status == "error"} == {"logs"}
    assert index(target) == applied(before, document["changes"])
