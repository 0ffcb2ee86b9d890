#!/bin/sh
# Installs a released podsync: downloads the program for this machine, compares its SHA-256 with the
# release's SHA256SUMS, and puts it into a folder. Until everything was checked, it changes nothing there.
#
#   PODSYNC_VERSION  which release: 1.2.3; the newest where empty
#   PODSYNC_BIN      the folder: ~/.local/bin where empty
#   PODSYNC_SHA256   the hash that the program must have, in place of the one in SHA256SUMS
#   PODSYNC_URL      where the files of a release lie, in place of GitHub: a mirror
set -eu

releases=https://github.com/podsync/podsync/releases
# No program of podsync is larger.
max_bytes=67108864

fail() {
    printf 'podsync is not installed: %s\n' "$1" >&2
    exit "${2:-1}"
}

target() {
    system=$(uname -s)
    machine=$(uname -m)
    case "$system $machine" in
    "Linux x86_64") echo x86_64-unknown-linux-gnu ;;
    "Linux aarch64" | "Linux arm64") echo aarch64-unknown-linux-gnu ;;
    "Darwin x86_64") echo x86_64-apple-darwin ;;
    "Darwin arm64") echo aarch64-apple-darwin ;;
    *) fail "there is no program for $system on $machine. Build it from source with \`cargo install --path crates/cli\`" ;;
    esac
}

# The folder of a release's files. Whoever could change what comes over plain HTTP could change SHA256SUMS too.
source_of() {
    if [ -z "${PODSYNC_URL:-}" ]; then
        case "${PODSYNC_VERSION:-}" in
        "") echo "$releases/latest/download" ;;
        *[!0-9A-Za-z.+-]*) fail "PODSYNC_VERSION is no version: $PODSYNC_VERSION. Give it as 1.2.3" 2 ;;
        *) echo "$releases/download/v${PODSYNC_VERSION#v}" ;;
        esac
        return
    fi
    case "$PODSYNC_URL" in
    https://* | http://127.0.0.1:*) echo "${PODSYNC_URL%/}" ;;
    *) fail "PODSYNC_URL does not begin with https://: $PODSYNC_URL" 2 ;;
    esac
}

download() {
    case "$1" in
    https://*) protocol='=https' ;;
    *) protocol='=http' ;;
    esac
    curl --fail --silent --show-error --location --proto "$protocol" --proto-redir '=https' \
        --retry 3 --connect-timeout 20 --max-filesize "$max_bytes" --output "$2" "$1" ||
        fail "$1 could not be downloaded. Check that the version exists and that this machine reaches it"
}

hash_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        shasum -a 256 "$1" | cut -d ' ' -f 1
    fi
}

# The line of SHA256SUMS for a name; none or two are no answer.
expected() {
    if [ -n "${PODSYNC_SHA256:-}" ]; then
        printf '%s\n' "$PODSYNC_SHA256"
        return
    fi
    download "$from/SHA256SUMS" "$aside/SHA256SUMS"
    awk -v name="$1" '$2 == name || $2 == "*" name { print $1 }' "$aside/SHA256SUMS"
}

command -v curl >/dev/null || fail "there is no curl. Install curl first"
target=$(target)
from=$(source_of)
name=podsync-$target
folder=${PODSYNC_BIN:-$HOME/.local/bin}
mkdir -p "$folder"
# Beside its place, so that the last step is a rename.
aside=$(mktemp -d "$folder/.podsync-install-XXXXXX")
trap 'rm -rf "$aside"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sum=$(expected "$name")
case "$sum" in
"") fail "SHA256SUMS of $from has no line for $name: that release has no program for this machine" ;;
*[!0-9a-f]*) fail "no SHA-256 of $name is known: $sum. Give PODSYNC_SHA256 as 64 hexadecimal digits" ;;
esac
[ "${#sum}" = 64 ] || fail "no SHA-256 of $name is known: $sum. Give PODSYNC_SHA256 as 64 hexadecimal digits"
download "$from/$name" "$aside/podsync"
found=$(hash_of "$aside/podsync")
[ "$found" = "$sum" ] ||
    fail "$from/$name has SHA-256 $found and should have $sum. Do not use it: tell the maintainers, or check the mirror"

chmod 755 "$aside/podsync"
version=$("$aside/podsync" --version) ||
    fail "$name does not run on this machine: it is for another architecture or an older system"
if [ -n "${PODSYNC_VERSION:-}" ] && [ "$version" != "podsync ${PODSYNC_VERSION#v}" ]; then
    fail "$from/$name is $version and not podsync ${PODSYNC_VERSION#v}. Check PODSYNC_URL"
fi
mv "$aside/podsync" "$folder/podsync"
printf 'Installed %s as %s.\n' "$version" "$folder/podsync"
case ":$PATH:" in
*":$folder:"*) ;;
*) printf 'Add %s to your PATH.\n' "$folder" ;;
esac
