# What the rules share: the checked study, and what a job depends on besides its input files.

import atexit
import json
import os
import re
import shlex
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import yaml
from nearorbit.study import catalogue, places, schema, study as studies
from nearorbit.study.digest import ROOT, digests, key, looked_up, members
from nearorbit.study.slices import SLICES, runs
from snakemake.settings.types import DeploymentMethod

ENVIRONMENT = "../../envs/environment.yaml"  # for --sdm conda; with pip, the environment that runs snakemake is used
AXES = ("system", "data", "neighbors", "method")  # wildcards that are labels of a study
FOLLOWING = 1000  # cells that a training is told of, at most: a command has an end
PICKED_BY_METHOD = ("needs", "networks")

# Jobs run the sources that are digested below, with the interpreter that runs snakemake even where its environment is
# not activated; --sdm conda activates its own. A prefix replaces Snakemake's own and with it bash's strict mode:
# without this a job that writes its log through tee has the status of tee.
BIN = [] if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method else [Path(sys.executable).parent]
CLONE = Path(workflow.basedir, "src")  # the sources beside the Snakefile; an installed one has none
SEARCHED = {"PATH": [*BIN, "$PATH"]} | ({"PYTHONPATH": [CLONE]} if CLONE.is_dir() else {})
COMPILED = os.environ.get("TORCHINDUCTOR_CACHE_DIR", os.path.abspath("results/compiled"))  # steps of trainings, a cache
SEARCHED |= {"TORCHINDUCTOR_CACHE_DIR": [COMPILED]}
EXPORTS = "".join(f'export {name}="{":".join(map(str, paths))}"; ' for name, paths in SEARCHED.items())
shell.prefix(f"set -euo pipefail; {EXPORTS}")


RECORD = config.pop("from", "")  # a record, the study of which is asked for in the place of another


def parsed_study():
    """Check the study, but for the catalogues, and name its files; a mistake in it ends snakemake with the message alone."""
    files = [os.path.relpath(file) for file in workflow.overwrite_configfiles or workflow.configfiles]
    try:
        if RECORD:
            files = [os.path.relpath(places.recorded(Path(str(RECORD))))]
            config.clear()
            config.update(yaml.safe_load(schema.read(Path(files[0]))))
        for file in files if workflow.is_main_process else ():
            schema.read(Path(file))  # Snakemake has read it, and taken the last of two equal keys
        return studies.parse(config, where=", ".join(files)), files
    except catalogue.StudyError as error:
        sys.exit(f"error: {error}")


study, ASKED = parsed_study()

# What is found in the catalogues holds as long as the study, the sources and what is installed stay as they are. The imports
# that it takes (torch, dysts, seaborn: five seconds) are made once for these: from then on it stands in a file, and for the
# Snakemake that every job of a cluster starts again in the environment. Where neither arrives, it is found again.
TOLD = {} if workflow.is_main_process else json.loads(os.environ.get("NEARORBIT_TOLD", "{}"))
FOUND = Path(f".snakemake/nearorbit/{study.study}.json")


def found_before():
    """Read what was found of this study, and have it written when Snakemake ends."""
    installed = sorted(file.name for folder in sys.path for file in Path(folder).glob("*.dist-info"))
    shipped = (Path(folder, name) for folder, _, names in os.walk(ROOT, followlinks=True) for name in names)
    sources = sorted(file for file in shipped if file.suffix in (".py", ".csv"))
    measured = [places.located(str(study.systems[system].get("file"))) for system in study.measured]
    files = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in measured if file.is_file()]
    stands_on = key(config, [sys.version, *installed, *map(str, sources), *files], sources)
    with suppress(OSError, ValueError, LookupError, TypeError):  # not there, or torn
        before = json.loads(FOUND.read_text())
        if before["stands on"] == stands_on:
            TOLD.update(before)
    TOLD["stands on"] = stands_on
    os.environ.update(NEARORBIT_TOLD=json.dumps(TOLD))
    known = len(TOLD)

    @atexit.register
    def keep():
        if len(TOLD) > known:
            # Here, since it imports xarray, which a look that finds nothing new does without.
            from nearorbit.study.files import replacing

            with suppress(OSError), replacing(FOUND) as path:
                path.write_text(json.dumps(TOLD))


