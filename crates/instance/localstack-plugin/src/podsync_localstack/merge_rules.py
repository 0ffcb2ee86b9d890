"""How two versions of a service's attributes become one: the table that a merge goes by.

An attribute that isn't listed is merged by its own type and no deeper: the resources of a map one
by one and each whole, a setting as a whole. What is listed here is what that would get wrong:
resources that are known by something else than their key, resources that contain others, and what
is kept beside a resource and goes with it.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

Identity = Callable[[Any, Any], Hashable]


class Rule:
    """How to merge a part that the state and the instance both have."""


@dataclass(frozen=True)
class Whole(Rule):
    """The state's value."""


@dataclass(frozen=True)
class Setting(Rule):
    """The state's value, if it is set."""


@dataclass(frozen=True)
class Most(Rule):
    """The larger: a number that is counted up, so that none is given twice."""


@dataclass(frozen=True)
class Map(Rule):
    """Items of both. `items` merges two with the same identity (mostly the key)."""

    items: Rule = field(default_factory=Whole)
    identity: Identity | None = None

    def known_by(self, key: Any, item: Any) -> Hashable:
        return key if self.identity is None else self.identity(key, item)


@dataclass(frozen=True)
class Members(Rule):
    """Items of both, in a list or a set, known by `identity` or by all that they hold.

    Of a map that some versions have in the place of the list: by key.
    """

    identity: Callable[[Any], Hashable] | None = None
    items: Rule = field(default_factory=Whole)
    # Whether they are keys of resources: of one that gives way, the state has the say.
    are_keys: bool = False


@dataclass(frozen=True)
class Parts(Rule):
    """An object or a dict of which these attributes are merged. All others are the state's."""

    rules: Mapping[str, Rule]


@dataclass(frozen=True)
class About(Rule):
    """A map by the key or ARN of resources. Each value goes with its resource."""


@dataclass(frozen=True)
class Instance(Rule):
    """The instance's own value, such as a reference to another backend."""


WHOLE, SETTING, MAP, MEMBERS, ABOUT = Whole(), Setting(), Map(), Members(), About()
INSTANCE, MOST = Instance(), Most()
MAPS = Map(items=MAP)
# The objects in which LocalStack and moto keep all tags of a service.
TAGS = Parts({"tags": ABOUT, "_tags": ABOUT})


def _by(*attributes: str) -> Callable[[Any], Hashable]:
    """An item is known by these of its attributes, or entries of a dict."""

    def identity(item: Any) -> Hashable:
        if isinstance(item, dict):
            return tuple(str(item.get(name)) for name in attributes)
        return tuple(str(getattr(item, name, None)) for name in attributes)

    return identity


def _named(*attributes: str) -> Identity:
    known = _by(*attributes)
    return lambda key, item: known(item)


def _live_stack(stack_id: Any, stack: Any) -> Hashable:
    """A name is free again when its stack is gone."""
    gone = str(getattr(stack, "status", "")).endswith("DELETE_COMPLETE")
    return stack_id if gone else str(stack_id).rsplit(":stack/", 1)[-1].split("/", 1)[0]


def _mapping_of_events(key: Any, mapping: Any) -> Hashable:
    """No function is given one source twice."""
    source = mapping.get("EventSourceArn")
    return (mapping.get("FunctionArn"), source) if source else key


_REST_API = Map(
    Parts(
        {
            **dict.fromkeys(("resources", "deployments", "stages", "models", "validators"), MAP),
            **dict.fromkeys(("authorizers", "gateway_responses", "request_validators"), MAP),
            **dict.fromkeys(("documentation_parts", "documentation_versions"), MAP),
            "resolved_models": MAP,
            "resource_children": Map(MEMBERS),
        }
    )
)


def _snapshot_of_image(key: Any, snapshot: Any) -> Hashable:
    """Each instance makes one for each image that it offers, by an id of its own."""
    return str(getattr(snapshot, "from_ami", None) or key)


def _prefix_list(key: Any, held: Any) -> Hashable:
    """Those of AWS too have other ids in each instance."""
    return str(held.prefix_list_name if getattr(held, "owner_id", None) == "AWS" else key)


_STACKS = Map(identity=_live_stack)
_BUSES = Map(Parts({"rules": MAP}))

