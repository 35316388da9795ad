"""Learning chaotic dynamics with Neural ODEs: a benchmark, from systems to figures.

The modules in the order in which data flows through them, which is also the order of imports::

    catalogue selection study digest files seeds systems lyapunov smoothing integration simulation observations
    neighbors local_maps local_fits fields flow discrepancies methods budget batches devices training performance
    forecast metrics scores tables figures stages __main__
"""

from importlib.metadata import version

__version__ = version("nearorbit")
