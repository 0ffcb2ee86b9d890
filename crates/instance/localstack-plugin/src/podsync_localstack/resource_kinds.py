"""Which attributes of which services are resources, and how each is called.

The keys are the names of attributes inside of LocalStack and moto. A name is unique among the
resources of its service, account, region and type; a label is what people call it where that is
another word. Neither is ever a value.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Counts = tuple[tuple[str, int], ...]
Each = Callable[[Mapping[Any, Any]], Iterator[tuple[str, Any]]]


def _by_key(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in held.items():
        yield str(key), item


@dataclass(frozen=True)
class Kind:
    type: str
    # The resources of an attribute, by name.
    each: Each = _by_key
    counts: Callable[[Any], Counts] = lambda item: ()
    label: Callable[[Any], str] = lambda item: ""
    # What changes with the resource, where that is less to read than all of it.
    essence: Callable[[Any], Any] = lambda item: item
    # What comes with every instance and is nobody's resource.
    skip: Callable[[str, Any], bool] = lambda name, item: False


def _after(mark: str) -> Each:
    """Of resources kept by ARN: the part that is their own."""

    def each(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        for arn, item in held.items():
            yield str(arn).split(mark, 1)[-1], item

    return each


def _after_account(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for arn, item in held.items():
        yield str(arn).split(":", 5)[-1], item


def _within(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Of maps in a map, by zone or network."""
    for inner in held.values():
        yield from _by_key(inner)


def _own(attribute: str) -> Callable[[Any], str]:
    return lambda item: str(getattr(item, attribute, None) or "")


