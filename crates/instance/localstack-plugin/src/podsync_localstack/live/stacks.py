"""Stacks of CloudFormation: a thread each while it is made, changed or deleted."""

from collections.abc import Iterator
from typing import Any

from podsync_localstack.live.part import CAUSE
from podsync_localstack.live.work import Work, ended

_IN_PROGRESS = "_IN_PROGRESS"
_CLEANUP = "_CLEANUP"
# A stack that only has a change set: nobody works on it.
_WAITS = frozenset({"REVIEW_IN_PROGRESS"})


class Stacks(Work):
    # Whatever a template may name.
    calls = ("stepfunctions", "lambda", "firehose", "events", "cloudwatch", "sqs", "s3", "sns")

    def working(self) -> Iterator[tuple[str, Any]]:
        for _, _, store in self.stores():
            for stack in [*store.stacks_v2.values(), *store.stacks.values()]:
                if _is_under_way(str(stack.status)):
                    yield "stack", stack
            for change_set in store.change_sets.values():
                if _is_under_way(str(change_set.status)) or _is_under_way(
                    str(change_set.execution_status)
                ):
                    yield "change-set", change_set

    def stop(self, resets: bool) -> None:
        """What is being deployed calls other services: it ends before they change."""
        super().stop(resets)
        own = [item for item in self._own.values() if hasattr(item, "status")]
        if not ended(lambda: not any(_is_under_way(str(item.status)) for item in own)):
            names = ", ".join(sorted(getattr(item, "stack_name", "?") for item in own))
            raise TimeoutError(f"a deployment was still under way and may go on: {names}")

    def end(self, item: Any) -> None:
        if hasattr(item, "execution_status"):
            if _is_under_way(str(item.execution_status)):
                item.execution_status = "EXECUTE_FAILED"
            if _is_under_way(str(item.status)):
                item.status, item.status_reason = "FAILED", CAUSE
        elif hasattr(item, "resource_states"):
            self._end_stack(item)
        else:
            item.set_stack_status(_end_of(str(item.status)), CAUSE)

    def _end_stack(self, stack: Any) -> None:
        for name, resource in list(stack.resource_states.items()):
            if _is_under_way(resource["ResourceStatus"]):
                stack.set_resource_status(
                    logical_resource_id=name,
                    physical_resource_id=resource.get("PhysicalResourceId"),
                    resource_type=resource["ResourceType"],
                    status=_end_of(resource["ResourceStatus"]),
                    resource_status_reason=CAUSE,
                )
        stack.set_stack_status(_end_of(str(stack.status)), CAUSE)


def _is_under_way(status: str) -> bool:
    return status.endswith(_IN_PROGRESS) and status not in _WAITS


def _end_of(status: str) -> str:
    before = status.removesuffix(_IN_PROGRESS)
    return before.removesuffix(_CLEANUP) if before.endswith(_CLEANUP) else before + "_FAILED"
