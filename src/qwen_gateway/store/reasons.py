"""What a failure of the database means: whether it is one at all, and in words for people."""

import os
import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DAMAGED = "its file is damaged"
NO_DATABASE = "its file is no SQLite database"
LASTING = frozenset((DAMAGED, NO_DATABASE))
"""What does not pass by itself."""

_SQLITE = {
    sqlite3.SQLITE_INTERRUPT: "it takes too long",
    sqlite3.SQLITE_BUSY: "another program holds its file locked",
    sqlite3.SQLITE_READONLY: "its file cannot be written",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_NOTADB: NO_DATABASE,
}
_NOT_ALLOWED = "42501"
# The most exact one first: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "25006": "the server takes no changes",
    "28": "the server refuses the user or the password",
    "3D000": "the server has no database of this name",
    _NOT_ALLOWED: "the server refuses this to the user",
    "53100": "the server's disk is full",
    "53300": "the server has too many connections",
    "57P03": "the server is starting or ending",
    "57P": "the server is ending",
    "08": "the connection broke",
}


def is_ours(problem: Exception) -> bool:
    """Whether the statement or a value is wrong: the database is well, and would say the same each time."""
    if not isinstance(problem, DBAPIError) or problem.connection_invalidated:
        return False
    if state := getattr(problem.orig, "sqlstate", None):
        return state[:2] in {"22", "23", "42"} and state != _NOT_ALLOWED
    # asyncpg's own word on a value that it cannot send is a ValueError.
    of_a_value = isinstance(getattr(problem.orig, "__cause__", None), ValueError)
    return of_a_value or isinstance(problem, IntegrityError | DataError | ProgrammingError)


def reason(problem: BaseException) -> str:
    """For people. Never the text of `problem`, which may quote what was stored."""
    if isinstance(problem, PoolTimeout):
        return "too much is asked of it at once"
    source = problem.orig if isinstance(problem, DBAPIError) else problem
    code = getattr(source, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code & 0xFF, "SQLite reports an error")
    state = getattr(source, "sqlstate", None)
    if state:
        return next((why for start, why in _POSTGRES.items() if state.startswith(start)), f"the server says {state}")
    if isinstance(problem, ConnectionError) or getattr(problem, "connection_invalidated", False):
        return "the connection broke, or nobody listens there"
    if isinstance(problem, OSError):
        # Those of the resolver are negative.
        return os.strerror(problem.errno) if problem.errno and problem.errno > 0 else "it cannot be reached"
    return f"the driver reports {type(source).__name__}"
