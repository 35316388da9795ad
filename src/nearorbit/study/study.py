"""A study: three labelled axes, a number of seeds, and one value for everything else.

A study file is checked whole before anything runs, against the schema, against itself and against the catalogues, and
everything that is wrong with it is said at once. It is one module since what jobs are given is what was checked.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from nearorbit.study import catalogue, sampling
from nearorbit.study.catalogue import MEASURED, TRUTH, StudyError, build, hint, refuse
from nearorbit.study.checks import misfits
from nearorbit.study.places import CATALOGUED, LABELLED, STUDIES, source
from nearorbit.study.schema import DEEPEST, LARGEST, is_small, read, violations
from nearorbit.study.slices import SLICES
from nearorbit.study.twins import with_twins

FOLLOWED = ("segment", "last_segment", "follow")  # by which a method says for how many samples neighbors are followed
OBSERVED = ("noise", "smooth", "missing", "jitter", "components", "delay")  # what is told of the data


@dataclass(frozen=True)
class Study:
    """A checked study; each attribute is the section of the file with that name.

    The lines of catalogues have their entry spelt out: ``Lorenz: {}`` has become ``Lorenz: {system: Lorenz}``. Which of
    the networks a method trains, the first if its line names none, is in ``networks_of``, by its label or name. A twin
    that the line of a system asks for is a system of its own, and stands in ``twins``.
    """

    study: str
    seeds: int
    systems: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, Mapping[str, Any]]
    training: Mapping[str, Any]
    neighbors: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]
    figures: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Mapping[str, Any]]
    networks_of: Mapping[str, str]
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # that are brought
    twins: Mapping[str, str] = field(default_factory=dict)  # the system that each of the systems that are twins is like
    where: str = "study"

    @property
    def axes(self) -> dict[str, Any]:
        """What a table of the whole study has to know of it."""
        return self._axes(*OBSERVED)

    @property
    def drawn(self) -> dict[str, Any]:
        """What a figure has to know of it."""
        return self._axes(*OBSERVED, "orbits", "samples") | {"seeds": self.seeds}

    def _axes(self, *told: str) -> dict[str, Any]:
        data = {label: {name: spec[name] for name in told if name in spec} for label, spec in self.data.items()}
        axes = {"systems": list(self.systems), "data": data, "methods": list(self.methods)}
        axes |= {"fields": list(self.fields)} if self.fields else {}
        return axes | ({"fieldless": sorted(map(list, self.fieldless))} if self.fieldless else {})

    @property
    def judged(self) -> tuple[str, ...]:
        """The labels of all that is judged: the truth, the methods, and the fields that are brought."""
        return (TRUTH, *self.methods, *self.fields)

    @property
    def measured(self) -> tuple[str, ...]:
        """The labels of the systems that are recordings in a file; the others are simulated."""
        return tuple(label for label, spec in self.systems.items() if spec["system"] == MEASURED)

    @cached_property
    def fieldless(self) -> frozenset[tuple[str, str]]:
        """The systems and data of which no true field is known: where one is measured, or its states seen in part."""
        pairs = product(self.systems, self.data.items())
        return frozenset((s, d) for s, (d, line) in pairs if s in self.measured or sampling.is_partial(line))

    @property
    def content(self) -> dict[str, Any]:
        """The content of the file, as :func:`parse` takes it, with nothing left to defaults."""
        sections = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("networks_of", "twins", "where")
        }
        asked = {system: {"twin": self.systems[twin]} for twin, system in self.twins.items()}
        systems = {s: {**spec, **asked.get(s, {})} for s, spec in self.systems.items() if s not in self.twins}
        methods = {label: {**spec, "network": self.networks_of[label]} for label, spec in self.methods.items()}
        return {**sections, "systems": systems, "methods": methods}

    def network(self, method: str) -> Mapping[str, Any]:
        """Give the line of the network that a method trains; an entry of the catalogue needs none to be taken as is."""
        label = self.networks_of[method]
        return self.networks.get(label, {CATALOGUED["networks"]: label})

    @cached_property
    def in_a_row(self) -> Mapping[str, tuple[int, int]]:
        """How many samples in a row every seed has of each kind of data, to train on and for validation, in whatever
        system that is simulated; see :func:`nearorbit.study.sampling.in_a_row`."""
        return {name: sampling.in_a_row(data, self._simulated, self.seeds) for name, data in self.data.items()}

    @cached_property
    def fewest(self) -> Mapping[str, tuple[int, int]]:
        """How many samples the shortest orbit of each kind of data has, likewise; see
        :func:`nearorbit.study.sampling.fewest`."""
        return {name: sampling.fewest(data, self._simulated, self.seeds) for name, data in self.data.items()}

    @property
    def _simulated(self) -> list[str]:
        return [label for label in self.systems if label not in (*self.measured, *self.twins)]

    def told(self, data: str) -> str:
        """Say how long the orbits of a kind of data are, and what would make more of them in a row."""
        if not sampling.is_irregular(self.data[data]):
            return f"{self.data[data]['samples']} samples"
        return f"at most {self.in_a_row[data][0]} samples in a row; lower this, or raise samples or gap of data.{data}"

    def ahead(self, selection: str) -> int:
        """Tell for how many samples neighbors are followed: as long as the methods that use them ask, in segments or by
        ``follow``.

        It is the study's segment where no line has a length of its own, or no method uses the selection.
        """
        usual = self.training["segment"]
        if not any({*FOLLOWED} & spec.keys() for spec in self.methods.values()):
            return usual  # without a look at the methods, which would import torch
        users = [method for method in self.built("methods") if getattr(method, "neighbors", None) == selection]
        asked = [[getattr(method, name, None) or 0 for name in FOLLOWED] for method in users]
        return max((max(own or usual, *others) for own, *others in asked), default=usual)

    def brought(self, label: str, system: str, data: str) -> str:
        """Name the field that is brought for a system and its data."""
        return self.fields[label]["field"].replace("{system}", system).replace("{data}", data)

    def built(self, section: str) -> Iterator[Any]:
        """Build what the lines of a section ask for, without those that are refused."""
        for label in getattr(self, section):
            with suppress(StudyError):
                yield self.entry(section, label)

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
            untrained = {
                "score": [TRUTH, *self.fields],
                "forecast": self.fields,
                "unseen": self.fields,
            }.get(stage, ())
            known = [*getattr(self, section or "", ()), *(untrained if axis == "method" else ())]
            if section and label not in known:
                raise StudyError(
                    f"{self.where}: {section}: no '{label}'{hint(label, known)}; it has {', '.join(known)}"
                )
        return pick(self, *labels)

    def entry(self, section: str, label: str) -> Any:
        """Build what a line of a section of catalogue entries asks for, e.g. of ``systems``.

        Raises:
            StudyError: If the catalogue does not know it, or it refuses a setting.
        """
        return build(section, label, getattr(self, section)[label], where=f"{self.where}: {section}.{label}")

    def check_catalogues(self) -> None:
        """Build every entry once, so that no job is the first to find a wrong name or a method that does not fit.

        Raises:
            StudyError: If there are such entries, or files of fields that are not there; all are named.
        """
        cells = [(label, self.brought(label, *of)) for label in self.fields for of in product(self.systems, self.data)]
        problems = [
            f"{self.where}: fields.{label}: {file}: no such file"
            for label, name in cells
            if (file := source(name)) and not file.is_file()
        ]
        for section in CATALOGUED:
            for label in getattr(self, section):
                try:
                    entry = self.entry(section, label)
                except StudyError as error:
                    problems.append(str(error))
                    continue
                problems += [
                    f"{self.where}: {p}" for p in catalogue.misfits(section, self, f"{section}.{label}", entry)
                ]
        refuse(problems)


def load(path: Path) -> Study:
    """Read and check a study file; the catalogues are left to :meth:`Study.check_catalogues`.

    Arguments:
        path: The study file, YAML, or the name of a study that is shipped with the package.

    Raises:
        StudyError: If the file cannot be read or is no study.
    """
    import yaml

    path = path if path.exists() else STUDIES.get(str(path), path)
    text = read(path)
    try:
        config = yaml.safe_load(text)
    except Exception as error:  # PyYAML lets through whatever its constructors stumble over
        raise StudyError(f"{path}: not a YAML file: {error}") from None
    return parse(config, where=str(path))


def parse(config: Any, *, where: str = "study") -> Study:
    """Check the content of a study file.

    Arguments:
        config: The content.
        where: The place for error messages, e.g. ``"config.yaml"``.

    Raises:
        StudyError: If it is no study: what the schema finds, or else what does not fit together.
    """
    if not is_small(config):
        raise StudyError(
            f"{where}: more than {LARGEST} entries, references counted as often as they are used, "
            f"or more than {DEEPEST} within one another"
        )
    refuse([f"{where}: {problem}" for problem in violations(config)])
    sections = {key: _normalized(key, section) for key, section in config.items()}
    first = next(iter(sections["networks"]))
    chosen = {label: spec.pop("network", first) for label, spec in sections["methods"].items()}
    sections["systems"], twins = with_twins(sections["systems"], where)
    study = Study(**sections, networks_of=chosen, twins=twins, where=where)
    refuse([f"{where}: {problem}" for problem in misfits(study)])
    return study


def _normalized(key: str, section: Any) -> Any:
    if key not in CATALOGUED:
        return section
    return {label: {CATALOGUED[key]: label, **(spec or {})} for label, spec in section.items()}
