"""The metrics: a file per metric, each exporting ``entries()``."""
