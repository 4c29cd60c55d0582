"""The middle: carries one turn from a request to events, over ports. Async, and no I/O library is imported here."""
