"""The true systems: a file per family, each exporting ``entries()``."""
