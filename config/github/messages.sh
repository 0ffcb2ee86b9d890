# shellcheck shell=sh
# How the other scripts speak to the runner. A line that begins with `::` is a command to it, so no text of
# others goes out unescaped.

# Text as the data of such a command.
escaped() {
    printf '%s' "$1" | awk '{ gsub(/%/, "%25"); gsub(/\r/, "%0D"); printf "%s%s", (NR > 1 ? "%0A" : ""), $0 }'
}

# Shows an error in the job's log and on its page.
error() {
    printf '::error title=podsync::%s\n' "$(escaped "$1")"
}

# Ends the step.
fail() {
    error "$1"
    exit "$2"
}

# A line of the step's outputs; what it holds has no line breaks.
output() {
    printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}
