"""The exceptions of keytrail.

    KeytrailError
    ├── ConfigError          a setting is wrong; the message names it
    ├── RequestError         a request asks for something that can't be; becomes HTTP 400 or as its status says
    │   ├── NotAuthorised    no token, a wrong or an expired one (401)
    │   ├── Forbidden        the token lacks a permission or may not see an API (403)
    │   └── NotKept          the range needs raw rows that retention has dropped (400)
    ├── StoreError           the store can't do it; the cause is kept
    │   ├── StoreBusy        another process holds the data directory; the message says which
    │   ├── StoreAway        the server can't be reached, or ran out of time or memory: trying again may help
    │   ├── StoreFull        no room on the disk
    │   └── SchemaError      the store's schema is newer than this version, or a migration failed
    ├── UsageError           a part of keytrail was called wrongly by another: a fault of ours
    ├── FileError            a file can't be read as what it claims to be
    └── SourceError          Redis can't do it; the cause is kept
        ├── SourceAway       Redis can't be reached: trying again may help
        └── LeaseLost        another collector owns the batch now

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


class NotKept(RequestError):
    """The range needs raw rows that retention has dropped; the message names the day."""


class StoreError(KeytrailError):
    """The store can't do what was asked; the engine's exception is the cause."""


class StoreBusy(StoreError):
    """Another process holds the data directory; the message says which."""


class StoreAway(StoreError):
    """The store can't be reached or gave up; trying again may help."""


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


class SourceAway(SourceError):
    """Redis can't be reached; trying again may help."""


class LeaseLost(SourceError):
    """Another collector owns the batch now; what this one did with it is not confirmed."""