def _named(attribute: str = "name") -> Each:
    def each(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        for item in held.values():
            yield str(getattr(item, attribute)), item

    return each


def _is_default(name: str, item: Any) -> bool:
    flags = ("is_default", "default_for_az", "default", "main_association_id")
    return any(getattr(item, flag, None) not in (None, False, "", "false") for flag in flags)


_OF_DEFAULT_NETWORKS = "172.31."


def _is_default_subnet(name: str, item: Any) -> bool:
    """moto says it of the first subnet that is made by the id of a zone, too, wherever it lies."""
    block = str(getattr(item, "cidr_block", _OF_DEFAULT_NETWORKS))
    return _is_default(name, item) and block.startswith(_OF_DEFAULT_NETWORKS)


def _children(attribute: str) -> Each:
    """Of resources that lie inside of another, by both names."""

    def each(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        for parent, holder in held.items():
            for name, item in getattr(holder, attribute).items():
                yield f"{parent}/{name}", item

    return each


def _length(name: str, attribute: str) -> Callable[[Any], Counts]:
    def counts(item: Any) -> Counts:
        held = item.get(attribute, ()) if isinstance(item, dict) else getattr(item, attribute, ())
        return ((name, len(held)),)

    return counts


def _bucket(bucket: Any) -> Counts:
    versions = bucket.objects.values(with_versions=True)
    return (
        ("bytes", sum(getattr(version, "size", 0) or 0 for version in versions)),
        ("objects", len(bucket.objects.values())),
        ("uploads", len(bucket.multiparts)),
        ("versions", len(versions)),
    )


def _bucket_essence(bucket: Any) -> Any:
    """Not each of a hundred thousand objects with all that S3 keeps about it."""
    objects = sorted(
        repr((version.key, version.version_id or "", getattr(version, "etag", None) or ""))
        for version in bucket.objects.values(with_versions=True)
    )
    rest = {name: held for name, held in vars(bucket).items() if name != "objects"}
    return "\n".join(objects), rest


# LocalStack makes these anew in every instance that a function is loaded into.
_OF_THE_INSTANCE = frozenset({"lock", "instance_id", "versions"})
_OF_THE_RUN = frozenset({"internal_revision", "revision_id", "state", "last_update"})


def _function_essence(function: Any) -> Any:
    versions = [
        {k: v for k, v in vars(version.config).items() if k not in _OF_THE_RUN}
        for _, version in sorted(function.versions.items())
    ]
    return versions, {k: v for k, v in vars(function).items() if k not in _OF_THE_INSTANCE}


# What is known of a cluster, that starts by itself after a load.
_OF_THE_CLUSTER = frozenset({"DomainProcessingStatus", "Endpoint", "Endpoints", "Processing"})


def _domain_essence(domain: Any) -> Any:
    return {name: held for name, held in domain.items() if name not in _OF_THE_CLUSTER}


def _queue(queue: Any) -> Counts:
    return (
        ("delayed", queue.approximate_number_of_messages_delayed),
        ("in_flight", queue.approximate_number_of_messages_not_visible),
        ("messages", queue.approximate_number_of_messages),
    )


def _table(table: Any) -> Counts:
    items = sum(len(part) if table.has_range_key else 1 for part in table.items.values())
    return (("items", items), ("indexes", len(table.global_indexes) + len(table.indexes)))


def _is_public_parameter(name: str, versions: Any) -> bool:
    return name.startswith("/aws/service/")


def _is_of_aws(name: str, policy: Any) -> bool:
    return name.startswith("arn:aws:iam::aws:")


def _is_gone(name: str, stack: Any) -> bool:
    return str(getattr(stack, "status", "")).endswith("DELETE_COMPLETE")


def _is_empty_default(name: str, item: Any) -> bool:
    return name == "default" and not (getattr(item, "rules", 0) or getattr(item, "schedules", 0))


def _arn_name(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for arn, item in held.items():
        yield str(arn).rsplit("/", 1)[-1], item


def _stack_name(held: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, stack in _after(":stack/")(held):
        yield name.split("/", 1)[0], stack


def _groups(held: Any) -> Iterator[tuple[str, Any]]:
    yield from held.by_name.items()


def _policy_essence(policy: Any) -> Any:
    """A policy without its attachment count: its users, roles and groups list attachments."""
    held = {name: value for name, value in vars(policy).items() if name != "attachment_count"}
    if isinstance(held.get("policy"), dict):
        held["policy"] = {k: v for k, v in held["policy"].items() if k != "AttachmentCount"}
    return held


_USER = Kind("user")
_ROLE = Kind("role")
_GROUP = Kind("group")
_POLICY = Kind("policy", essence=_policy_essence, skip=_is_of_aws)
_STACK = Kind("stack", _stack_name, skip=_is_gone)
_PROFILE = Kind("instance-profile")

KINDS: dict[tuple[str, str], tuple[Kind, ...]] = {
    ("acm", "_certificates"): (Kind("certificate", _arn_name, label=_own("common_name")),),
    ("apigateway", "apis"): (Kind("rest-api", label=_own("name")),),
    ("cloudformation", "stacks"): (_STACK,),
    ("cloudformation", "stacks_v2"): (_STACK,),
    ("cloudwatch", "alarms"): (Kind("alarm", _after(":alarm:")),),
    ("cloudwatch", "dashboards"): (Kind("dashboard"),),
    ("dynamodb", "tables"): (Kind("table", counts=_table),),
    ("dynamodb", "table_definitions"): (Kind("table"),),
    ("ec2", "vpcs"): (Kind("vpc", skip=_is_default, label=_own("cidr_block")),),
    ("ec2", "subnets"): (
        Kind("subnet", _within, skip=_is_default_subnet, label=_own("cidr_block")),
    ),
    ("ec2", "groups"): (
        Kind(
            "security-group",
            _within,
            label=_own("name"),
            skip=lambda _, group: group.name == "default",
        ),
    ),
    ("ec2", "route_tables"): (Kind("route-table", skip=_is_default),),
    ("ec2", "network_acls"): (Kind("network-acl", skip=_is_default),),
    ("ec2", "internet_gateways"): (Kind("internet-gateway"),),
    ("ec2", "key_pairs"): (Kind("key-pair"),),
    ("ec2", "reservations"): (Kind("reservation", counts=_length("instances", "instances")),),
    ("ec2", "volumes"): (Kind("volume"),),
    ("events", "event_buses"): (
        Kind("event-bus", counts=_length("rules", "rules"), skip=_is_empty_default),
        Kind("rule", _children("rules"), _length("targets", "targets")),
    ),
    ("events", "archives"): (Kind("archive"),),
    ("events", "connections"): (Kind("connection"),),
    ("events", "api_destinations"): (Kind("api-destination"),),
    ("firehose", "delivery_streams"): (Kind("delivery-stream", _arn_name),),
    ("iam", "users"): (_USER,),
    ("iam", "USERS"): (_USER,),
    ("iam", "roles"): (Kind("role", _named()),),
    ("iam", "ROLES"): (_ROLE,),
    ("iam", "groups"): (_GROUP,),
    ("iam", "GROUPS"): (_GROUP,),
    ("iam", "managed_policies"): (_POLICY,),
    ("iam", "MANAGED_POLICIES"): (_POLICY,),
    ("iam", "instance_profiles"): (Kind("instance-profile", _named()),),
    ("iam", "INSTANCE_PROFILES"): (_PROFILE,),
    ("kinesis", "streams"): (Kind("stream"),),
    ("kms", "aliases"): (Kind("alias"),),
    ("kms", "keys"): (Kind("key"),),
    ("lambda", "functions"): (
        Kind("function", counts=_length("versions", "versions"), essence=_function_essence),
    ),
    ("lambda", "event_source_mappings"): (Kind("event-source-mapping"),),
    ("lambda", "layers"): (Kind("layer", counts=_length("versions", "layer_versions")),),
    ("logs", "groups"): (Kind("log-group", counts=_length("streams", "streams")),),
    ("opensearch", "opensearch_domains"): (Kind("domain", essence=_domain_essence),),
    ("redshift", "clusters"): (Kind("cluster"),),
    ("redshift", "parameter_groups"): (
        Kind("parameter-group", skip=lambda name, _: name.startswith("default.")),
    ),
    ("redshift", "security_groups"): (
        Kind("security-group", skip=lambda name, _: name == "Default"),
    ),
    ("redshift", "snapshots"): (Kind("snapshot"),),
    ("redshift", "subnet_groups"): (Kind("subnet-group"),),
    ("resource-groups", "groups"): (Kind("group", _groups),),
    ("route53", "health_checks"): (Kind("health-check"),),
    ("route53", "zones"): (
        Kind("hosted-zone", counts=_length("record_sets", "rrsets"), label=_own("name")),
    ),
    ("route53resolver", "resolver_endpoints"): (Kind("resolver-endpoint", label=_own("name")),),
    ("route53resolver", "resolver_rules"): (Kind("resolver-rule", label=_own("name")),),
    ("s3", "buckets"): (Kind("bucket", counts=_bucket, essence=_bucket_essence),),
    ("scheduler", "schedule_groups"): (
        Kind("schedule-group", counts=_length("schedules", "schedules"), skip=_is_empty_default),
        Kind("schedule", _children("schedules")),
    ),
    ("secretsmanager", "secrets"): (Kind("secret", counts=_length("versions", "versions")),),
    ("ses", "addresses"): (Kind("identity"),),
    ("ses", "email_identities"): (Kind("identity"),),
    ("ses", "sent_mails"): (Kind("sent-mail"),),
    ("ses", "templates"): (Kind("template"),),
    ("sns", "topics"): (Kind("topic", _after_account),),
    ("sns", "subscriptions"): (Kind("subscription", _after_account),),
    ("sqs", "queues"): (Kind("queue", counts=_queue),),
    ("ssm", "_parameters"): (
        Kind(
            "parameter",
            counts=lambda versions: (("versions", len(versions)),),
            skip=_is_public_parameter,
        ),
    ),
    ("ssm", "_documents"): (Kind("document"),),
    ("stepfunctions", "activities"): (Kind("activity", _after(":activity:")),),
    ("stepfunctions", "executions"): (Kind("execution", _after(":execution:")),),
    ("stepfunctions", "state_machines"): (Kind("state-machine", _after(":stateMachine:")),),
}

# What repeats a resource, comes with every instance, or is kept by a secret. What is `About`
# resources, as `merge_rules` says, is left out too.
LEFT_OUT = frozenset(
    {
        ("apigateway", "active_deployments"),
        ("apigateway", "internal_deployments"),
        ("apigateway", "rest_apis"),
        ("ec2", "amis"),
        ("ec2", "managed_prefix_lists"),
        ("ec2", "snapshots"),
        ("redshift", "RESOURCE_TYPE_MAP"),
        ("redshift", "default_params"),
        ("iam", "ACCESS_KEY_INDEX"),
        ("iam", "access_keys"),
        ("iam", "aws_managed_policies"),
        ("route53", "delegation_sets"),
        ("s3", "global_bucket_map"),
        ("sns", "subscription_filter_policy"),
        ("sns", "subscription_tokens"),
        ("sqs", "deleted"),
        ("sts", "credentials"),
    }
)
