"""Twins: known systems that the lines of others ask for, to be observed as these were.

``pendulum: {system: measured, ..., twin: Lorenz}`` makes a system ``pendulum_twin`` that is trained on, forecast and
judged like any other, and of which the truth is known (:mod:`nearorbit.truth.twins`).
"""

from collections.abc import Mapping
from typing import Any

from nearorbit.study.catalogue import MEASURED, NEAREST, StudyError, quotes

AUTO = "auto"  # the nearest known system, nearorbit.truth.systems.nearest


def twin_of(system: str) -> str:
    """Name the twin of a system, a known one that is observed as it was."""
    return f"{system}_twin"


def with_twins(systems: Mapping[str, dict[str, Any]], where: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Make systems of the twins that lines ask for, each after the system that it is like, and tell which are."""
    made: dict[str, Any] = {}
    twins: dict[str, str] = {}
    for label, spec in systems.items():
        twin, name = spec.pop("twin", None), twin_of(label)
        made[label] = spec
        if twin is None:
            continue
        if name in systems:
            raise StudyError(
                f"{where}: systems.{label}.twin: it would be called '{name}', as another system is; rename that"
            )
        if not isinstance(twin, str | Mapping):
            raise StudyError(
                f"{where}: systems.{label}.twin: expected a known system or its line, not {twin!r}{quotes(twin)}"
            )
        if twin == AUTO:
            if spec["system"] != MEASURED:
                raise StudyError(f"{where}: systems.{label}.twin: '{AUTO}' is for measured systems; name one")
            twin = {"system": NEAREST, "like": spec}
        made[name] = {"system": twin} if isinstance(twin, str) else {"system": name, **twin}
        twins[name] = label
    return made, twins
