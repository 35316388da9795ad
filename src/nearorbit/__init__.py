"""Learning chaotic dynamics with Neural ODEs: a benchmark, from systems to figures.

Each package is a room, in the order in which data flows through them. A module imports from the rooms above its own,
and in its room from the modules above it; each room says which it has. The order::

    study dynamics truth data training evaluation report stages whole __main__
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nearorbit")
except PackageNotFoundError:  # a checkout that nobody has installed
    __version__ = "0+source"
