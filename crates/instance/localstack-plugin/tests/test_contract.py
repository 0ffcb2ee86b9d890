"""The shapes that podsync's adapter is tested with are the ones that the plugin has."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

CONTRACT = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "tests" / "contract").glob("*.json"))
}
COMPANION = [name for name, exchange in CONTRACT.items() if "companion" in exchange["answers"]]


def fits(found: Any, example: Any) -> bool:
    """Every field of the example is there, with a value of its type."""
    if isinstance(example, dict):
        return isinstance(found, dict) and all(
            name in found and fits(found[name], value) for name, value in example.items()
        )
    if isinstance(example, list):
        return isinstance(found, list) and bool(found) and all(fits(x, example[0]) for x in found)
    return type(found) is type(example)


@pytest.mark.parametrize("name", COMPANION)
def test_an_exchange_is_as_it_is_written_down(name, source):
    request, answers = CONTRACT[name]["request"], CONTRACT[name]["answers"]
    source.reset()
    source.client("sqs").create_queue(QueueName="orders")
    source.client("s3").list_buckets()
    foreign = io.BytesIO()
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("metadata.yaml", "")
    source.client("sqs").create_queue(QueueName="more")
    more = source.save("s3,sqs")
    source.client("sqs").delete_queue(
        QueueUrl=source.client("sqs").get_queue_url(QueueName="more")["QueueUrl"]
    )
    state = source.save("s3,sqs")
    bodies = {
        "a zip with a queue more": more,
        "the zip": state,
        "a zip of another emulator": foreign.getvalue(),
        "half of a zip": state[: len(state) // 2],
    }
    path = "?".join(filter(None, (request["path"], request.get("query"))))
    body = bodies[request["body"]] if "body" in request else None
    status, headers, body = source.call(request["method"], path, body, **request.get("headers", {}))
    for kind in ("licensed", "companion"):
        if kind not in answers:
            continue
        answer = answers[kind]
        assert status == answer["status"]
        assert set(answer.get("headers", {})) <= {header.lower() for header in headers}
        if "json" in answer:
            assert fits(json.loads(body), answer["json"]), kind
        if "ndjson" in answer:
            lines = [json.loads(line) for line in body.splitlines()]
            assert [line["service"] for line in lines] == ["s3", "sqs"]
            assert fits(lines, answer["ndjson"]), kind
        if answer.get("body") == "a zip":
            assert zipfile.is_zipfile(io.BytesIO(body))
            assert headers["x-localstack-pod-services"] == "s3,sqs"
            assert int(headers["x-localstack-pod-size"]) == len(body)
        if answer.get("body") == "":
            assert body == b""


def test_companion_has_all_that_licensed_has():
    for exchange in CONTRACT.values():
        answers = exchange["answers"]
        if "licensed" in answers and "companion" in answers:
            assert answers["companion"]["status"] == answers["licensed"]["status"]
            for part in ("headers", "json"):
                assert fits(answers["companion"].get(part, {}), answers["licensed"].get(part, {}))
