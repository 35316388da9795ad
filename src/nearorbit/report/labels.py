"""What tables and figures name of a study: labels of its lines, and numbers of its seeds, starts and components."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError

LABELS = {  # the settings of tables and figures that are labels of a study, and of which of its axes
    **dict.fromkeys(("reference", "method", "methods"), "methods"),
    **dict.fromkeys(("data", "reference_data"), "data"),
    "without": "systems",
}
NUMBERED: dict[str, Callable[[Any], int]] = {  # those that are numbers of what a study has so many of, from 0 on
    "seed": lambda study: study.seeds,
    "start": lambda study: study.evaluation["starts"],
    "component": lambda study: min(_components(study), default=1),
}


def misfits(study: Any, place: str, entry: Any) -> Iterator[str]:
    """Tell of a table or figure that names a method, a kind of data or a system that its study has not, or the number
    of a seed, a start or a component that is none, and of one that has nothing to show in a ``horizon``.

    Arguments:
        study: The study.
        place: The place of the table or figure in it, e.g. ``"tables.comparison"``.
        entry: The table or figure.
    """
    for setting, axis in LABELS.items():
        known, labels = getattr(study, axis), getattr(entry, setting, None)
        known = [*known, *(study.fields if axis == "methods" else ())]
        for label in [labels] if isinstance(labels, str) else labels or ():
            if label not in known:
                near, kind = catalogue.hint(label, known), axis.removesuffix("s")
                yield f"{place}.{setting}: no {kind} '{label}'{near}; the study has {', '.join(known)}"
    for setting, count in NUMBERED.items():
        if hasattr(entry, setting) and (number := getattr(entry, setting)) not in range(most := count(study)):
            yield f"{place}.{setting}: {number} has to be one of the {most} of this study, from 0 to {most - 1}"
    if not (horizon := getattr(entry, "horizon", 1)) > 0:
        yield f"{place}.horizon: {horizon} has to be positive"


def _components(study: Any) -> Iterator[int]:
    """Count the components of each system that are seen in each kind of data; a delay makes no fewer."""
    for system in study.systems:
        with suppress(StudyError):  # said elsewhere
            components = study.entry("systems", system).components
            yield from (len(data.get("components", components)) for data in study.data.values())
