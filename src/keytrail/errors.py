"""The exceptions of keytrail.

    KeytrailError
    ├── ConfigError          a setting is wrong; the message names it
    ├── RequestError         a request asks for something that can't be; becomes HTTP 400 or as its status says
    │   ├── NotAuthorised    no token, a wrong or an expired one (401)
    │   ├── Forbidden        the token lacks a permission or may not see an API (403)
    │   ├── NotFound         there is no such thing, or none that the token may see (404)
    │   ├── Conflict         the request contradicts an earlier one (409)
    │   ├── TooLarge         more was sent than is taken at once (413)
    │   ├── Unsupported      a content type or encoding that is not understood (415)
    │   ├── NoLongerKept     the answer needs what retention has taken away; names the day
    │   └── TooCostly        the answer would take more than one question may (400, 503)
    ├── StoreError           the store can't do it; the cause is kept
    │   ├── StoreBusy        another process holds the data directory; the message says which
    │   ├── StoreAway        the server can't be reached, or ran out of time or memory: trying again may help
    │   │   └── StoreLimited more rows, memory or time than a statement may take
    │   ├── StoreFull        no room on the disk
    │   └── SchemaError      the store's schema is newer than this version, or a migration failed
    ├── UsageError           a part of keytrail was called wrongly by another: a fault of ours
    ├── FileError            a file can't be read as what it claims to be
    └── SourceError          Redis can't do it; the cause is kept
        ├── RedisUrlError    a URL that can't be read
        ├── PrefixRefused    a prefix whose keys could not share one hash slot
        ├── SourceUnavailable  Redis is away, starting or failing over: trying again may help
        │   └── SourceFull   Redis is at its memory limit and refuses writes
        ├── AccessDenied     wrong password, or the access-control list lacks a command or a key
        ├── LeaseLost        the batch belongs to another collector now
        └── BatchDamaged     something else took records out of a frozen batch

An exception's own text may go to a log or a terminal. Over HTTP only `RequestError` shows its text.
"""


class KeytrailError(Exception):
    """Something that keytrail reports by itself, without a traceback."""


class ConfigError(KeytrailError):
    """A setting is wrong; the message names it."""


class RequestError(KeytrailError):
    """A request asks for something that can't be.

    Args:
        message: What is wrong, for the one who asked; goes into the answer.
    """

    status = 400


class NotAuthorised(RequestError):
    """Not authorised."""

    status = 401

    def __init__(self) -> None:
        """One text for every case, so that the answer does not tell which part was wrong."""
        super().__init__("Not authorised")


class Forbidden(RequestError):
    """The token may not do or see this; the message names the permission or the API."""

    status = 403


class NotFound(RequestError):
    """There is no such thing, or none that the asker may see: the answer does not tell which."""

    status = 404


class Conflict(RequestError):
    """The request contradicts an earlier one, as a key that was used for another body."""

    status = 409


class TooLarge(RequestError):
    """More was sent than is taken at once; the message says how much that is."""

    status = 413


class Unsupported(RequestError):
    """A content type or encoding that is not understood; the message names it."""

    status = 415


class NoLongerKept(RequestError):
    """The answer needs records or sums that retention has taken away, or out of reach; the message says which."""


class TooCostly(RequestError):
    """The answer would take more rows, memory or time than one question may; the message says what to do."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class StoreError(KeytrailError):
    """The store can't do what was asked; the engine's exception is the cause."""


class StoreBusy(StoreError):
    """Another process holds the data directory; the message says which."""


class StoreAway(StoreError):
    """The store can't be reached or gave up; trying again may help."""


class StoreLimited(StoreAway):
    """A statement would take more than its limits allow.

    Args:
        message: What the engine said.
        limit: What there was too much of: rows, bytes, rows of the answer, time or memory.
    """

    def __init__(self, message: str, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class StoreFull(StoreError):
    """There is no room on the store's disk."""


class SchemaError(StoreError):
    """The store's schema is newer than this version, or a migration failed."""


class UsageError(KeytrailError):
    """A part of keytrail was called wrongly by another; the message says what is wrong."""


class FileError(KeytrailError):
    """A file can't be read as what it claims to be; the message names it."""


class SourceError(KeytrailError):
    """Redis can't do what was asked; the client's exception is the cause."""


class RedisUrlError(SourceError, ValueError):
    """A Redis URL can't be read; the text names the bad part and never shows the password."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(f"redis url: {part}: {why}")
        self.part = part


class PrefixRefused(SourceError, ValueError):
    """The keys of a list with this prefix could not be kept in one hash slot, or would be read twice."""


class SourceUnavailable(SourceError):
    """Redis can't be reached or can't serve now; the call's outcome is unknown, and all are safe to repeat."""


class SourceFull(SourceUnavailable):
    """Redis is at its memory limit and refuses the write."""


class AccessDenied(SourceError):
    """Redis refused the user, a command or a key."""


class LeaseLost(SourceError):
    """The batch is no longer ours: drop it. Whether our last step counted is for the store to say."""

    def __init__(self, batch_id: str, why: str) -> None:
        super().__init__(f"batch {batch_id}: {why}")
        self.batch_id = batch_id


class BatchDamaged(SourceError):
    """A frozen batch holds another number of records than its state says."""

    def __init__(self, batch_id: str, expected: int, found: int) -> None:
        super().__init__(f"batch {batch_id}: {expected} records expected, {found} found: something else took them")
        self.batch_id = batch_id
        self.expected = expected
        self.found = found
