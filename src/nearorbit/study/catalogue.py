"""What a name in a study may be.

A catalogue is a package in one of the rooms (:data:`CATALOGUES`). Each of its modules that exports
``entries() -> {name: factory}`` contributes entries; a new file is a new entry, and nothing else has to be edited. A
factory is called with the settings of the study as keyword arguments.
"""

import difflib
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from types import UnionType
from typing import Any, get_args, get_origin

CATALOGUES = {  # and the packages that they are
    "networks": "nearorbit.dynamics.networks",
    "systems": "nearorbit.truth.systems",
    "needs": "nearorbit.training.needs",
    "methods": "nearorbit.training.methods",
    "metrics": "nearorbit.evaluation.metrics",
    "tables": "nearorbit.report.tables",
    "figures": "nearorbit.report.figures",
}
TRUTH = "truth"  # the label of the true field, which is judged like a method of a study
NEAREST = "nearest"  # the entry of the known system that moves most like a measured one
MEASURED = "measured"  # the entry of systems of which there are recordings, and no field


class StudyError(ValueError):
    """A study that cannot be run: the message names the place, what was expected, what came and the way out."""


def refuse(problems: Iterable[str]) -> None:
    """Refuse what has problems; each is told once, in a line of its own.

    Raises:
        StudyError: If there are any.
    """
    if lines := "\n".join(dict.fromkeys(problems)):
        raise StudyError(lines)


@cache
def entries(package: str) -> Mapping[str, Any]:
    """Collect the entries of a catalogue.

    A catalogue may give all of them what they have in common, by a function ``completed(entry)`` of its module
    ``base``.

    Arguments:
        package: The name of the catalogue, e.g. ``"methods"``.

    Returns:
        The factories by name, sorted by name; metrics are there themselves.

    Raises:
        ValueError: If two modules export the same name.
    """
    found: dict[str, Any] = {}
    modules = _modules(package)
    completed = getattr(sys.modules.get(f"{CATALOGUES[package]}.base"), "completed", lambda entry: entry)
    for module, exported in modules.items():
        for name, factory in exported.items():
            if name in found:
                raise ValueError(f"{module}: the name '{name}' is taken by another entry of '{package}'")
            found[name] = completed(factory)
    return dict(sorted(found.items()))


def summary(entry: Any) -> str:
    """Give the first sentence of an entry's documentation, without markup and formulas; a metric's name on axes."""
    if label := getattr(entry, "label", None):
        return str(label)
    entry = entry.func if isinstance(entry, partial) else entry
    text = inspect.getdoc(entry if inspect.isroutine(entry) or isinstance(entry, type) else type(entry)) or ""
    text = " ".join(text.split("\n\n")[0].split())
    text = re.sub(r",? :math:`.*?`", "", text)  # formulas are for those who read the source
    return re.sub(r":\w+:`(.*?)`", r"\1", text).partition(". ")[0].rstrip(".")


def names(package: str) -> list[str]:
    """List the names that a study may use for an entry of ``package``."""
    return list(entries(package))


def misfits(package: str, study: Any, place: str, entry: Any) -> Iterable[str]:
    """Tell what an entry asks of the rest of its study in vain.

    A catalogue may say so of all its entries, by a function ``misfits(study, place, entry)`` of its module ``base``.

    Arguments:
        package: The name of the catalogue, e.g. ``"methods"``.
        study: The study.
        place: The place of the entry in it, e.g. ``"methods.baseline"``.
        entry: The entry, built.

    Returns:
        The problems, each with its place and the way out.
    """
    check = getattr(importlib.import_module(f"{CATALOGUES[package]}.base"), "misfits", None)
    return check(study, place, entry) if check else ()


def home(package: str, name: str) -> str:
    """Tell which module exports an entry, where digests of sources begin: ``"nearorbit.training.methods.homotopy"``."""
    return next(module for module, exported in _modules(package).items() if name in exported)


