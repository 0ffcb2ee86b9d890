import pytest
from localstack.services.sqs.models import SqsStore, StandardQueue
from localstack.services.stores import AccountRegionBundle

from podsync_localstack.containers import Scope, StoreContainer
from podsync_localstack.merging import Strategy, place

HERE = Scope("000000000000", "us-east-1")


@pytest.fixture
def bundle():
    return AccountRegionBundle("sqs", SqsStore)


def load(strategy, bundle, attributes):
    container = StoreContainer(bundle)
    place(strategy, "sqs", [container], [(container, HERE, attributes)]).carry_out()


def test_reading_creates_nothing_that_would_be_saved(bundle):
    store = bundle[HERE.account][HERE.region]
    assert store.queues == {} and store.deleted == {} and store.tags
    assert StoreContainer(bundle).read(HERE) == {}


def test_a_reset_keeps_the_objects_that_providers_hold(bundle):
    store = bundle[HERE.account][HERE.region]
    store.queues["orders"] = "queue"
    StoreContainer(bundle).reset()
    assert bundle[HERE.account][HERE.region] is store and store.queues == {}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ACCOUNT_REGION_MERGE, {"orders": "theirs", "new": "theirs"}),
        (Strategy.SERVICE_MERGE, {"orders": "theirs", "new": "theirs", "own": "mine"}),
    ],
)
def test_what_is_there_after_a_merge(bundle, strategy, expected):
    store = bundle[HERE.account][HERE.region]
    elsewhere = bundle[HERE.account]["eu-central-1"]
    store.queues |= {"orders": "mine", "own": "mine"}
    elsewhere.queues |= {"untouched": "mine"}
    load(strategy, bundle, {"attr_queues": {"orders": "theirs", "new": "theirs"}})
    assert store.queues == expected
    assert elsewhere.queues == {"untouched": "mine"}


def test_merged_resources_are_whole(bundle):
    mine, theirs = (StandardQueue("orders", HERE.region, HERE.account) for _ in range(2))
    mine.tags["mine"] = "1"
    bundle[HERE.account][HERE.region].queues["orders"] = mine
    load(Strategy.SERVICE_MERGE, bundle, {"attr_queues": {"orders": theirs}})
    assert bundle[HERE.account][HERE.region].queues["orders"] is theirs and theirs.tags == {}
