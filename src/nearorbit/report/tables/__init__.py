"""The tables: a file per table, each exporting ``entries()``."""