def build(package: str, label: str, spec: Mapping[str, Any] | None, *, where: str = "") -> Any:
    """Build the entry that a labelled line of a study asks for.

    A line is ``label: {<kind>: name, ...settings}``, where the kind is the singular of the package; without it, the
    label is the name.

    Arguments:
        package: The package of the entry, e.g. ``"systems"``.
        label: The label of the line, e.g. ``"Lorenz96_N5"``.
        spec: The settings, e.g. ``{"system": "lorenz96", "size": 5}``.
        where: The place for error messages, e.g. ``"config.yaml: systems.Lorenz96_N5"``; by default that
            within a study.

    Returns:
        What the factory of the entry returns.

    Raises:
        StudyError: If there is no such entry, or it refuses a setting.
    """
    kind, where = package.removesuffix("s"), where or f"{package}.{label}"
    settings = dict(spec or {})
    name = settings.pop(kind, label)
    factory = entries(package).get(name) if isinstance(name, str) else None
    if factory is None:
        near = hint(name, names(package)) + quotes(name)
        raise StudyError(f"{where}: no {kind} '{name}'{near} ({_listing(package)} lists all)")
    parameters = [
        p for p in inspect.signature(factory).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    allowed = {p.name: p.annotation for p in parameters}
    for key, value in settings.items():
        if key not in allowed:
            known = f"it takes {', '.join(allowed)}" if allowed else "it takes no settings"
            raise StudyError(f"{where}: {kind} '{name}' has no setting '{key}'{hint(key, allowed)}; {known}")
        if expected := _mismatch(value, allowed[key]):
            way = quotes(value) if KINDS[str][0] in expected else ""
            raise StudyError(f"{where}: {kind} '{name}': '{key}' has to be {expected}, not {value!r}{way}")
    if missing := [p.name for p in parameters if p.default is p.empty and p.name not in settings]:
        raise StudyError(f"{where}: {kind} '{name}' lacks {', '.join(missing)}; it takes {', '.join(allowed)}")
    try:
        return factory(**settings)
    except Exception as error:  # whatever the settings of a study lead to, they are what is wrong
        raise StudyError(f"{where}: {kind} '{name}': {error or type(error).__name__}") from error


KINDS = {  # of settings that are plain values: what they are called, and the types that will do
    bool: ("true or false", (bool,)),
    int: ("an integer", (int,)),
    float: ("a finite number", (int, float)),
    str: ("a text", (str,)),
    type(None): ("nothing", (type(None),)),
    Mapping: ("a section of `name: value` lines", (dict,)),
}


def _mismatch(value: Any, annotation: Any) -> str:
    """Tell what a setting has to be, if it is not; empty where it is, or where no plain value is asked for."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    if not all(map(_called, kinds)) or any(_is(value, kind) for kind in kinds):
        return ""
    return " or ".join(map(_called, kinds))


def _called(kind: Any) -> str:
    """Say what a setting of a kind is called: a plain value, or a list of these; empty of any other."""
    if get_origin(kind) is Sequence:
        (item,) = get_args(kind)
        return f"a list (each {called})" if (called := _called(item)) else ""
    return KINDS.get(get_origin(kind) or kind, ("",))[0]


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Sequence:
        return isinstance(value, list | tuple) and all(_is(item, get_args(kind)[0]) for item in value)
    return type(value) in KINDS[get_origin(kind) or kind][1]


def hint(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to a wrong one, ``"; did you mean 'Lorenz'?"``; empty if none is near."""
    folded = {k.lower(): k for k in known}
    close = difflib.get_close_matches(str(name).lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[close[0]]}'?" if close else ""


def quotes(value: Any) -> str:
    """Say how to write a text that YAML has read as something else: ``no``, ``0.02``, ``2024-01-01``, ``~``."""
    return "" if isinstance(value, str | Mapping | list) else "; YAML reads this as no text unless it is in quotes"


@cache
def _modules(package: str) -> Mapping[str, Mapping[str, Any]]:
    parent = importlib.import_module(CATALOGUES[package])
    names = [f"{parent.__name__}.{info.name}" for info in pkgutil.iter_modules(parent.__path__)]
    return {name: getattr(importlib.import_module(name), "entries", dict)() for name in names}


def _listing(package: str) -> str:
    return f"python -m nearorbit names {package}"
