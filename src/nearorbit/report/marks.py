"""How a method looks in every figure: its color, its marker and its dashes, by its place in the study.

Seven colors are told apart by all eyes, also by those without red or green cones; of more methods, the next seven have
them darker with another marker and dashed lines, the next seven lighter. So no two methods share both, and none is
told by its hue alone.

References:
    | Color Universal Design (Okabe & Ito, 2008), of which six are; the seventh is the wine of Tol's schemes (2021)
    | A physiologically-based model for simulation of color vision deficiency (Machado et al., 2009), for the tests
"""

from dataclasses import dataclass
from typing import Any

from nearorbit.evaluation.scores import Results
from nearorbit.study.catalogue import TRUTH

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
GROUPS = (
    ("o", "-", 0.0),
    ("s", "--", -0.35),
    ("^", ":", 0.25),
    ("D", "-.", -0.35),
    ("v", (0, (5, 1, 1, 1, 1, 1)), 0.25),
)
# marker, dashes, and how far the colors are towards black or white


@dataclass(frozen=True)
class Mark:
    """How a method is drawn.

    Arguments:
        color: The color, as ``"#rrggbb"``.
        marker: The marker of its dots.
        dashes: The style of its lines.
    """

    color: str
    marker: str = "o"
    dashes: Any = "-"


def marks(results: Results) -> dict[str, Mark]:
    """Assign a mark to the truth and to each method of a study; they keep it when others join."""
    return {TRUTH: Mark("#000000")} | {method: mark(place) for place, method in enumerate(results.methods)}


def mark(place: int) -> Mark:
    """Give the mark of the method at this place of a study, from 0; those beyond 34 begin anew."""
    group, hue = divmod(place, len(COLORS))
    marker, dashes, shade = GROUPS[group % len(GROUPS)]
    return Mark(_shaded(COLORS[hue], shade), marker, dashes)


def _shaded(color: str, shade: float) -> str:
    """Move a color towards black (-1) or white (1)."""
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + abs(shade) * ((255 if shade > 0 else 0) - part)):02x}" for part in parts)
