"""What the words of a page mean: keys of a study file by its schema, metrics and failures by their docstrings."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from nearorbit.evaluation.scores import Results
from nearorbit.report import documentation
from nearorbit.report.effects import entry
from nearorbit.study.schema import resolved, schema
from nearorbit.study.study import Study

FAILURES = "nearorbit.evaluation.forecast"  # the module that says when a seed has failed
FAILED = ("*collapsed*", "*diverged*")


def failures() -> list[Markup]:
    """Say when a seed has failed."""
    return [Markup(documentation.html(told)) for told in documentation.sentences(FAILURES, *FAILED)]


def measures(results: Results) -> Iterator[tuple[str, Markup]]:
    """Define the metrics that there are scores of; those of one module stand together."""
    labels: dict[str, list[str]] = {}
    for metric in map(entry, results.table("scores.csv")["metric"].unique()):
        compute = getattr(metric.compute, "func", metric.compute)
        labels.setdefault(str(inspect.unwrap(compute).__module__), []).append(metric.label)
    return ((", ".join(of), Markup(documentation.module(module))) for module, of in labels.items())


def keys(study: Study) -> dict[str, list[dict[str, Any]]]:
    """Describe the keys that a study sets of its budget and of its data, by section."""
    labelled = {"data": study.data, "neighbors": study.neighbors}
    lines = {name: {key: "" for line in of.values() for key in line} for name, of in labelled.items()}
    sections = {"training": study.training, "evaluation": study.evaluation, **lines}
    return {name: described(name, values) for name, values in sections.items()}


def described(section: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the keys of a section that are set.

    Arguments:
        section: Its name. Of one that holds labelled lines, such as ``data``, ``values`` are those of a line.
        values: What they are set to.

    Returns:
        Of each key its ``name``, its ``value`` and what it ``means``, with its unit, in HTML.
    """
    spec = schema()["properties"][section]
    labelled = spec.get("additionalProperties")
    return list(_within(labelled if isinstance(labelled, Mapping) else spec, values))


def _within(spec: Mapping[str, Any], values: Mapping[str, Any], place: str = "") -> Iterator[dict[str, Any]]:
    for name, inner in spec.get("properties", {}).items():
        if name not in values:
            continue
        inner = resolved(inner)
        if isinstance(values[name], Mapping) and "properties" in inner:
            yield from _within(inner, values[name], f"{place}{name}.")
            continue
        means = Markup(documentation.html(inner["description"]))
        yield {"name": f"{place}{name}", "value": values[name], "means": means}
