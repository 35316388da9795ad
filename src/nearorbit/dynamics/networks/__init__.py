"""The networks, one file each: ensembles of all seeds."""
