"""Member names of the archive: plain ASCII, never climbing, never two for one.

Account ids, regions, buckets, object keys and file names come from clients and may hold any
character; each becomes exactly one path segment.
"""

import hashlib
import re
from urllib.parse import unquote

METADATA = "podsync/metadata.json"
INDEX = "podsync/index.json"

# Folders on disk allow 255 bytes for a segment, and `podsync export` makes folders of members.
LONGEST_SEGMENT = 200
KEPT_OF_LONG_SEGMENT = 120

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_ENCODED = [chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256)]
_ENCODED_ASCII = {byte: _ENCODED[byte] for byte in range(128) if byte not in _PLAIN}
# Of most keys only the slashes have to be encoded.
_PLAIN_BUT_SLASHES = re.compile(r"[A-Za-z0-9_./-]*")
# Parts that lead nowhere or climb.
_UNSAFE_PARTS = frozenset({"", ".", ".."})


def segment(name: str) -> str:
    """Percent-encodes to one segment. A long one keeps its start and gets its hash after `~`."""
    if _PLAIN_BUT_SLASHES.fullmatch(name):
        encoded = name.replace("/", "%2F")
    elif name.isascii():
        encoded = name.translate(_ENCODED_ASCII)
    else:
        encoded = "".join(map(_ENCODED.__getitem__, name.encode("utf-8", "surrogatepass")))
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) <= LONGEST_SEGMENT:
        # An empty name can't be an empty segment; no other name encodes to `%`.
        return encoded or "%"
    kept = re.sub(r"%.?$", "", encoded[:KEPT_OF_LONG_SEGMENT])
    return f"{kept}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def state(service: str, kind: str, container: str, account: str | None, region: str | None) -> str:
    """The member of one scope: of a region, of an account's regions, or of the whole container."""
    if account is None:
        scope = "universal"
    elif region is None:
        scope = f"accounts/{segment(account)}/global"
    else:
        scope = f"accounts/{segment(account)}/regions/{segment(region)}"
    return f"{container_folder(service, kind, container)}{scope}.state"


def container_folder(service: str, kind: str, container: str) -> str:
    return f"{service_folder(service)}{kind}/{segment(container)}/"


def service_folder(service: str) -> str:
    return f"api_states/{segment(service)}/"


def parse_scope(path: str) -> tuple[str | None, str | None]:
    """The account and region of a state member, from its path below the container's folder."""
    match path.removesuffix(".state").split("/"):
        case ["universal"]:
            return None, None
        case ["accounts", account, "global"]:
            return unquote(account), None
        case ["accounts", account, "regions", region]:
            return unquote(account), unquote(region)
    raise ValueError(f"{path} names no scope")


def s3_object(bucket: str, key: str, version: str | None) -> str:
    return s3_objects(bucket) + s3_version(key, version)


def s3_objects(bucket: str) -> str:
    """The folder of a bucket's objects."""
    return f"assets/s3/{segment(bucket)}/objects/"


def s3_version(key: str, version: str | None) -> str:
    """Where an object's body is in the folder of its bucket's."""
    return f"{segment(key)}/{segment(version) if version else 'null'}"


def s3_part(bucket: str, upload: str, part: int | str) -> str:
    return f"assets/s3/{segment(bucket)}/uploads/{segment(upload)}/{segment(str(part))}"


def asset_folder(service: str, position: int) -> str:
    return f"assets/{segment(service)}/{position}/"


def is_safe(member: str) -> bool:
    """Whether a member name stays inside of the folder that it would be unpacked to."""
    if "\\" in member or "\0" in member:
        # They separate parts or end names elsewhere.
        return False
    return _UNSAFE_PARTS.isdisjoint(member.split("/"))
