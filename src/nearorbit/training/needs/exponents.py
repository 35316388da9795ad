"""The true Lyapunov exponents."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Exponents(Need):
    """The true Lyapunov exponents, per unit of model time, with shape (E, D)."""

    file, privilege = "supervision", "true exponents"

    def __init__(self, source: Source):
        exponents = source.file("supervision")["exponents"] / source.observations["rate"]
        self._exponents = source.tensor(exponents.transpose("seed", "exponent").to_numpy())

    def gather(self, draw: Draw) -> Tensor:
        """Give them; see :class:`nearorbit.training.needs.base.Need`."""
        return self._exponents


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"exponents": Exponents}
