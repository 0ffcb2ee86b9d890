#!/usr/bin/env bash
# LocalStack 4.14.0 and 2026.3.0, EventBridge rules with a schedule (PyPI: localstack-core). Needs Python 3.13.
#
# A rule gets a timer with each call of PutTargets, and each timer sends to all targets that the rule has then:
#   targets that are put in two calls are sent two events each minute by rate(1 minute), and not one;
#   a rule that has no target yet is given its timer later, and a rule that is given a target again fires twice.
# A timer takes down once whether its rule is enabled:
#   DisableRule is answered with 200 and DescribeRule says DISABLED, and the rule goes on firing;
#   a rule that was DISABLED when its targets were put never fires, though EnableRule was called.
#
# Seen, in both versions, in the first minute:
#   one call: 1, two calls: 2 and 2, disabled: 1, enabled: 0
set -euo pipefail

pins=$(cd "$(dirname "$0")/../crates/instance/localstack-plugin" && pwd)
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$folder"' EXIT
cd "$folder"

# LocalStack's server listens on all interfaces, whatever host it is given: here on one.
cat >serve.py <<'PYTHON'
from functools import partial
from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
from localstack.runtime.main import main

main()
PYTHON
cat >ask.py <<'PYTHON'
import sys, time
import boto3

here = {"endpoint_url": sys.argv[1], "region_name": "us-east-1"}
keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
events, sqs = boto3.client("events", **here, **keys), boto3.client("sqs", **here, **keys)


def target(name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {"Id": name, "Arn": arn}


def rule(name, *calls, state="ENABLED"):
    events.put_rule(Name=name, ScheduleExpression="rate(1 minute)", State=state)
    for queues in calls:
        events.put_targets(Rule=name, Targets=[target(queue) for queue in queues])


def got(name):
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(told["Attributes"]["ApproximateNumberOfMessages"])


rule("one-call", ["one"])
rule("two-calls", ["first"], ["second"])
rule("disabled", ["disabled"])
events.disable_rule(Name="disabled")
rule("enabled", ["enabled"], state="DISABLED")
events.enable_rule(Name="enabled")
states = [events.describe_rule(Name=name)["State"] for name in ("disabled", "enabled")]
assert states == ["DISABLED", "ENABLED"]
# All timers are looked at together, once a minute.
while not got("one"):
    time.sleep(0.2)
time.sleep(5)
seen = {name: got(name) for name in ("one", "first", "second", "disabled", "enabled")}
print("one call: {one}, two calls: {first} and {second}, disabled: {disabled}, enabled: {enabled}".format(**seen))
assert seen == {"one": 1, "first": 2, "second": 2, "disabled": 1, "enabled": 0}
PYTHON

for version in 4.14.0 2026.3.0; do
  python3.13 -m venv "$version"
  python=$version/bin/python
  "$python" -m pip install --quiet --constraint "$pins/requirements-localstack-$version.txt" \
    "localstack-core[runtime]==$version"
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  GATEWAY_LISTEN="127.0.0.1:$port" FILESYSTEM_ROOT="$folder/root" LOCALSTACK_VOLUME_DIR="$folder/volume" \
    DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 "$python" serve.py >log 2>&1 &
  server=$!
  curl --silent --fail --retry 60 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/_localstack/health" >/dev/null
  echo "LocalStack $version"
  "$python" ask.py "http://127.0.0.1:$port"
  kill "$server"
  wait "$server" || true
  server=
done
echo "as described"
