#!/bin/sh
# First step of the action: hides the token, and refuses what could not work before anything is downloaded.
# The exit codes are podsync's own.
set -eu
folder=$(dirname "$0")
. "$folder/messages.sh"

# Each line of it: a runner hides lines. A token is one line, but whatever was given is a secret.
printf '%s\n' "${PODSYNC_TOKEN:-}" | while IFS= read -r line; do
    line=$(printf '%s' "$line" | tr -d '\r')
    if [ -n "$line" ]; then
        printf '::add-mask::%s\n' "$(escaped "$line")"
    fi
done

yes_or_no() {
    case "$2" in
    true | false | "") ;;
    *) fail "$1 is \`$2\`. Give \`true\` or \`false\`." 2 ;;
    esac
}

pods=$INPUT_AUTO_LOAD_POD
case "$INPUT_STATE_ACTION" in
load) pods="$pods $INPUT_STATE_NAME" ;;
"") ;;
save) fail "state-action \`save\` is not possible in CI: a robot's token only reads. A member saves and shares, on a machine with a home: \`podsync save POD --share\`." 5 ;;
*) fail "state-action is \`$INPUT_STATE_ACTION\`. Give \`load\`." 2 ;;
esac
# One line with a space between two: no pod's name has a comma or a space.
pods=$(printf '%s' "$pods" | tr ',\r\n\t' '    ' | tr -s ' ' | sed 's/^ //; s/ $//')
[ -n "$pods" ] || fail "there is nothing to load. Name a pod in state-name: \`orders\` or \`orders:baseline\`." 2
case "$INPUT_MERGE $pods" in
"overwrite "*" "*) fail "with merge \`overwrite\` only the last of these would stay in the emulator: $pods. Name one version, or give another merge." 2 ;;
esac
yes_or_no frozen "$INPUT_FROZEN"
yes_or_no remote "$INPUT_REMOTE"
[ -n "${PODSYNC_TOKEN:-}" ] || fail "there is no token. An admin makes one with \`podsync team invite --robot --name ci\`; store it as the secret PODSYNC_TOKEN and give it as \`token: \${{ secrets.PODSYNC_TOKEN }}\`. GitHub gives no secrets to pull requests from forks." 13
command -v jq >/dev/null || fail "there is no jq on this runner. Install jq before this action." 1

output pods "$pods"
output cache-prefix "podsync-$(uname -s)-$(uname -m)-$(printf '%s' "$pods" | tr -c 'A-Za-z0-9' '_')-"
