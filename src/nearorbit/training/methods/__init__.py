"""The training methods: a file per method, each exporting ``entries()``."""
