"""Links by which somebody who was told takes an incident on without signing in.

    /take/dl-6f1c0f3a9d2b4e5f6a7b.18b4a1c2d00.<MAC>

A link names one delivery and when it was made; what that delivery says (which incident, to which
person, at which step of the ladder) never changes. The rules: nothing is looked up for a link whose
MAC does not hold, so links can be neither made nor tried out; the same delivery has the same link
at each try. What a link may do is decided elsewhere (`taking`).

The key lies in `keys/take-links.key` in the state directory. Who removes that file makes
every link that was sent worthless. HMAC-SHA256, cut to 128 bits (RFC 2104, section 5). Thread: any.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from vedette.errors import BadSignature, TrustError
from vedette.ids import is_slug
from vedette.trust.keys import from_text, to_text, write_private

KEY: Final = "keys/take-links.key"
PATH: Final = "/take/"
MAX_CHARS: Final = 160
_HEAD: Final = "vedette-take-links "
_KEY_BYTES: Final = 32
_MAC_BYTES: Final = 16
_MADE_DIGITS: Final = 12


class Named(msgspec.Struct, frozen=True):
    """What a link names; its MAC held."""

    delivery: str
    made_ms: int


class Links:
    """Makes links and reads them. Its `repr` shows no key."""

    def __init__(self, state: Path) -> None:
        """Prepare; the key is made with the first link."""
        self.path: Final = state / KEY

    def make(self, delivery: str, made_ms: int) -> str:
        """Return the path of a delivery's link.

        Raises:
            TrustError: The key cannot be read or kept.
        """
        said = f"{delivery}.{made_ms:x}"
        return f"{PATH}{said}.{to_text(_mac(self._key() or self._make(), said))}"

    def read(self, token: str) -> Named:
        """Return what a link names.

        Raises:
            BadSignature: It was not made here, or was altered.
            TrustError: The key cannot be read.
        """
        said, _, mac = token.rpartition(".")
        delivery, _, made = said.partition(".")
        if len(token) > MAX_CHARS or not token.isascii() or not is_slug(delivery):
            raise BadSignature("no link of ours")
        if not 0 < len(made) <= _MADE_DIGITS or any(c not in "0123456789abcdef" for c in made):
            raise BadSignature("no link of ours")
        key = self._key()
        shown = from_text(mac)
        # Without a key none was ever made: compared all the same, with one that nobody has.
        if not hmac.compare_digest(_mac(key or secrets.token_bytes(_KEY_BYTES), said), shown):
            raise BadSignature("no link of ours")
        return Named(delivery, int(made, 16))

    def form(self, token: str) -> str:
        """Return what the form on a link's page carries: who posts it has read the page.

        Raises:
            TrustError: The key cannot be read or kept.
        """
        return to_text(_mac(self._key() or self._make(), f"form|{to_text(token.encode())}"))

    def _make(self) -> bytes:
        """Return the key; where two make one at the same moment, both return the first."""
        scratch = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = f"{_HEAD}{to_text(secrets.token_bytes(_KEY_BYTES))}\n"
            write_private(scratch, text.encode("ascii"))
            try:
                os.link(scratch, self.path)
            except FileExistsError:
                pass
            finally:
                scratch.unlink(missing_ok=True)
        except OSError as error:
            raise TrustError(f"cannot keep {self.path}: {error.strerror or error}") from error
        return self._key() or self._make()

    def _key(self) -> bytes | None:
        try:
            head, _, body = self.path.read_text(encoding="ascii").strip().rpartition(" ")
            key = from_text(body)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, BadSignature) as error:
            raise self._broken() from error
        if f"{head} " != _HEAD or len(key) != _KEY_BYTES:
            raise self._broken()
        return key

    def _broken(self) -> TrustError:
        return TrustError(
            f"{self.path} holds no key of links",
            operator_hint="bring it back, or move it away: links that were sent are worth nothing"
            " then",
        )

    def __repr__(self) -> str:
        """Name the file."""
        return f"Links({self.path})"


def _mac(key: bytes, said: str) -> bytes:
    whole = hmac.digest(key, b"vedette/take-link/1|" + said.encode("ascii"), hashlib.sha256)
    return whole[:_MAC_BYTES]
