"""Which observed states count as the neighbors of a state: the settings of :mod:`nearorbit.data.neighbors`.

They are apart from the search, so that a study is checked without what the search imports.
"""

import math
from dataclasses import dataclass

from nearorbit.study.catalogue import hint

SELECTIONS = ("nearest", "shell", "spread")
DRAWS = ("once", "batch")

UNEVEN = (
    "states some samples behind are as long before at equal intervals alone, and samples are missing or moved; take a "
    "selection without behind, and no instrument"
)


@dataclass(frozen=True)
class Selection:
    """Which observed states are the neighbors of a state.

    Arguments:
        count: The number of neighbors, K.
        theiler: The Theiler window, in periods of the system.
        selection: ``nearest``, ``shell`` or ``spread``.
        inner: The least distance of a neighbor, in standardized coordinates; not for ``nearest``.
        outer: The largest, if there is one; not for ``nearest``.
        candidates: How many times K of the nearest the selection ``spread`` chooses from, or of as many as there are;
            and how many times K of the members of a ring are kept to draw from.
        behind: How many samples before a state and its neighbors the states lie that are compared.
        smoothed: Whether smoothing splines of the orbits are compared instead of the observed states.
        anchors: The number of states, drawn at random, that neighbors are found for, among all; None for all of them.
        draw: ``once``, or of a shell ``batch``: K members of this ring are drawn anew for every batch.
        one_per_pass: Whether of states that follow one another, within the Theiler window, the nearest alone counts.

    Raises:
        ValueError: If there is no such selection, or a setting is out of range or of no use to it.
    """

    count: int = 25
    theiler: float = 0.5
    selection: str = "nearest"
    inner: float = 0.0
    outer: float | None = None
    candidates: int = 4
    behind: int = 0
    smoothed: bool = False
    anchors: int | None = None
    draw: str = "once"
    one_per_pass: bool = False

    def __post_init__(self):
        if self.selection not in SELECTIONS:
            known = ", ".join(SELECTIONS)
            raise ValueError(f"no selection '{self.selection}'{hint(self.selection, SELECTIONS)}; there are {known}")
        if self.draw not in DRAWS:
            raise ValueError(f"draw is one of {', '.join(DRAWS)}, not '{self.draw}'{hint(self.draw, DRAWS)}")
        for name in ("count", "candidates", "behind", *(["anchors"] if self.anchors is not None else [])):
            if type(value := getattr(self, name)) is not int:
                raise ValueError(f"{name} has to be an integer, not {value!r}")
        if self.count < 1 or self.candidates < 1:
            raise ValueError(f"count ({self.count}) and candidates ({self.candidates}) have to be at least 1")
        if self.anchors is not None and self.anchors < 1:
            raise ValueError(f"anchors ({self.anchors}) have to be at least 1: leave them out for all states")
        if not 0 <= self.theiler < math.inf or self.behind < 0:
            raise ValueError(f"theiler ({self.theiler}) and behind ({self.behind}) must not be negative, nor infinite")
        if not 0 <= self.inner < self.farthest:
            raise ValueError(f"inner ({self.inner}) has to be at least 0 and less than outer ({self.farthest})")
        if self.draw == "batch" and (self.selection != "shell" or self.outer is None):
            raise ValueError(
                "draw 'batch' is from a ring: take selection 'shell' with both radii, inner and outer, or draw 'once'"
            )
        if self.draw == "batch" and self.one_per_pass:
            raise ValueError("one_per_pass is of the nearest: leave it out, or take draw 'once'")
        if self.selection != "spread" and self.draw == "once" and self.candidates != type(self).candidates:
            raise ValueError(f"selection '{self.selection}' has no use for candidates: leave it out, or take 'spread'")
        if self.selection == "nearest" and (self.inner > 0 or self.outer is not None):
            raise ValueError(
                f"selection 'nearest' has no use for inner ({self.inner}) and outer ({self.outer}): "
                f"leave them out, or take selection 'shell'"
            )

    @property
    def farthest(self) -> float:
        """The largest distance of a neighbor, in standardized coordinates."""
        return math.inf if self.outer is None else self.outer

    @property
    def pool(self) -> int:
        """How many of the nearest are chosen from, or of a ring are kept."""
        return self.count * self.candidates if self.selection == "spread" or self.draw == "batch" else self.count
