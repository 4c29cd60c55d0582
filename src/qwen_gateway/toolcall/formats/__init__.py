"""The forms in which models write calls, one module for each: how it is read, and for some how it is taught. Pure."""