def told(function):
    """Make a function of labels that gives what was found before, if something was; as JSON has it."""

    def remembering(*labels):
        name = "/".join((function.__name__, *labels))
        if name not in TOLD:
            TOLD[name] = function(*labels)
            os.environ.update(NEARORBIT_TOLD=json.dumps(TOLD))
        return TOLD[name]

    return remembering


@told
def checked():
    """Check what the study looks up in the catalogues; a mistake ends snakemake with the message alone."""
    try:
        study.check_catalogues()
    except catalogue.StudyError as error:
        sys.exit(f"error: {error}")
    return True


if workflow.is_main_process:
    found_before()
    checked()


wildcard_constraints:
    study=re.escape(study.study),
    system="|".join(map(re.escape, study.systems)),
    data="|".join(map(re.escape, study.data)),
    neighbors="|".join(map(re.escape, study.neighbors)),
    method="|".join(map(re.escape, study.methods)),


def systems(stage):
    """Make the constraint of the wildcard `system` to those that a stage runs for, with the data that follow in a path."""
    if len(SLICES[stage][0]) == 1:
        return "|".join(re.escape(s) for s in study.systems if runs(study, stage, s)) or "(?!)"  # which nothing is
    data = {s: [re.escape(d) for d in study.data if runs(study, stage, s, d)] for s in study.systems}
    return "|".join(f"{re.escape(s)}(?=/(?:{'|'.join(d)})/)" for s, d in data.items() if d) or "(?!)"


FOLDER = f"results/{study.study}"


def judged(pattern, systems=study.systems):
    """Expand a pattern of paths over all that is judged: the true field, in a model's place, where it is known."""
    cells = ((s, d, m) for s in systems for d in study.data for m in study.judged)
    known = [cell for cell in cells if cell[2] != catalogue.TRUTH or cell[:2] not in study.fieldless]
    return [pattern.format(study=study.study, system=s, data=d, method=m) for s, d, m in known]


def measured_file(wildcards):
    """Name the file of a measured system."""
    return str(places.located(study.systems[wildcards.system]["file"]))


def recorded(wildcards):
    """Find the recordings of a measured system, the end of which is held out."""
    folder = f"results/{wildcards.study}/{wildcards.system}/{wildcards.data}"
    return {"orbits": f"{folder}/orbits.nc"} if wildcards.system in study.measured else {}


def resembled(wildcards):
    """Name the file of the measured system that a system is the nearest to; of others there is none."""
    like = study.systems[wildcards.system].get("like", {})
    return [str(places.located(like["file"]))] if like else []


def twinned(name):
    """Make the input function of a file of the system that a twin is like."""
    return lambda wildcards: f"{FOLDER}/{study.twins[wildcards.system]}/{wildcards.data}/{name}"


def truth_inputs(wildcards):
    """Find what a field is held against: the truth, and its covariant vectors where they are those of the data."""
    folder, cell = f"results/{wildcards.study}/{wildcards.system}", (wildcards.system, wildcards.data)
    vectors = {} if cell in study.fieldless else {"vectors": f"{folder}/covariant_vectors.nc"}
    return {"truth": f"{folder}/{wildcards.data}/truth.nc"} | vectors


def brought(wildcards):
    """Name the field that is brought for a cell."""
    return study.brought(wildcards.method, wildcards.system, wildcards.data)


def over(patterns, methods=study.methods):
    """Expand patterns of paths over the labels of the study."""
    return expand(patterns, study=study.study, system=study.systems, data=study.data, method=methods)


def settings(stage):
    """Make the params function of what a stage sees of the study, as JSON."""
    return lambda wildcards: json.dumps(study.settings(stage, *(wildcards[a] for a in AXES if a in wildcards.keys())))


@told
def selection(neighbors):
    """Find what neighbors are selected by: for how long they are followed the methods say. All systems and data have the same."""
    return json.dumps(study.settings("neighbors", next(iter(study.systems)), next(iter(study.data)), neighbors))


