#!/bin/sh
# Second step of the action: a released podsync, checked by its SHA-256, or one that is there already.
set -eu
folder=$(dirname "$0")
. "$folder/messages.sh"

if [ -n "${INPUT_BINARY:-}" ]; then
    program=$INPUT_BINARY
    version=$("$program" --version) ||
        fail "binary is \`$program\`, which does not run here. Give the path of a podsync for this machine." 2
    echo "Using $version, $program."
else
    PODSYNC_BIN=$RUNNER_TEMP/podsync-bin
    export PODSYNC_BIN
    log=$RUNNER_TEMP/podsync-install.log
    # The script's last line of stderr says what went wrong.
    sh "$folder/../install.sh" 2>"$log" || {
        code=$?
        cat "$log" >&2
        fail "$(tail -n 1 "$log")" "$code"
    }
    program=$PODSYNC_BIN/podsync
    echo "$PODSYNC_BIN" >>"$GITHUB_PATH"
fi
output podsync "$program"