# By service and attribute.
RULES: dict[str, dict[str, Rule]] = {
    "acm": {"_account_config": SETTING},
    "apigateway": {
        "TAGS": ABOUT,
        "_account": SETTING,
        "account": SETTING,
        "active_deployments": MAPS,
        "apis": _REST_API,
        "base_path_mappings": Map(MEMBERS),
        "internal_deployments": MAPS,
        "rest_apis": _REST_API,
        "usage_plan_keys": MAPS,
    },
    "cloudformation": {"stacks": _STACKS, "stacks_v2": _STACKS},
    "cloudwatch": {"TAGS": TAGS, "histories": MEMBERS, "tags": TAGS},
    "config": {
        "config_schema": INSTANCE,
        "query_results_queue": MEMBERS,
        "retention_configuration": SETTING,
    },
    "dynamodb": {"REPLICAS": MAPS, "TABLE_TAGS": ABOUT, "resource_policies": ABOUT},
    "ec2": {
        "addresses": Members(_by("allocation_id", "public_ip")),
        "deleted_amis": MEMBERS,
        "default_vpc": WHOLE,
        "groups": MAPS,
        "launch_template_insert_order": MEMBERS,
        "managed_prefix_lists": Map(identity=_prefix_list),
        "snapshots": Map(identity=_snapshot_of_image),
        "subnets": MAPS,
        "tags": ABOUT,
    },
    "events": {"TAGS": TAGS, "event_buses": _BUSES},
    "firehose": {"TAGS": TAGS, "tags": TAGS},
    "iam": {
        "ACCOUNT_ALIAS": SETTING,
        "CREDENTIAL_REPORT": SETTING,
        "GROUPS": Map(Parts({"member_user_names": MEMBERS})),
        "PASSWORD_POLICY": SETTING,
        "TAGS": TAGS,
        "account_aliases": SETTING,
        "account_password_policy": SETTING,
        "account_summary": INSTANCE,
        "aws_managed_policies": INSTANCE,
        "credential_report": SETTING,
        "groups": Map(Parts({"users": Members(_by("name"))})),
        "instance_profiles": Map(identity=_named("name")),
        "policy_arn_regex": INSTANCE,
        "roles": Map(identity=_named("name")),
        "tagger": TAGS,
    },
    "kinesis": {
        "enhanced_metrics": Map(MEMBERS),
        "resource_policies": ABOUT,
        "stream_consumers": Members(_by("ConsumerARN")),
    },
    "kms": {"tags": TAGS},
    "lambda": {
        "event_source_mappings": Map(identity=_mapping_of_events),
        "layers": Map(Parts({"layer_versions": MAP, "next_version": MOST})),
        "tags": TAGS,
    },
    "logs": {
        "TAGS": ABOUT,
        "filters": Parts({"metric_filters": Members(_by("logGroupName", "filterName"))}),
        "groups": Map(Parts({"streams": MAP, "subscription_filters": MAP})),
        "tagger": TAGS,
    },
    "opensearch": {"tags": TAGS},
    "redshift": {
        # The maps that this one points at are merged by their own names.
        "RESOURCE_TYPE_MAP": WHOLE,
        "default_params": WHOLE,
        "ec2_backend": INSTANCE,
    },
    "resource-groups": {"groups": Parts({"by_arn": MAP, "by_name": MAP})},
    "route53": {
        "resource_tags": ABOUT,
        "tags": TAGS,
        "zones": Map(
            Parts({"rrsets": Members(_by("name", "type_", "set_identifier")), "vpcs": MEMBERS})
        ),
    },
    "route53resolver": {
        "ec2_backend": INSTANCE,
        "firewall_rules": MAPS,
        "tagger": TAGS,
    },
    "s3": {"aws_managed_kms_key_id": SETTING, "tags": TAGS},
    "s3control": {
        "access_points": MAPS,
        "mrap_operations": MAPS,
        "multi_region_access_points": MAPS,
        "public_access_block": SETTING,
        "tagger": TAGS,
    },
    "scheduler": {
        "schedule_groups": Map(Parts({"schedules": MAP})),
        "schedules": Members(_by("arn")),
        "tagger": TAGS,
    },
    "ses": {
        "contacts_lists": Map(Parts({"contacts": MAP})),
        "receipt_rule_set": Map(Parts({"rules": Members(_by("name"))})),
        "rejected_messages_count": MOST,
        "sent_message_count": MOST,
        "sent_messages": Members(_by("id")),
        "tagger": TAGS,
    },
    "sns": {
        "PHONE_NUMBERS_OPTED_OUT": MEMBERS,
        "platform_applications": Map(Parts({"platform_endpoints": MAP})),
        "platform_endpoint_messages": Map(MEMBERS),
        "sms_messages": MEMBERS,
        "subscription_filter_policy": ABOUT,
        "subscriptions": Map(identity=_named("TopicArn", "Protocol", "Endpoint")),
        "tags": TAGS,
        "topics": Map(Parts({"subscriptions": Members(are_keys=True)})),
    },
    "sqs": {"tags": TAGS},
    "ssm": {
        "_commands": Members(_by("command_id")),
        "_errors": MEMBERS,
        # All versions of a parameter are one resource.
        "_parameters": MAP,
        "_resource_tags": Map(ABOUT),
    },
    "stepfunctions": {
        "state_machines": Map(
            Parts(
                {
                    "_version_number": MOST,
                    "aliases": Members(_by("state_machine_alias_arn")),
                    "versions": MAP,
                }
            )
        ),
    },
    "sts": {"assumed_roles": Members(_by("access_key_id"))},
    "swf": {
        "domains": Members(
            _by("name"),
            Parts(
                {
                    "types": Map(MAPS),
                    "workflow_executions": Members(_by("workflow_id", "run_id")),
                }
            ),
        ),
    },
}


# Services whose resources hold one another by name only: nothing has to be looked through in them.
BY_NAME = frozenset({"dynamodb", "kinesis", "s3", "secretsmanager", "sns", "sqs", "ssm"})


def is_about(rule: Rule) -> bool:
    match rule:
        case About():
            return True
        case Map(items=About()):
            return True
        case Parts(rules=parts):
            return any(isinstance(part, About) for part in parts.values())
    return False


def held(item: Any) -> dict[str, Any]:
    """The content of an object or a dict, by name."""
    if isinstance(item, dict):
        return item
    found: dict[str, Any] = getattr(item, "__dict__", {})
    return found


def rule(service: str, attribute: str, value: Any) -> Rule:
    """The rule for an attribute of a store or backend with this value."""
    listed = RULES.get(service, {}).get(attribute)
    if listed is not None:
        return listed
    return MAP if isinstance(value, dict) else SETTING
