"""Restores consistency between several resources of a service after a merge."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from podsync_localstack import networks
from podsync_localstack.beside import Scopes
from podsync_localstack.containers import Attributes, Container, Scope
from podsync_localstack.references import Replaced

_EVERYONE = Scope(None, None)


def settle(
    service: str, containers: Sequence[Container], scopes: Scopes, replaced: Replaced
) -> None:
    """Completes what `scopes` will hold and what is replaced in it, and adds scopes that lose
    something by it.
    """
    match service:
        case "apigateway":
            _deployments_of_apis(containers, scopes)
        case "cloudformation":
            for _, _, attributes in scopes:
                _change_sets_of_stacks(attributes)
        case "ec2":
            for _, scope, attributes in scopes:
                networks.one_default(scope, attributes, replaced)
        case "iam":
            for _, _, attributes in scopes:
                _keys_of_users(attributes)
        case "s3":
            _one_owner_for_a_bucket(containers, scopes)


def finish(service: str, scopes: Scopes) -> None:
    """After `scopes` were swapped in: counts that resources keep of one another."""
    if service == "iam":
        for _, _, attributes in scopes:
            _count_attachments(attributes)


def _one_owner_for_a_bucket(containers: Sequence[Container], scopes: Scopes) -> None:
    """The name of an existing bucket has one owner, as in the state."""
    for container in containers:
        owners: dict[str, str] = dict(_after(container, _EVERYONE, scopes, "global_bucket_map"))
        present: set[str] = set()
        for account in [scope for scope in container.scopes() if scope.account]:
            buckets = _after(container, account, scopes, "buckets")
            lost = [name for name in buckets if owners.get(name) != account.account]
            if lost:
                kept = {name: it for name, it in buckets.items() if name not in lost}
                _change(container, account, scopes, "buckets", kept)
            present |= buckets.keys() - set(lost)
        if left := owners.keys() - present:
            kept_owners = {name: owner for name, owner in owners.items() if name not in left}
            _change(container, _EVERYONE, scopes, "global_bucket_map", kept_owners)


def _deployments_of_apis(containers: Sequence[Container], scopes: Scopes) -> None:
    """They are kept for all accounts together, and an API that is gone must not answer."""
    before, after = set[str](), set[str]()
    for container in containers:
        for scope in list(container.scopes()):
            before |= container.read(scope).get("apis", {}).keys()
            after |= _after(container, scope, scopes, "apis").keys()
    for container in containers:
        if container.kind != "store":
            continue
        for name in ("internal_deployments", "active_deployments"):
            held = _after(container, _EVERYONE, scopes, name)
            if (before - after) & held.keys():
                kept = {api: it for api, it in held.items() if api not in before - after}
                _change(container, _EVERYONE, scopes, name, kept)


def _change_sets_of_stacks(attributes: Attributes) -> None:
    """Removes the change sets of a replaced stack."""
    sets, stacks = attributes.get("attr_change_sets"), attributes.get("attr_stacks_v2")
    if sets and stacks:
        attributes["attr_change_sets"] = {
            name: change for name, change in sets.items() if change.stack.stack_id in stacks
        }


def _keys_of_users(attributes: Attributes) -> None:
    """Removes the access keys of a replaced user."""
    if (users := attributes.get("users")) and (keys := attributes.get("access_keys")):
        attributes["access_keys"] = {
            name: key
            for name, key in keys.items()
            if key.user_name not in users or key in users[key.user_name].access_keys
        }
    if (users := attributes.get("USERS")) and (index := attributes.get("ACCESS_KEY_INDEX")):
        attributes["ACCESS_KEY_INDEX"] = {
            key: name
            for key, name in index.items()
            if name not in users or key in users[name].access_keys
        }


def _count_attachments(attributes: Attributes) -> None:
    """IAM deletes no policy that is attached, and counts where it is."""
    of_moto = [attributes.get(name, {}) for name in ("users", "roles", "groups")]
    attached = Counter(arn for arn in _each(of_moto, "managed_policies"))
    for arn, policy in attributes.get("managed_policies", {}).items():
        policy.attachment_count = attached[arn]
    of_localstack = [attributes.get(name, {}) for name in ("USERS", "ROLES", "GROUPS")]
    attached = Counter(arn for arn in _each(of_localstack, "attached_policy_arns"))
    for arn, entity in attributes.get("MANAGED_POLICIES", {}).items():
        entity.policy["AttachmentCount"] = attached[arn]
    for arn, entity in attributes.get("AWS_MANAGED_POLICIES", {}).items():
        entity.attachment_count = attached[arn]


def _each(holders: list[Any], attribute: str) -> Iterator[str]:
    for held in holders:
        for holder in held.values():
            yield from getattr(holder, attribute)


def _after(container: Container, scope: Scope, scopes: Scopes, name: str) -> Any:
    for other, of, attributes in scopes:
        if other is container and of == scope:
            return attributes.get(name, {})
    return container.read(scope).get(name, {})


def _change(container: Container, scope: Scope, scopes: Scopes, name: str, value: Any) -> None:
    for other, of, attributes in scopes:
        if other is container and of == scope:
            attributes[name] = value
            return
    scopes.append((container, scope, container.read(scope) | {name: value}))
