"""A study: three labelled axes, a number of seeds, and one value for everything else.

A study file is checked whole before anything runs, against the schema, against itself and against the catalogues, and
everything that is wrong with it is said at once. :data:`SLICES` then tells what each stage sees of it: a job depends on
its slice and on nothing else of the study, so that a change of one line runs again only what reads it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from nearorbit.catalogue import TRUTH, StudyError, build, hint, quotes
from nearorbit.selection import Selection

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"  # of the clone that is installed
CELL = ("system", "data", "method")
LONG = ("truth.csv", "scores.csv", "exponents.csv", "costs.csv")  # tables of a whole study, collected from its cells
RESULTS = {  # what lies where in results/: beside the labels of an axis, the axes above it, and the names
    "study": ((), ("README.md", "performance")),
    "system": ((), (*LONG, "tables", "figures", "partial", "checkpoints", "logs", "report.html", "estimate.log")),
    "data": (CELL[:1], ("exponents.nc",)),
    "method": (
        CELL[:2],
        ("orbits.nc", "truth.nc", TRUTH, "observations.nc", "neighbors", "supervision.nc", "estimators.nc"),
    ),
    "": (CELL, ("model.safetensors", "history.csv", "costs.csv", "forecast.nc", "scores.csv")),
}
# The axes below which a file lies; a long table of the study lies below none.
PLACES = {name: axes for axes, names in reversed(RESULTS.values()) for name in names}
JUDGED = ("forecast.nc",)  # of the true field, too, as of a method with the label `truth`
NO_TEXTS = {"null": "nothing", "bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date"}
LARGEST, DEEPEST = 100_000, 20  # entries of a study file, and levels of them
CATALOGUES = {"systems": "system", "methods": "method", "figures": "figure", "tables": "table"}
LABELLED = {"data": "data", "neighbors": "neighbors"} | CATALOGUES  # sections of labelled lines, and what one is called
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


@dataclass(frozen=True)
class Study:
    """A checked study; each attribute is the section of the file with that name.

    The lines of catalogues have their entry spelt out: ``Lorenz: {}`` has become ``Lorenz: {system: Lorenz}``.
    """

    study: str
    seeds: int
    systems: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Any]
    training: Mapping[str, Any]
    neighbors: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]
    figures: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Mapping[str, Any]]
    where: str = "study"

    @property
    def axes(self) -> dict[str, Any]:
        """What a table or figure of the whole study has to know of it."""
        noise = {label: {"noise": spec["noise"]} for label, spec in self.data.items()}
        return {"systems": list(self.systems), "data": noise, "methods": list(self.methods)}

    def settings(self, stage: str, *labels: str) -> dict[str, Any]:
        """Pick what a stage sees of the study.

        Arguments:
            stage: The name of the stage, e.g. ``"train"``.
            labels: The labels of its cell, e.g. ``"Lorenz", "clean", "baseline"``, or of its figure or table.

        Raises:
            StudyError: If there is no such stage or label.
        """
        if stage not in SLICES:
            raise StudyError(f"no stage '{stage}'{hint(stage, SLICES)}")
        axes, pick = SLICES[stage]
        if len(labels) != len(axes):
            raise StudyError(f"{stage}: its cell is {'/'.join(axes) or 'empty'}, not '{'/'.join(labels)}'")
        for axis, label in zip(axes, labels, strict=True):
            section = next((s for s, kind in LABELLED.items() if kind == axis), None)
            judged = stage == "score" and axis == "method"  # as is the true field
            if section and label not in (known := [*getattr(self, section), *[TRUTH] * judged]):
                raise StudyError(
                    f"{self.where}: {section}: no '{label}'{hint(label, known)}; it has {', '.join(known)}"
                )
        return pick(self, *labels)

    def entry(self, section: str, label: str) -> Any:
        """Build what a line of ``systems``, ``methods``, ``figures`` or ``tables`` asks for.

        Raises:
            StudyError: If the catalogue does not know it, or it refuses a setting.
        """
        return build(section, label, getattr(self, section)[label], where=f"{self.where}: {section}.{label}")

    def check_catalogues(self) -> None:
        """Build every entry once, so that no job is the first to find a wrong name or a method that does not fit.

        Raises:
            StudyError: If there are such entries; all are named.
        """
        problems = []
        for section in CATALOGUES:
            for label in getattr(self, section):
                try:
                    entry = self.entry(section, label)
                except StudyError as error:
                    problems.append(str(error))
                    continue
                misfits = _method_misfits if section == "methods" else _reference_misfits
                problems += [f"{self.where}: {misfit}" for misfit in misfits(self, f"{section}.{label}", entry)]
        _refuse(problems)


def _label_and_system(s: Study, system: str) -> dict[str, Any]:
    return {"label": system, "system": s.systems[system]}


def _without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


GROWTH = {  # around which sizes, and along which, the cost of a step is measured; the same whatever the study
    "methods": {"baseline": {}, "homotopy": {}, "jacobian": {}, "neighborhood": {}},
    "reference": {"dimension": 5, "neighbors": 25, "segment": 5, "width": 64, "seeds": 3, "batch": 64, "depth": 3},
    "axes": {
        "dimension": [5, 10, 20, 40],
        "neighbors": [1, 5, 25, 100],
        "segment": [1, 5, 20, 80],
        "width": [16, 64, 256],
        "seeds": [1, 3, 10, 30],
    },
    "rounds": 7,
}
# stage: the labels it runs for, and what it sees of a study for these labels
SLICES = {
    "exponents": (
        CELL[:1],
        lambda s, system: _label_and_system(s, system) | _without(s.evaluation["exponents"], "accuracy"),
    ),
    "orbits": (
        CELL[:2],
        lambda s, system, data: {
            **_label_and_system(s, system),
            "seeds": s.seeds,
            "data": _without(s.data[data], "noise"),
            "window": s.evaluation["window"],
        },
    ),
    "truth": (
        CELL[:2],
        lambda s, system, data: {**_label_and_system(s, system), "evaluation": _without(s.evaluation, "exponents")},
    ),
    "observe": (CELL[:2], lambda s, system, data: {"label": system, "noise": s.data[data]["noise"]}),
    "neighbors": (
        (*CELL[:2], "neighbors"),
        lambda s, system, data, neighbors: {"ahead": s.training["segment"], "selection": s.neighbors[neighbors]},
    ),
    "supervise": (CELL[:2], lambda s, system, data: _label_and_system(s, system)),
    "estimators": (CELL[:2], lambda s, system, data: {"theiler": next(iter(s.neighbors.values()))["theiler"]}),
    "train": (
        CELL,
        lambda s, system, data, method: {
            "label": method,
            "method": s.methods[method],
            "network": s.network,
            "training": s.training,
        },
    ),
    "forecast": (
        CELL,
        lambda s, system, data, method: {
            "evaluation": {"exponents": s.evaluation["exponents"]},  # the rest has shaped the truth
        },
    ),
    "forecast_truth": (
        CELL[:2],
        lambda s, system, data: {
            **_label_and_system(s, system),
            "evaluation": {"exponents": s.evaluation["exponents"]},
        },
    ),
    "score": (
        CELL,
        lambda s, system, data, method: {
            "system": system,
            "data": data,
            "noise": s.data[data]["noise"],
            "method": method,
        },
    ),
    "growth": ((), lambda s: GROWTH | {"device": s.training["device"]}),
    "estimate": (
        (),
        lambda s: {
            **{name: getattr(s, name) for name in ("systems", "data", "methods", "seeds", "network", "training")},
            "exponents": s.evaluation["exponents"],
            "products": len(s.tables) + len(s.figures),
            "estimators": any(
                "estimators.nc" in s.entry(section, label).reads
                for section in ("tables", "figures")
                for label in getattr(s, section)
            ),
        },
    ),
    "collect": (("name",), lambda s, name: {"name": name, "study": s.axes}),
    "table": (("table",), lambda s, table: {"label": table, "table": s.tables[table], "study": s.axes}),
    "figure": (("figure",), lambda s, figure: {"label": figure, "figure": s.figures[figure], "study": s.axes}),
    "partial": ((), lambda s: {"study": s.axes, "tables": s.tables, "figures": s.figures}),
}


def inputs(method: Any) -> set[str]:
    """Tell which files bring what a method needs: ``observations``, and maybe ``neighbors`` and ``supervision``."""
    return {"observations", *(NEEDS[need][0] for need in method.needs)}


def paths(folder: Path, study: Any, reads: Iterable[str]) -> list[Path]:
    """List the files of a study that are read under these names, e.g. ``{"scores.csv", "truth.nc"}``, existing or not.

    Arguments:
        folder: The folder of the study, ``results/{study}``.
        study: What has the labels of its axes in ``systems``, ``data`` and ``methods``.
        reads: The names.
    """
    axes = {"system": study.systems, "data": study.data, "method": study.methods}
    judged = {**axes, "method": (TRUTH, *study.methods)}
    return [
        folder.joinpath(*labels, name)
        for name in sorted(reads)
        for labels in product(*((judged if name in JUDGED else axes)[axis] for axis in PLACES.get(name, ())))
    ]


def load(path: Path) -> Study:
    """Read and check a study file; the catalogues are left to :meth:`Study.check_catalogues`.

    Arguments:
        path: The study file, YAML.

    Raises:
        StudyError: If the file cannot be read or is no study.
    """
    import yaml

    text = read(path)
    try:
        config = yaml.safe_load(text)
    except Exception as error:  # PyYAML lets through whatever its constructors stumble over
        raise StudyError(f"{path}: not a YAML file: {error}") from None
    return parse(config, where=str(path))


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
    _refuse([f"{path}: {problem}" for problem in problems])
    return text


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


def parse(config: Any, *, where: str = "study") -> Study:
    """Check the content of a study file.

    Arguments:
        config: The content.
        where: The place for error messages, e.g. ``"config.yaml"``.

    Raises:
        StudyError: If it is no study: what the schema finds, or else what does not fit together.
    """
    if not _is_small(config):
        raise StudyError(
            f"{where}: more than {LARGEST} entries, references counted as often as they are used, "
            f"or more than {DEEPEST} within one another"
        )
    _refuse([f"{where}: {problem}" for problem in _violations(config)])
    study = Study(**{key: _normalized(key, section) for key, section in config.items()}, where=where)
    _refuse([f"{where}: {problem}" for problem in _misfits(study)])
    return study


def _is_small(config: Any) -> bool:
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


def _refuse(problems: list[str]) -> None:
    if problems:
        raise StudyError("\n".join(dict.fromkeys(problems)))


def _normalized(key: str, section: Any) -> Any:
    if key not in CATALOGUES:
        return section
    return {label: {CATALOGUES[key]: label, **(spec or {})} for label, spec in section.items()}


def _misfits(study: Study) -> Iterator[str]:
    """Find what is well formed line by line, and does not fit together."""
    segment = study.training["segment"]
    labels = [("study", "study", study.study)]
    labels += [
        (axis, f"{section}.{label}", label) for section, axis in LABELLED.items() for label in getattr(study, section)
    ]
    for axis, place, label in labels:
        if label in _reserved(axis):
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


def _reserved(axis: str) -> set[str]:
    """Collect the names of files and folders beside the labels of an axis, in results/ and among the logs."""
    names = RESULTS[axis][1] if axis in RESULTS else ()
    return {*names, *(f"{Path(name).stem}.log" for name in names)}


def _reference_misfits(study: Study, place: str, entry: Any) -> Iterator[str]:
    """Find a table or figure that compares with a method that the study has not."""
    if (reference := getattr(entry, "reference", None)) not in (None, *study.methods):
        known = study.methods
        yield f"{place}.reference: no method '{reference}'{hint(reference, known)}; the study has {', '.join(known)}"


def _method_misfits(study: Study, place: str, method: Any) -> Iterator[str]:
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


def _neighbor_misfits(study: Study, place: str, method: Any) -> Iterator[str]:
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


def _violations(config: Any) -> list[str]:
    import jsonschema
    import yaml

    draft = jsonschema.Draft202012Validator
    # The schema's own notion lets 3.0 pass as an integer and NaN as a number.
    checker = draft.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: _is_number(value),
        }
    )
    if not SCHEMA.is_file():
        raise StudyError(f"{SCHEMA}: no schema of studies; install a clone of the repository (pip install -e .)")
    validator = jsonschema.validators.extend(draft, type_checker=checker)(yaml.safe_load(SCHEMA.read_text()))
    errors = sorted(validator.iter_errors(config), key=lambda error: [str(key) for key in error.absolute_path])
    return [problem for error in errors for problem in _explain(error)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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
            yield f"{at}{error.instance!r} is not {error.schema['description']}"
        case "type":
            finite = not isinstance(error.instance, float) or math.isfinite(error.instance)
            expected = error.validator_value if finite else "number"
            trap = quotes(error.instance) if "string" in expected else _yaml_trap(error.instance)
            yield f"{at}expected {_kind(expected)}, not {error.instance!r}{trap}"
        case "enum":
            known = ", ".join(error.validator_value)
            yield f"{at}expected one of {known}, not {error.instance!r}{quotes(error.instance)}"
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
