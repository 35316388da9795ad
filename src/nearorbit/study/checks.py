"""What is well formed line by line in a study, and does not fit together."""

from collections.abc import Iterator
from typing import Any

from nearorbit.study import sampling
from nearorbit.study.catalogue import quotes
from nearorbit.study.places import LABELLED, reserved
from nearorbit.study.sampling import CUT, LEAST_SMOOTHED
from nearorbit.study.selection import Selection


def misfits(study: Any) -> Iterator[str]:
    """Find what is well formed line by line, and does not fit together."""
    segment = study.training["segment"]
    labels = [("study", "study", study.study)]
    labels += [
        (axis, f"{section}.{label}", label) for section, axis in LABELLED.items() for label in getattr(study, section)
    ]
    labels += [("method", f"fields.{label}", label) for label in study.fields]
    for axis, place, label in labels:
        if label in reserved(axis):
            yield f"{place}: '{label}' is the name of a file or folder of results; take another label"
    for label in study.fields.keys() & study.methods.keys():
        yield f"fields.{label}: a method has this label, too; take another"
    for method, network in study.networks_of.items():
        if not isinstance(network, str):
            yield f"methods.{method}.network: expected a text, not {network!r}{quotes(network)}"
    if "decay" in study.training and (optimizer := study.training.get("optimizer", "adam")) != "adamw":
        yield f"training.decay: {optimizer} has no use for it: leave it out, or take training.optimizer: adamw"
    for label, settings in study.neighbors.items():
        try:
            Selection(**settings)
        except ValueError as error:
            yield f"neighbors.{label}: {error}"
        if "anchors" in settings and study.training["batch"] == "all":
            yield (
                f"neighbors.{label}.anchors: segments begin at them, and with training.batch 'all' elsewhere; leave "
                f"this out, or give the number of segments"
            )
    for label, data in study.data.items():
        kinds = {
            "simulated": len(study.measured) + len(study.twins) < len(study.systems),
            "measured": bool(study.measured),
        }
        if problems := list(sampling.misfits(f"data.{label}", data, **kinds)):
            yield from problems
            continue
        (samples, held_out), irregular = study.in_a_row[label], sampling.is_irregular(data)
        if samples <= segment:
            yield f"training.segment: {segment} is too long for the orbits of data.{label}, {study.told(label)}"
        if irregular and held_out <= (length := min(study.training["horizon"], sampling.held_out(data)[1] - 1)):
            yield (
                f"training.horizon: {length} is too long for the orbits of data.{label} that are held out, at most "
                f"{held_out} samples in a row; lower this, or raise samples or gap of data.{label}"
            )
        if data.get("smooth") and (fewest := min(study.fewest[label])) < LEAST_SMOOTHED:
            yield (
                f"data.{label}.smooth: a spline needs at least {LEAST_SMOOTHED} samples of an orbit, and the shortest "
                f"has {fewest} (those held out for validation are a fifth as many); raise samples, lower missing, or "
                f"leave out smooth"
            )
        if irregular and study.training["batch"] == "all":
            yield f"training.batch: {CUT} or leave out data.{label}"
