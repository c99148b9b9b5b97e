"""What python-tuf refuses, in this program's errors: translated here and nowhere else."""

import contextlib
from collections.abc import Generator

from tuf.api import exceptions

from vedette.errors import (
    BadSignature,
    CentralUnreachable,
    Expired,
    HashMismatch,
    Retry,
    RollbackAttempt,
    TooLarge,
    TrustError,
)


class NotThere(TrustError):
    """The repository has no such file. A `Fetch` raises it for HTTP 403 and 404."""


class NotKept(TrustError):
    """The disk refused to keep metadata."""

    retry = Retry.LATER


@contextlib.contextmanager
def translated(what: str) -> Generator[None]:
    """Have errors of the library inside the block leave it as `VedetteError`s.

    Args:
        what: Begins the message: "refresh", "models/a.vbundle".

    Raises:
        BadSignature: Too few valid signatures of the role's keys.
        RollbackAttempt: An older version than what was accepted, or another than was promised.
        Expired: Its time is over: signers must sign anew, or somebody withholds what they signed.
        HashMismatch: Other bytes than were promised.
        TooLarge: More bytes than were promised, or than any such file may have.
        NotThere: No such file.
        CentralUnreachable: It did not come, or not in time.
        NotKept: The disk refused.
        TrustError: Anything else that metadata may not be.
    """
    try:
        yield
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        raise _refusal(what, error) from error
    except OSError as error:
        raise NotKept(
            f"{what}: cannot keep metadata: {error.strerror or error}",
            operator_hint="free some disk space, and see that the folder is writable",
        ) from error


def _refusal(what: str, error: Exception) -> TrustError | TooLarge | CentralUnreachable:
    text = f"{what}: {error}"
    match error:
        case exceptions.UnsignedMetadataError():
            return BadSignature(text, operator_hint=_SIGN)
        case exceptions.BadVersionNumberError():
            return RollbackAttempt(text, operator_hint=_OLDER)
        case exceptions.ExpiredMetadataError():
            return Expired(text, operator_hint=_EXPIRED)
        case exceptions.LengthOrHashMismatchError():
            return HashMismatch(text, operator_hint=_OTHER)
        case exceptions.DownloadLengthMismatchError():
            return TooLarge(text, operator_hint=_OTHER)
        case exceptions.DownloadHTTPError():
            return NotThere(text, operator_hint="see `vedette central releases status`")
        case exceptions.DownloadError():
            return CentralUnreachable(text)
        case _:
            return TrustError(text, operator_hint=_OTHER)


_SIGN = "have the role's key holders sign it: `vedette keys status` says who is missing"
_OLDER = (
    "central serves older metadata than it did before, after a restored backup perhaps: publish the"
    " current repository again with `vedette keys publish`"
)
_EXPIRED = (
    "sign the role anew and publish it; `vedette keys status` and `vedette central releases status`"
    " say which"
)
_OTHER = "what central serves is not what was signed: publish again, and find out who changed it"
