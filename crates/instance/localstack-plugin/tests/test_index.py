from collections import defaultdict
from types import SimpleNamespace

import pytest

from podsync_localstack import index, resource_kinds
from podsync_localstack.containers import Scope

HERE = Scope("000000000000", "us-east-1")


def found(service, **attributes):
    return [resource.as_json() for resource in index.resources(service, HERE, attributes)]


def test_an_attribute_that_is_not_known_is_counted_and_never_named():
    (entry,) = found("new-service", attr_things={"a-token": 1, "another": 2})
    assert "name" not in entry and entry["type"] == "things"
    assert entry["counts"] == {"resources": 2}
    assert found("new-service", _own={"x": 1}, attr_empty={}, attr_list=[1]) == []


@pytest.mark.parametrize("place", sorted(resource_kinds.LEFT_OUT))
def test_what_is_kept_by_a_secret_or_repeats_is_left_out(place):
    service, attribute = place
    assert found(service, **{attribute: {"a-token": "x"}}) == []


def test_a_digest_changes_with_the_resource_and_with_nothing_else():
    def digest(**more):
        (entry,) = found("secretsmanager", secrets={"db": {"versions": {"v": "x"}} | more})
        return entry["digest"]

    assert digest() == digest() and digest(rotated=True) != digest()


def test_what_cannot_be_pickled_has_no_digest_and_is_still_named():
    secret = SimpleNamespace(versions=[], worker=(letter for letter in "ab"))
    (entry,) = found("secretsmanager", secrets={"db": secret})
    assert entry["name"] == "db" and "digest" not in entry


def test_defaults_of_an_account_are_nobodys():
    networks = {
        "vpc-1": SimpleNamespace(is_default="true", cidr_block="10.0.0.0/16"),
        "vpc-2": SimpleNamespace(is_default="false", cidr_block="10.1.0.0/16"),
    }
    subnets = defaultdict(
        dict, {"us-east-1a": {"subnet-1": SimpleNamespace(default_for_az="true")}}
    )
    (entry,) = found("ec2", vpcs=networks, subnets=subnets)
    assert (entry["name"], entry["label"]) == ("vpc-2", "10.1.0.0/16")
    own = SimpleNamespace(default_for_az=True, cidr_block="10.1.1.0/24")
    (entry,) = found("ec2", subnets=defaultdict(dict, {None: {"subnet-2": own}}))
    assert entry["name"] == "subnet-2"


def test_the_document_is_bounded_and_says_what_is_not_in_it(monkeypatch):
    monkeypatch.setattr(index, "MOST_RESOURCES", 3)
    users = index.resources("iam", HERE, {"users": {f"u{n}" * 999: {} for n in range(5)}})
    document = index.document(users)
    assert len(document["resources"]) == 3 and document["left_out"] == 2
    assert all(len(entry["name"]) == index.LONGEST_NAME for entry in document["resources"])
    assert document["resources"] == index.document(users[::-1])["resources"]
    assert "left_out" not in index.document(users[:3])
