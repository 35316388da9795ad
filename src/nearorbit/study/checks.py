"""What is well formed line by line in a study, and does not fit together."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from nearorbit.study.catalogue import StudyError, hint
from nearorbit.study.places import LABELLED, reserved
from nearorbit.study.selection import Selection

NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # what a method may declare in `needs`: the file that brings it, and the settings of the method that it is made by
    "states": ("observations", ()),
    "smoothed": ("observations", ()),
    "noise": ("observations", ()),
    "spline": ("observations", ()),
    "windows": ("observations", ("window", "share")),
    "neighbors": ("neighbors", ("neighbors", "count")),
    "past": ("neighbors", ("neighbors", "count", "instrument")),
    "local_maps": ("neighbors", ("neighbors", "count", "fit")),
    "jacobians": ("supervision", ()),
    "fields": ("supervision", ()),
    "perturbed": ("supervision", ()),
    "exponents": ("supervision", ()),
}


def inputs(method: Any) -> set[str]:
    """Tell which files bring what a method needs: ``observations``, and maybe ``neighbors`` and ``supervision``."""
    return {"observations", *(NEEDS[need][0] for need in method.needs)}


def misfits(study: Any) -> Iterator[str]:
    """Find what is well formed line by line, and does not fit together."""
    segment = study.training["segment"]
    labels = [("study", "study", study.study)]
    labels += [
        (axis, f"{section}.{label}", label) for section, axis in LABELLED.items() for label in getattr(study, section)
    ]
    for axis, place, label in labels:
        if label in reserved(axis):
            yield f"{place}: '{label}' is the name of a file or folder of results; take another label"
    for label, settings in study.neighbors.items():
        try:
            Selection(**settings)
        except ValueError as error:
            yield f"neighbors.{label}: {error}"
    for label, data in study.data.items():
        if ("spacing" in data) == ("samples_per_period" in data):
            yield f"data.{label}: give one of samples_per_period and spacing (system time), not both or none"
        if data["samples"] <= segment:
            yield f"training.segment: {segment} is too long for the orbits of data.{label}, {data['samples']} samples"


def reference_misfits(study: Any, place: str, entry: Any) -> Iterator[str]:
    """Find a table or figure that compares with a method that the study has not."""
    if (reference := getattr(entry, "reference", None)) not in (None, *study.methods):
        known = study.methods
        yield f"{place}.reference: no method '{reference}'{hint(reference, known)}; the study has {', '.join(known)}"


def method_misfits(study: Any, place: str, method: Any) -> Iterator[str]:
    """Find what a method, with its settings and their defaults, asks of the rest of the study in vain."""
    for need in sorted(method.needs - NEEDS.keys()):
        yield f"{place}: nothing brings '{need}', which it needs{hint(need, NEEDS)}; there are {', '.join(NEEDS)}"
    settings = {setting: need for need in NEEDS if need in method.needs for setting in NEEDS[need][1]}
    lacking = {setting: need for setting, need in settings.items() if not hasattr(method, setting)}
    for setting, need in lacking.items():
        yield f"{place}: it needs '{need}', and has no setting '{setting}' to make it by; see methods/base.py"
    if lacking or method.needs - NEEDS.keys():
        return
    for name, data in study.data.items():
        samples = data["samples"]
        for setting in ("segment", *settings.keys() & {"window"}):
            if (length := getattr(method, setting, None) or 0) >= samples:
                orbits = f"the orbits of data.{name}, {samples} samples"
                yield f"{place}.{setting}: {length} is too long for {orbits}"
    if "windows" in method.needs and study.training["batch"] < 2:
        yield f"{place}: it needs two windows or more in a step; raise training.batch"
    if "neighbors" in inputs(method):
        yield from _neighbor_misfits(study, place, method)
    if pointwise := {"jacobians", "perturbed"} & method.needs:
        for name in study.systems:
            try:
                system = study.entry("systems", name)
            except StudyError:
                continue  # said elsewhere
            if not system.smooth:
                yield (
                    f"{place}: it needs the true Jacobian ({', '.join(sorted(pointwise))}), and systems.{name} "
                    f"has none where its field has kinks or jumps; leave out the method, or the system"
                )


def _neighbor_misfits(study: Any, place: str, method: Any) -> Iterator[str]:
    selection = study.neighbors.get(method.neighbors)
    if selection is None:
        known = study.neighbors
        yield (
            f"{place}.neighbors: no selection '{method.neighbors}'{hint(method.neighbors, known)}; the section "
            f"neighbors has {', '.join(known)}"
        )
        return
    chosen = f"neighbors.{method.neighbors}"
    for name, data in study.data.items():
        begin = data["samples"] - (longest := study.training["segment"]) - (behind := selection.get("behind", 0))
        if begin <= 0:
            yield (
                f"{chosen}.behind: no state has {behind} samples behind and the {longest} of a segment ahead of it in "
                f"the orbits of data.{name}, {data['samples']} samples"
            )
            continue
        window = math.ceil(selection["theiler"] * data.get("samples_per_period", 0))  # known later for a `spacing`
        states, own = data["orbits"] * begin, min(begin, 2 * window + 1)
        if states - own < (count := selection["count"]):
            yield (
                f"{chosen}.count: {count} is too many for data.{name}: {states} states begin a segment, and {own} of "
                f"them are within the Theiler window of one; lower this or theiler, or ask for more data"
            )
    if (getattr(method, "segment", None) or 0) > (longest := study.training["segment"]):
        yield f"{place}.segment: neighbors are followed for training.segment samples, {longest}; raise this"
    if method.count > (available := selection["count"]):
        yield f"{place}.count: {method.count} is more than {chosen}.count, {available}; lower this or raise that"
    if "past" not in method.needs:
        return
    if method.instrument >= (behind := selection.get("behind", 0)):
        yield (
            f"{place}.instrument: {method.instrument} samples earlier, and {chosen} are chosen {behind} earlier: they "
            f"have to be chosen before the instrument; raise {chosen}.behind or lower this"
        )
    if selection.get("smoothed", False):
        yield (
            f"{place}.instrument: {chosen} are chosen among smoothing splines, which carry the noise of all samples "
            f"along; an instrument needs neighbors that were chosen without them"
        )
