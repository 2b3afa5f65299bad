"""Who speaks: keys of replicas, signatures of requests, and tags of tickets. HMAC-SHA256 throughout.

A fleet has one secret. The key of a replica follows from its name and the secret, so that nothing is stored
for it; a name is shut out by revoking it. A request is signed over its method, its path, the time and the
SHA-256 of its body, so that who it comes from is known before a byte of the body is read. A ticket has a tag
that only the learner and the replica that answered can make.

Invariant: secrets are compared in constant time; a refusal says its reason and no more.
Cost: some microseconds for a request, and the hash of its body.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from efl_core.arguments import described
from efl_core.errors import InputTypeError, InvalidInputError

__all__ = ["TIME", "Credential", "Keys", "Signature", "body_hash", "new_secret", "tag_of"]

NAME = re.compile(r"[A-Za-z0-9._/-]{1,64}")
# Seconds that the clocks of two machines may differ.
SKEW = 300
# Of a ticket: nobody guesses one in 2^80.
TAG_BYTES = 10
LEAST_SECRET = 16
KEY, TIME, BODY, SIGNED = "efl-key", "efl-time", "efl-body", "efl-signature"


def new_secret() -> str:
    """Return a secret for a fleet."""
    return secrets.token_hex(32)


def body_hash(body: bytes) -> str:
    """Return what stands for a body in its signature."""
    return hashlib.sha256(body).hexdigest()


def _derived(secret: bytes, purpose: str, what: bytes) -> bytes:
    return hmac.digest(secret, b"efl\0" + purpose.encode() + b"\0" + what, "sha256")


@dataclass(frozen=True, slots=True)
class Signature:
    """The headers by which a request says who sent it."""

    name: str
    time: str
    body: str
    signature: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers."""
        return {KEY: self.name, TIME: self.time, BODY: self.body, SIGNED: self.signature}

    @staticmethod
    def of(headers: Mapping[str, str]) -> "Signature | None":
        """Read the headers of a request; None where one is missing."""
        found = [headers.get(name) for name in (KEY, TIME, BODY, SIGNED)]
        return Signature(*[text for text in found if text is not None]) if None not in found else None


@dataclass(frozen=True, slots=True)
class Credential:
    """The name of a replica, and the key by which it signs.

    >>> from efl_core.fleet.web.signing import Credential, Keys
    >>> Keys("0123456789abcdef0123456789abcdef").of("shop-3")[:15]
    'shop-3:614674de'
    """

    name: str
    key: bytes = field(repr=False)

    @staticmethod
    def read(text: object) -> "Credential":
        """Read what `Keys.of` gives out."""
        if not isinstance(text, str):
            raise InputTypeError.of("key", "NAME:HEX, as Keys.of gives it", described(text))
        name, _, key = text.strip().rpartition(":")
        try:
            found = bytes.fromhex(key)
        except ValueError:
            found = b""
        if not NAME.fullmatch(name) or len(found) < LEAST_SECRET:
            raise InvalidInputError.of("key", "NAME:HEX, as Keys.of gives it", "something else")
        return Credential(name, found)

    def sign(self, method: str, path: str, body: bytes, now: int | None = None) -> Signature:
        """Sign a request."""
        stamp = str(time.time_ns() if now is None else now)
        hashed = body_hash(body)
        return Signature(self.name, stamp, hashed, _signature(self.key, method, path, stamp, hashed))


def _signature(key: bytes, method: str, path: str, stamp: str, hashed: str) -> str:
    text = "\n".join([method, path, stamp, hashed])
    return hmac.digest(key, text.encode(), "sha256").hex()


class Keys:
    """The keys of the replicas of a fleet, all of which follow from one secret.

    Parameters
    ----------
    secret
        Text or bytes, 16 of them or more; `efl fleet secret FILE` writes a new one. Who has it can sign for
        every replica: it stays with the learner.
    revoked
        Names that are shut out from now on.

    >>> import efl_core as efl
    >>> keys = efl.fleet.Keys("0123456789abcdef0123456789abcdef", revoked=["shop-2"])
    >>> keys.of("shop-3").startswith("shop-3:")
    True
    """

    def __init__(self, secret: str | bytes, *, revoked: Iterable[str] = ()) -> None:
        if not isinstance(secret, (str, bytes)):
            raise InputTypeError.of("secret", "text or bytes", type(secret).__name__)
        plain = secret.strip().encode() if isinstance(secret, str) else secret
        if len(plain) < LEAST_SECRET:
            raise InvalidInputError.of("secret", f"{LEAST_SECRET} bytes or more", f"{len(plain)}")
        self._secret = plain
        if isinstance(revoked, str):
            raise InputTypeError.of("revoked", "names", "a single text")
        self.revoked = frozenset(revoked)
        """The names that are shut out."""

    def of(self, name: str) -> str:
        """Return the key of a replica, ``NAME:HEX``: what `Replica` takes as ``key=``."""
        if not NAME.fullmatch(name):
            raise InvalidInputError.of(
                "name", "1 to 64 letters, digits, dots, dashes, slashes", described(name)
            )
        return f"{name}:{self._key(name).hex()}"

    def _key(self, name: str) -> bytes:
        return _derived(self._secret, "replica", name.encode())

    def refusal(self, method: str, path: str, found: Signature | None, now: int | None = None) -> str | None:
        """Return why a request is not believed, by the name of a counter; None if it is."""
        if found is None:
            return "unsigned"
        wanted = _signature(self._key(found.name), method, path, found.time, found.body)
        # One that is revoked takes as long as one that is not.
        is_right = hmac.compare_digest(wanted.encode(), found.signature.encode())
        if not is_right or not NAME.fullmatch(found.name):
            return "bad_signature"
        if found.name in self.revoked:
            return "revoked"
        present = time.time_ns() if now is None else now
        if not found.time.isdecimal() or abs(int(found.time[:20]) - present) > SKEW * 10**9:
            return "bad_time"
        return None

    def replica(self, name: str, slot: int) -> int:
        """Return the number of a worker with this key: nobody without the secret can choose it."""
        found = _derived(self._secret, "number", f"{name}\0{slot}".encode())
        return int.from_bytes(found[:8], "little")

    def for_tickets(self, replica: int, incarnation: int) -> bytes:
        """Return the key by which an incarnation tags its tickets."""
        what = replica.to_bytes(8, "little") + incarnation.to_bytes(4, "little")
        return _derived(self._secret, "tickets", what)[:16]


def tag_of(key: bytes, sequence: int, teaches: bool) -> bytes:
    """Return the tag of a ticket."""
    what = sequence.to_bytes(8, "little") + bytes([teaches])
    return hmac.digest(key, what, "sha256")[:TAG_BYTES]
