"""The form of a study file: what the schema asks, and what YAML makes of it without a word.

A violation is told in the terms of the file: its place, what was expected, what came and the way out.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nearorbit.study.catalogue import StudyError, hint, quotes, refuse

SCHEMA = Path(__file__).with_suffix(".yaml")
NO_TEXTS = {"null": "nothing", "bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date"}
LARGEST, DEEPEST = 100_000, 20  # entries of a study file, and levels of them


def read(path: Path) -> str:
    """Read the text of a study file, and check what its content no longer shows.

    Arguments:
        path: The study file, YAML.

    Raises:
        StudyError: If the file cannot be read, has a key twice, of which the last would win, or has one that YAML takes
            for something else than text.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        problems = list(_key_problems(yaml.compose(text, yaml.SafeLoader)))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror or error}; a study is a YAML file such as config.yaml") from None
    except Exception as error:
        raise StudyError(f"{path}: not a YAML file: {error}") from None
    refuse([f"{path}: {problem}" for problem in problems])
    return text


@cache
def schema() -> dict[str, Any]:
    """Read the schema of study files, with what each key means."""
    import yaml

    return yaml.safe_load(SCHEMA.read_text())


def resolved(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what the schema says of a key with what it refers to, and with its unit in its description."""
    if "$ref" in spec:
        spec = {**schema()["$defs"][spec["$ref"].rpartition("/")[2]], **spec}
    unit = f" In {spec['unit']}." if "unit" in spec else ""
    return {**spec, "description": f"{spec['description']}{unit}"}


def written(content: Mapping[str, Any]) -> str:
    """Write the content of a study as the text of its file."""
    import yaml

    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def _key_problems(root: Any) -> Iterator[str]:
    import yaml

    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))  # references lead to one node again and again
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        waiting += [value for _, value in node.value]
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            text, line, kind = key.value, key.start_mark.line + 1, key.tag.removeprefix("tag:yaml.org,2002:")
            if kind in NO_TEXTS:
                read = yaml.safe_load(text)
                yield f"line {line}: YAML reads '{text}' as {NO_TEXTS[kind]}, {read}: put it in quotes, '\"{text}\"'"
            if text in lines:
                yield f"lines {lines[text]} and {line}: '{text}' stands there twice, and only the last would count"
            lines.setdefault(text, line)


def is_small(config: Any) -> bool:
    """Tell whether a file is no larger than a study can be: a few references of YAML can stand for billions."""
    count, waiting = 0, [(config, 0)]
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > LARGEST or depth > DEEPEST:
            return False
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple | set) else ()
        waiting += [(item, depth + 1) for item in inner]
    return True


def violations(config: Any) -> list[str]:
    """Tell what the schema finds in the content of a study file, in words for its writer."""
    import jsonschema

    draft = jsonschema.Draft202012Validator
    # The schema's own notion lets 3.0 pass as an integer and NaN as a number.
    checker = draft.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: _is_number(value),
        }
    )
    validator = jsonschema.validators.extend(draft, type_checker=checker)(schema())
    errors = sorted(validator.iter_errors(config), key=lambda error: [str(key) for key in error.absolute_path])
    return [problem for error in errors for problem in _explain(error)]


def _is_number(value: Any) -> bool:
    within = isinstance(value, int | float) and abs(value) <= sys.float_info.max  # an integer may be larger
    return within and not isinstance(value, bool)


def _explain(error: Any) -> Iterator[str]:
    """Say what a violation of the schema means to the writer of the file."""
    place = ".".join(map(str, error.absolute_path))
    at = f"{place}: " if place else ""
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties", ()))
            for key in error.instance:
                if key not in known:
                    yield f"{at}no setting '{key}'{hint(key, known)} (it takes {', '.join(known)})"
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            yield f"{at}missing {', '.join(missing)}; a study states every value, see config.yaml"
        case "pattern":
            yield f"{at}{error.instance!r} is not {error.schema['title']}"
        case "type":
            expected = error.validator_value
            if "number" in expected and type(error.instance) in (int, float):  # it is one, and not finite
                expected = "number"
            trap = quotes(error.instance) if "string" in expected else _yaml_trap(error.instance)
            yield f"{at}expected {_kind(expected)}, not {error.instance!r}{trap}"
        case "enum":
            allowed = ", ".join(error.validator_value)
            yield f"{at}expected one of {allowed}, not {error.instance!r}{quotes(error.instance)}"
        case "minProperties":
            yield f"{at}at least one is needed"
        case _:
            yield f"{at}{error.message}"


def _kind(types: str | list[str]) -> str:
    names = {
        "integer": "a whole number",
        "number": "a finite number",
        "string": "a text",
        "object": "a section of `name: value` lines",
        "array": "a list",
        "boolean": "true or false",
        "null": "nothing",
    }
    return " or ".join(names[name] for name in ([types] if isinstance(types, str) else types))


def _yaml_trap(value: Any) -> str:
    """YAML reads ``1e-3`` as a text; only ``1.0e-3`` is a number."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    return f"; write {number!r}" if math.isfinite(number) and "e" not in repr(number) else ""
