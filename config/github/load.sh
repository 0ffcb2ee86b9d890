#!/bin/sh
# Third step of the action: loads one version after the other and says on the job's page what it loaded.
set -eu
folder=$(dirname "$0")
. "$folder/messages.sh"

aside=$(mktemp -d "$RUNNER_TEMP/podsync-action-XXXXXX")
trap 'rm -rf "$aside"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
: >"$aside/loaded"

# podsync with what the inputs say. The last of its arguments is the version, whatever it begins with.
podsync_load() {
    set -- "$1" --json --endpoint "$INPUT_ENDPOINT"
    [ -z "$INPUT_CACHE" ] || set -- "$@" --cache "$INPUT_CACHE"
    [ -z "$INPUT_MERGE" ] || set -- "$@" --merge "$INPUT_MERGE"
    [ -z "$INPUT_MAX_AGE" ] || set -- "$@" --max-age "$INPUT_MAX_AGE"
    [ -z "$INPUT_WAIT" ] || set -- "$@" --wait "$INPUT_WAIT"
    [ "$INPUT_FROZEN" != true ] || set -- "$@" --frozen
    [ "$INPUT_REMOTE" != true ] || set -- "$@" --remote
    reference=$1
    shift
    "$PODSYNC" load "$@" -- "$reference"
}

# When a version was saved, in milliseconds since 1970; `null` where that can't be found out, which fails nothing.
created() {
    pod=${1%%[:@]*}
    set -- "$pod@$2" --json
    [ -z "$INPUT_CACHE" ] || set -- "$@" --cache "$INPUT_CACHE"
    "$PODSYNC" show "$@" 2>/dev/null | jq '.version.created_ms' 2>/dev/null || echo null
}

# A table of what was loaded. Names come from teammates: nothing in them is Markdown here.
summary() {
    echo "### podsync"
    echo
    echo "| asked for | loaded | by | saved | whole | downloaded | from | services |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
    jq -r --argjson now "$(date +%s)" '
        def cell: tostring | gsub("[\r\n]"; " ") | gsub("(?<c>[][\\\\`*_{}<>()#|~!&])"; "\\\(.c)");
        def bytes:
            if . >= 1e9 then "\(. / 1e7 | round / 100) GB" elif . >= 1e6 then "\(. / 1e4 | round / 100) MB"
            elif . >= 1e3 then "\(. / 10 | round / 100) kB" else "\(.) B" end;
        def age:
            if . == null then "unknown" else ([$now - . / 1000, 0] | max) |
            if . >= 172800 then "\(. / 86400 | floor) days ago" elif . >= 7200 then "\(. / 3600 | floor) hours ago"
            elif . >= 120 then "\(. / 60 | floor) minutes ago" else "\(floor) seconds ago" end end;
        [(.asked | cell), (.reference | cell), (.pulled.author | cell), (.created_ms | age),
         (.pulled.state_len | bytes), (.pulled.fetched | bytes),
         (.pulled.sources | map("\(.name | cell) \(.bytes | bytes)") | join(", ") | if . == "" then "the cache" else . end),
         (.applied | map(cell) | join(", "))] | "| \(join(" | ")) |"' "$aside/loaded"
    if [ -n "$1" ]; then
        echo
        echo "**Failed:** $(printf '%s' "$1" | jq -Rsr 'gsub("(?<c>[][\\\\`*_{}<>()#|~!&])"; "\\\(.c)")')"
    fi
    echo
}

# What podsync said of its failure.
reason() {
    jq -er '.error | objects | "\(.message)\n\(.hint)"' "$aside/answer" 2>/dev/null || tail -n 20 "$aside/log"
}

stopped() {
    message="$1: $(reason)"
    [ "$2" != 3 ] || message="$message
A token shows the pods of its own team only: check that this one is of the team that has $1."
    [ ! -s "$aside/loaded" ] || message="$message
Loaded before it, and still there: $(jq -r .reference "$aside/loaded" | tr '\n' ' ')"
    summary "$message" >>"$GITHUB_STEP_SUMMARY"
    fail "$message" "$2"
}

# Names of pods have no character that the shell would read.
set -f
for asked in $PODS; do
    podsync_load "$asked" >"$aside/answer" 2>"$aside/log" || {
        code=$?
        cat "$aside/log" >&2
        stopped "$asked" "$code"
    }
    cat "$aside/log" >&2
    saved=$(created "$(jq -r .reference "$aside/answer")" "$(jq -r .version "$aside/answer")")
    jq -c --arg asked "$asked" --argjson created "${saved:-null}" \
        '{asked: $asked, created_ms: $created} + .' "$aside/answer" >>"$aside/loaded"
    jq -r '"Loaded \(.reference) by \(.pulled.author): \(.applied | join(", "))"' "$aside/answer"
done

summary "" >>"$GITHUB_STEP_SUMMARY"
output reference "$(jq -r .reference "$aside/loaded" | tail -n 1)"
output loaded "$(jq -cs . "$aside/loaded")"
# Another cache only where another version was loaded.
output cache-key "$CACHE_PREFIX$(jq -r '.version[0:16]' "$aside/loaded" | tr '\n' '-')"
