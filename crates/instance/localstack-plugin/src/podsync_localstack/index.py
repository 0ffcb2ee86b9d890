"""What is in a state, as plain JSON: nobody has to unpickle anything to look inside.

Names and counts only. An attribute that isn't listed here is counted and not named, because its
keys could be tokens.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from podsync_localstack.containers import Scope

FORMAT_VERSION = 1


@dataclass(frozen=True, order=True)
class Resource:
    service: str
    account: str
    region: str
    type: str
    # Empty where only the number of resources is told, in counts["resources"].
    name: str
    counts: tuple[tuple[str, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        document = {key: value for key, value in asdict(self).items() if value not in ("", ())}
        if self.counts:
            document["counts"] = dict(self.counts)
        return document


def document(resources: list[Resource]) -> dict[str, Any]:
    # Two services may show one container, and global moto backends exist once a partition.
    return {
        "format_version": FORMAT_VERSION,
        "resources": [resource.as_json() for resource in sorted(set(resources))],
    }


def resources(service: str, scope: Scope, attributes: dict[str, Any]) -> list[Resource]:
    found: list[Resource] = []
    for attribute, value in attributes.items():
        kind = attribute.removeprefix("attr_")
        if not isinstance(value, dict) or not value:
            continue
        named = _NAMED.get((service, kind))
        if named is not None:
            found += [
                Resource(
                    service,
                    scope.account or "",
                    _region(item, scope),
                    named.type,
                    named.name(key, item),
                    counts,
                )
                for key, item in list(value.items())
                if (counts := named.counts(key, item)) is not None
            ]
        elif (service, kind) in _DERIVED:
            continue
        elif not kind.startswith("_"):
            number = (("resources", len(value)),)
            found.append(
                Resource(service, scope.account or "", scope.region or "", kind, "", number)
            )
    return found


def _region(item: Any, scope: Scope) -> str:
    return getattr(item, "bucket_region", None) or scope.region or ""


Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Named:
    type: str
    # None for what comes with every instance and is nobody's resource.
    counts: Callable[[Any, Any], Counts | None] = lambda key, item: ()
    name: Callable[[Any, Any], str] = lambda key, item: str(key)


def _bucket(_: str, bucket: Any) -> Counts:
    versions = bucket.objects.values(with_versions=True)
    return (
        ("bytes", sum(getattr(version, "size", 0) or 0 for version in versions)),
        ("objects", len(bucket.objects.values())),
        ("versions", len(versions)),
    )


def _queue(_: str, queue: Any) -> Counts:
    return (
        ("delayed", queue.approximate_number_of_messages_delayed),
        ("in_flight", queue.approximate_number_of_messages_not_visible),
        ("messages", queue.approximate_number_of_messages),
    )


def _length(name: str, attribute: str) -> Callable[[Any, Any], Counts]:
    def counts(_: Any, item: Any) -> Counts:
        held = item.get(attribute, ()) if isinstance(item, dict) else getattr(item, attribute, ())
        return ((name, len(held)),)

    return counts


def _event_bus(name: str, bus: Any) -> Counts | None:
    rules = len(bus.rules)
    return None if name == "default" and not rules else (("rules", rules),)


def _parameter(name: str, versions: Any) -> Counts | None:
    return None if name.startswith("/aws/service/") else (("versions", len(versions)),)


def _own_name(_: Any, item: Any) -> str:
    """moto keys some maps by a random id; people know the resource by its name."""
    return str(item.name)


def _own_policy(_: str, policy: Any) -> Counts | None:
    return None if ":iam::aws:" in getattr(policy, "arn", "") else ()


def _items(_: str, table: Any) -> Counts:
    return (
        (
            "items",
            len(table.all_items_list()) if hasattr(table, "all_items_list") else _count(table),
        ),
    )


def _count(table: Any) -> int:
    return sum(len(part) if table.has_range_key else 1 for part in table.items.values())


_NAMED: dict[tuple[str, str], _Named] = {
    ("s3", "buckets"): _Named("bucket", _bucket),
    ("sqs", "queues"): _Named("queue", _queue),
    ("sns", "topics"): _Named("topic"),
    ("sns", "subscriptions"): _Named("subscription"),
    ("ssm", "_parameters"): _Named("parameter", _parameter),
    ("ssm", "_documents"): _Named("document"),
    ("secretsmanager", "secrets"): _Named("secret", _length("versions", "versions")),
    ("iam", "users"): _Named("user"),
    ("iam", "roles"): _Named("role", name=_own_name),
    ("iam", "groups"): _Named("group"),
    ("iam", "managed_policies"): _Named("policy", _own_policy),
    ("iam", "instance_profiles"): _Named("instance-profile"),
    ("kms", "keys"): _Named("key"),
    ("kms", "aliases"): _Named("alias"),
    ("dynamodb", "tables"): _Named("table", _items),
    ("dynamodb", "table_definitions"): _Named("table"),
    ("events", "event_buses"): _Named("event-bus", _event_bus),
    ("logs", "groups"): _Named("log-group", _length("streams", "streams")),
    ("cloudwatch", "alarms"): _Named("alarm"),
    ("cloudwatch", "dashboards"): _Named("dashboard"),
    ("cloudformation", "stacks"): _Named("stack"),
    ("cloudformation", "stacks_v2"): _Named("stack"),
    ("lambda", "functions"): _Named("function", _length("versions", "versions")),
    ("stepfunctions", "state_machines"): _Named("state-machine"),
    ("stepfunctions", "executions"): _Named("execution"),
    ("kinesis", "streams"): _Named("stream"),
    ("firehose", "delivery_streams"): _Named("delivery-stream"),
    ("apigateway", "apis"): _Named("rest-api"),
    ("apigateway", "rest_apis"): _Named("rest-api"),
    ("route53", "zones"): _Named("hosted-zone"),
    ("ec2", "vpcs"): _Named("vpc"),
    ("ec2", "subnets"): _Named("subnet"),
    ("ec2", "reservations"): _Named("reservation"),
    ("acm", "_certificates"): _Named("certificate"),
    ("ses", "addresses"): _Named("identity"),
    ("opensearch", "opensearch_domains"): _Named("domain"),
}

# Maps that repeat what a resource says already.
_DERIVED = frozenset({("s3", "global_bucket_map"), ("iam", "aws_managed_policies")})
