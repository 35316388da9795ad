"""Every key of a study file, as its schema describes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nearorbit.study.schema import resolved, schema

TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "array": "list"}
BOUNDS = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to", "exclusiveMaximum": "below"}
LARGE = 1e12  # a bound from here on is against nonsense, and not told


@dataclass(frozen=True)
class Key:
    """A key; ``code`` in its texts is between two backticks each.

    Arguments:
        name: Its place, such as ``data.LABEL.noise``.
        type: What it has to be, and in which range.
        default: What holds where it is left out; empty where it has to be there.
        meaning: What it means, and in which unit it is.
    """

    name: str
    type: str
    default: str
    meaning: str


def keys() -> list[Key]:
    """List all keys, in the order of the schema."""
    whole = schema()
    return [key for name, spec in whole["properties"].items() for key in _within(name, spec, name in whole["required"])]


def _within(name: str, spec: Mapping[str, Any], required: bool) -> Iterator[Key]:
    """Describe a key and those within it."""
    spec = resolved(spec)
    default = spec.get("default", "")
    told = "" if required else str(default).lower() if isinstance(default, bool) else str(default)
    yield Key(name, _type(spec), told, spec["description"])
    labelled = spec.get("additionalProperties")
    if isinstance(labelled, Mapping) and "properties" in labelled:
        name, spec = f"{name}.LABEL", labelled
    for key, inner in spec.get("properties", {}).items():
        yield from _within(f"{name}.{key}", inner, key in spec.get("required", ()))


def _type(spec: Mapping[str, Any]) -> str:
    if "enum" in spec:
        return " or ".join(f"``{value}``" for value in spec["enum"])
    if "title" in spec:
        return spec["title"]
    if spec["type"] == "object":
        lines = isinstance(spec.get("additionalProperties"), Mapping)
        return "a section of lines, each with a label" if lines else "a section"
    kinds = [spec["type"]] if isinstance(spec["type"], str) else spec["type"]
    bounds = [f"{word} {spec[name]:,}" for name, word in BOUNDS.items() if abs(spec.get(name, LARGE)) < LARGE]
    return " ".join([" or ".join(TYPES[kind] for kind in kinds), *bounds])
