"""Every error this product raises on purpose.

One class per thing a caller can act on.  ``status`` is the HTTP status; every door translates from it,
so a new error is written once, here.

    VaultError 500
    ├── BadRequest 400              ├── TooLarge 413
    │   └── UnsupportedPath 404     ├── UnsupportedMedia 415
    ├── PermissionDenied 403        ├── QuotaExceeded 429
    ├── NotFound 404                ├── AuditFailed 500 (nothing was answered)
    ├── UnsupportedOperation 405    ├── IntegrityError 500 (stored bytes are not what was written)
    ├── Conflict 409 (read again,   ├── NotInitialized 503
    │            then retry)        ├── Sealed 503
    └── StorageFailed 500           └── Unavailable 503
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class VaultError(Exception):
    """Base class. ``messages`` are shown to the client and must hold no secret.

    Details for operators go in ``raise ... from cause``, which reaches the server log and never the reply.
    ``data`` and ``warnings`` let a refusal carry a body as Vault does (a deleted KV version is 404 with data).
    """

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, *messages: str, data: Any = None, warnings: tuple[str, ...] = ()) -> None:
        super().__init__(*messages)
        self.messages = messages
        self.data = data
        self.warnings = warnings
        self.headers: Mapping[str, str] = {}  # of the answer

    def __str__(self) -> str:
        return "; ".join(self.messages)


class BadRequest(VaultError):
    """The request is malformed: a field is missing, of the wrong type or out of range."""

    status = 400


class PermissionDenied(VaultError):
    """No valid token, or no policy grants the operation. The audit log tells the two apart.

    An ACL refusal shows Vault's multi-error wrapping, a missing or unknown token does not (wire facts B.2);
    ``by_policy`` chooses.
    """

    status = 403

    def __init__(self, message: str = "permission denied", *, by_policy: bool = False) -> None:
        super().__init__(wrapped(message) if by_policy else message)


class NotFound(VaultError):
    """Nothing is stored, mounted or routed at this path. No message gives ``{"errors": []}``."""

    status = 404


class UnsupportedPath(NotFound):
    """The mount does not serve this path."""

    def __init__(self, message: str = "unsupported path") -> None:
        super().__init__(wrapped(message))


class UnsupportedOperation(VaultError):
    """The path exists but does not take this operation."""

    status = 405

    def __init__(self, message: str = "unsupported operation") -> None:
        super().__init__(*([wrapped(message)] if message else []))


class Conflict(VaultError):
    """Another writer changed the entry first. Read again, then retry."""

    status = 409
    retryable = True


class TooLarge(VaultError):
    """The request body is over the listener's limit."""

    status = 413


class UnsupportedMedia(VaultError):
    """A PATCH whose content type is not ``application/merge-patch+json``."""

    status = 415


class QuotaExceeded(VaultError):
    """Too many requests; ``retry_after`` is in seconds."""

    status = 429
    retryable = True

    def __init__(self, *messages: str, retry_after: int = 1, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(*messages)
        self.retry_after = retry_after
        self.headers = headers or {}


class AuditFailed(VaultError):
    """No audit sink took the record: without a request record nothing happens, without a response record
    nothing is answered."""


class StorageFailed(VaultError):
    """The store could not read or write. Nothing of the failed commit shows."""


class IntegrityError(VaultError):
    """Stored bytes fail authentication: moved, truncated, replayed under another key or tampered with."""


class NotInitialized(VaultError):
    """The vault has not been initialised; only ``sys/init`` and the status routes answer."""

    status = 503

    def __init__(self, message: str = "Vault is sealed") -> None:  # Vault's own wording before init (golden_seal)
        super().__init__(message)


class Sealed(VaultError):
    """The vault is sealed; only the routes marked ``while_sealed`` answer."""

    status = 503
    retryable = True

    def __init__(self, message: str = "Vault is sealed") -> None:
        super().__init__(message)


class Hinted(VaultError):
    """A failure on this side, as of a program that is missing; ``hint`` says what would help, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Unavailable(VaultError):
    """Processes of the server are being replaced, or were not in time. Try again."""

    status = 503
    retryable = True


class DatabaseFailed(VaultError):
    """A database server refused a statement. ``state`` is its SQLSTATE (five characters; "" if it gave none)."""

    def __init__(self, *messages: str, state: str = "") -> None:
        super().__init__(*messages)
        self.state = state


class Unreachable(VaultError):
    """What a plug-in asked outside did not answer, or may not be asked."""

    status = 502
    retryable = True


def wrapped(message: str) -> str:
    """``message`` in the multi-error form clients match on: ``1 error occurred:\\n\\t* ...\\n\\n``."""
    return f"1 error occurred:\n\t* {message}\n\n"
