r"""A system: an autonomous vector field :math:`\dot{x} = f(x)` whose equations are written once.

The equations are a function of the state *and of the array namespace they run in*: with NumPy they give arrays, with
torch they give tensors that carry gradients, and with arrays of symbols they give the expressions that heyoka compiles.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nearorbit import __version__
from nearorbit.study.catalogue import hint


@dataclass(frozen=True)
class System:
    """The equations of a true system; subclasses define :meth:`__call__`.

    Arguments:
        name: Its name in the catalogue.
        components: The names of its components; their number is the dimension D.
        parameters: The values of its parameters, by name.
        start: A state in the basin of its attractor, with shape (D,).
        period: The dominant period, in units of system time; None where it has to be estimated.
        smooth: Whether the equations are smooth, so that a Taylor method converges.
    """

    name: str
    components: tuple[str, ...]
    parameters: Mapping[str, Any]
    start: np.ndarray = field(repr=False, compare=False)
    period: float | None = None
    smooth: bool = True

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        return len(self.components)

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Evaluate the vector field.

        Arguments:
            x: States in system units, with shape (*, D).
            xp: The array namespace: numpy, torch, or the one that :mod:`nearorbit.truth.simulation` makes for heyoka.

        Returns:
            The time derivatives, per unit of system time, with shape (*, D).
        """
        raise NotImplementedError

    def misfits(self, study: Any, place: str) -> Iterator[str]:
        """Tell what it asks of the rest of a study in vain: starts of data that are no states of it.

        Arguments:
            study: The study.
            place: Its place in it, e.g. ``"systems.Lorenz"``.
        """
        for label, data in study.data.items():
            if (count := len(data.get("start", self.components))) != self.dimension:
                yield (
                    f"data.{label}.start: {count} numbers, but {place} has {self.dimension} components, "
                    f"{', '.join(self.components)}; give a number for each, or leave out start"
                )


def misfits(study: Any, place: str, entry: System) -> Iterator[str]:
    """Tell what a system asks of the rest of a study in vain; see :meth:`System.misfits`. Of a twin as many components
    are seen as of what it is like, whatever they are called."""
    for label, data in () if place.partition(".")[2] in study.twins else study.data.items():
        if missing := [name for name in data.get("components", ()) if name not in entry.components]:
            yield (
                f"data.{label}.components: {place} has no '{missing[0]}'{hint(missing[0], entry.components)}; it has "
                f"{', '.join(entry.components)}"
            )
    yield from entry.misfits(study, place)


def bounded(name: str, value: float, *, above: float = -np.inf) -> float:
    """Check that a parameter is a finite number above a bound; a ValueError says what came."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value)
    if not (number and value > above):
        bound = "" if above == -np.inf else f" above {above:g}"
        raise ValueError(f"'{name}' has to be a finite number{bound}, not {value!r}")
    return value


def integer(name: str, value: int, *, least: int, most: int = 10_000) -> int:
    """Check that a parameter is an integer within bounds; a ValueError says what came."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"'{name}' has to be an integer from {least} to {most}, not {value!r}")
    return int(value)


def state(name: str, value: Sequence[float], components: Sequence[str], *, above: float = -np.inf) -> np.ndarray:
    """Check that a parameter is a state, a finite number above a bound for each component; returns shape (D,)."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != len(components):
        raise ValueError(
            f"'{name}' has to be a list of {len(components)} numbers, {', '.join(components)}, not {value!r}"
        )
    return np.array([bounded(f"{name}[{i}]", number, above=above) for i, number in enumerate(value)], dtype=float)


def attributes(system: System) -> dict[str, Any]:
    """Say in the attributes of a file which system it is of, and which version wrote it."""
    parameters = {key: np.asarray(value).tolist() for key, value in system.parameters.items()}
    return {
        "system": system.name,
        "parameters": json.dumps(parameters),
        "units": system.parameters.get("units", "system units"),
        "nearorbit": __version__,
    }
