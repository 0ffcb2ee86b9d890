"""Saved, loaded into another instance, and the same: each service by itself, and all at once."""

import io
import json
import zipfile
from typing import Any

import pytest
from stories import STORIES, others

# The others are in the behaviour suite, all at once.
ALONE = {name for name, story in STORIES.items() if story.__module__ != others.__name__}


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_service_survives(name, source, target):
    story = STORIES[name]()
    source.reset()
    target.reset()
    story.fill(source.client)
    ports = str(source.port), str(target.port)
    expected = plain(ports, story.look(source.client))

    services = ",".join(story.services)
    state = source.save(services)
    assert source.save(services) == state, "saved twice without a change, and not the same"
    target.load(state, "overwrite")
    changed = {member for member, _ in members(state) ^ members(target.save(services))}
    assert changed <= story.renewed, "saved again after a load, and not the same"

    assert plain(ports, story.look(target.client)) == expected
    story.work(target.client)


HOME, ABROAD = ("000000000000", "us-east-1"), ("111122223333", "eu-central-1")

# What an instance does by itself at times of its own, so that two looks at it differ.
MOVES_BY_ITSELF = {"queues", "sqs"}


def test_everything_survives_in_an_instance_that_was_just_started(source, start):
    """All services at once, each in another account and region as well."""
    source.reset()
    fresh = start()
    home, abroad = HOME, ABROAD
    told = []
    for place in (home, abroad):
        for name in sorted(ALONE - MOVES_BY_ITSELF):
            if not STORIES[name].everywhere and place != home:
                continue
            told.append((name, STORIES[name](), at(place, source), at(place, fresh)))
            told[-1][1].fill(told[-1][2])
    ports = str(source.port), str(fresh.port)
    expected = [plain(ports, story.look(here)) for _, story, here, _ in told]

    state = source.save()
    assert source.save() == state
    fresh.load(state, "overwrite")
    changed = {member for member, _ in members(state) ^ members(fresh.save())}
    renewed = {
        again.replace(home[0], place[0]).replace(home[1], place[1])
        for _, story, _, _ in told
        for again in story.renewed
        for place in (home, abroad)
    }
    assert changed <= renewed
    for (name, story, _, there), before in zip(told, expected, strict=True):
        assert plain(ports, story.look(there)) == before, name


def at(place: tuple[str, str], instance: Any) -> Any:
    """Clients for one account and region, where a story doesn't name another."""
    return lambda service, *other: instance.client(service, *(other or place))


def plain(ports: tuple[str, ...], seen: Any) -> str:
    """Without the addresses of instances; some resources remember the one they were made in."""
    text = json.dumps(seen, sort_keys=True, default=repr, indent=1)
    for port in ports:
        text = text.replace(f":{port}", ":PORT")
    return text


def members(state: bytes) -> set[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(state)) as archive:
        return {(name, archive.read(name)) for name in archive.namelist()}
