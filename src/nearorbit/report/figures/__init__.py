"""The figures: a file per figure, each exporting ``entries()``."""
