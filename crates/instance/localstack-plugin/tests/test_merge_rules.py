"""Every attribute of every store and backend has a rule that somebody chose for it."""

from collections import defaultdict

import pytest
from localstack.services.plugins import SERVICE_PLUGINS
from localstack.services.stores import LocalAttribute

from podsync_localstack import merge_rules
from podsync_localstack.containers import BackendContainer, ServiceState, StoreContainer

# Of one of the two versions, or of a provider that isn't the default one.
ELSEWHERE = {
    ("cloudwatch", "TAGS"),
    ("cloudwatch", "tags"),
    ("dynamodb", "resource_policies"),
    ("events", "event_buses"),
    ("firehose", "TAGS"),
    ("firehose", "tags"),
    ("sts", "assumed_roles"),
    *(("iam", name) for name in merge_rules.RULES["iam"]),
}


def attributes(container):
    """By name, as they are where nothing was done yet."""
    if isinstance(container, BackendContainer):
        backends = container._backends
        region = "us-east-1" if "us-east-1" in backends["000000000000"] else "aws"
        return vars(backends["000000000000"][region])
    descriptors = {}
    for cls in reversed(container._bundle.store.__mro__):
        descriptors |= {
            name: found
            for name, found in vars(cls).items()
            if isinstance(found, LocalAttribute) or type(found).__name__.endswith("Attribute")
        }
    return {
        name: found.default() if callable(found.default) else found.default
        for name, found in descriptors.items()
    }


@pytest.fixture(scope="module")
def found():
    listed = {}
    for service in SERVICE_PLUGINS.list_available():
        for container in ServiceState(SERVICE_PLUGINS.get_service(service)).containers:
            if isinstance(container, BackendContainer | StoreContainer):
                for name, value in attributes(container).items():
                    listed[service, name] = value
    return listed


def test_what_is_no_plain_map_and_no_setting_is_in_the_table(found):
    unlisted = {
        place
        for place, value in found.items()
        if place[1] not in merge_rules.RULES.get(place[0], {})
        and (isinstance(value, defaultdict) or not isinstance(value, dict | str | int | None))
    }
    assert len(found) > 200
    assert unlisted == set()


def test_no_rule_is_of_something_that_is_gone(found):
    listed = {(service, name) for service, rules in merge_rules.RULES.items() for name in rules}
    services = {service for service, _ in found}
    assert {place for place in listed - set(found) if place[0] in services} <= ELSEWHERE