def sources(stage, *packages):
    """Make the params of the digests of what a stage runs, one for each room: the reason of a job names what changed.

    Of each package it is the entry that the wildcards pick that counts, or all entries where they pick none. A room in
    which nothing is picked has the same digests for all jobs; only those of the others are looked up for each job.
    """
    picked = {package for package in packages if package in PICKED_BY_METHOD or package.removesuffix("s") in AXES}
    least = by_room(stage, tuple(m for package in packages if package not in picked for m in members(package)))
    most = by_room(stage, tuple(m for package in packages for m in members(package)))

    def source(room):
        return lambda wildcards: by_room(stage, tuple(m for p in packages for m in modules(p, wildcards))).get(room, "")

    return {f"{room}_sources": text if least.get(room) == text else source(room) for room, text in most.items()}


@cache
def by_room(stage, looked_up):
    """Collect the digests of what a stage runs by their rooms."""
    rooms = {}
    for line in digests(stage, looked_up):
        room, _, module = line.removeprefix("nearorbit.").partition(".")
        rooms.setdefault(room.split()[0], []).append(f"{room}.{module}" if module else room)
    return {room: ", ".join(lines) for room, lines in rooms.items()}


home = told(catalogue.home)


def modules(package, wildcards):
    """Find the modules that a job looks up in a catalogue."""
    kind = package.removesuffix("s")
    if package in PICKED_BY_METHOD and "method" in wildcards.keys():
        return [home(package, name) for name in declared(wildcards.method)[package]]
    if kind not in wildcards.keys():
        return members(package)
    return looked_up(package, home(package, getattr(study, package)[wildcards[kind]][kind]))


@told
def declared(method):
    """Find what a method needs, the network that it trains, and the files that the training is given."""
    from nearorbit.training.methods.base import inputs  # it imports torch

    entry = study.entry("methods", method)
    places = {kind: f"{kind}.nc" for kind in inputs(entry)}
    if "neighbors" in places:
        places["neighbors"] = f"neighbors/{entry.neighbors}.nc"
    return {"needs": sorted(entry.needs), "networks": [study.network(method)["network"]], "files": places}


def training_inputs(wildcards):
    folder = f"results/{wildcards.study}/{wildcards.system}/{wildcards.data}"
    return {kind: f"{folder}/{file}" for kind, file in declared(wildcards.method)["files"].items()}


def given(wildcards, input):
    """Write the inputs of a job as options of its command."""
    return " ".join(f"--{kind} {path}" for kind, path in input.items())


def checked_cells(resource):
    """Check how many cells a profile lets train together; a mistake ends snakemake with the message alone."""
    asked = getattr(resource, "raw", resource)
    if not re.fullmatch("[1-9][0-9]*", str(asked)):
        sys.exit(f"error: set-resources: train:cells_per_training: expected a whole number from 1 on, not '{asked}'")
    return int(asked)


def siblings(wildcards, resources):
    """Name the other cells of a method, from this one on, where more than one may be trained together.

    It is made of a resource, and so no parameter that would run a job again.
    """
    if (most := resources.cells_per_training) == 1:
        return ""
    cells = [(system, data) for system in study.systems for data in study.data]
    place = cells.index((wildcards.system, wildcards.data))
    following = [f"results/{wildcards.study}/{system}/{data}" for system, data in cells[place + 1 :] + cells[:place]]
    return " ".join([f" --cells_per_training {most}", *(["--siblings", *following[:FOLLOWING]] if following else [])])


@told
def reads(package, label):
    """Find what a table or figure reads."""
    return sorted(study.entry(package, label).reads)


def read_by(package):
    """List the files that the tables or figures of the study read."""
    names = {name for label in getattr(study, package) for name in reads(package, label)}
    return [str(path) for path in places.paths(Path(FOLDER), study, names)]


@told
def about(package, label):
    """Take the first words of the documentation of a table or figure."""
    return (type(study.entry(package, label)).__doc__ or "").split("\n\n")[0]


def products(section, *kinds):
    """List the files of the tables or figures of a study."""
    return [f"{FOLDER}/{section}/{label}.{kind}" for label in getattr(study, section) for kind in kinds]


def shown(section, kind):
    """List those of a kind that the report shows, with the first words of their documentation."""

    def page(label, path):
        return report(path, category=section.capitalize(), labels={section[:-1]: label, "shows": about(section, label)})

    return list(map(page, getattr(study, section), products(section, kind)))
