"""The one door: ``nearorbit STAGE ...``, or ``python -m nearorbit STAGE ...``, runs any stage of the benchmark.

The rules of the workflow, cluster jobs, tests and people all come through here. The command of a stage follows from
the signature of its function in :mod:`nearorbit.stages`: an option for every file; and for the settings JSON, a JSON
file, or a study and the cell to pick them for::

    cell=results/quick/Arneodo/noisy
    python -m nearorbit train --study config.yaml --cell Arneodo/noisy/trajectories \\
        --observations $cell/observations.nc --model model.safetensors --history history.csv --costs costs.csv

``python -m nearorbit names systems`` lists what a study may name.
"""

import argparse
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from nearorbit import __version__
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError, hint
from nearorbit.study.digest import STAGES
from nearorbit.study.glossary import FILES, SETTINGS
from nearorbit.study.places import SNAKEFILE, STUDIES

# A study has many jobs, each with one thread: more threads would fight for the same cores, and sum in another order.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Arguments:
        arguments: The command line; the process's own if None.

    Returns:
        The exit code: 0; 2 after a mistake of the user's, 1 after a want of disk or memory, both told in one message,
        without a stack.
    """
    for variable in THREADS:
        os.environ.setdefault(variable, "1")
    options = vars(_parser().parse_args(arguments))
    try:
        options.pop("run")(options)
    except StudyError as error:
        _say(f"error: {error}")
        return 2
    except OSError as error:  # a full disk, a folder that may not be written to
        _say(f"error: {error.filename or 'a file'}: {error.strerror or error}")
        return 1
    except (MemoryError, RuntimeError) as error:
        if (told := _in_a_line(error)) is None:
            raise
        _say(f"error: {told}")
        return 1
    return 0


def _in_a_line(error: Exception) -> str | None:
    """Say what a machine lacks, and the way out; None of an error that is none of these."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "out of memory" in first:  # of a GPU
        lower = "lower training.batch or seeds, or set training.recompute: true, or a smaller cells_per_training"
        return f"not enough memory: {first}; {lower}"
    if isinstance(error, MemoryError) or "alloc" in str(error):  # torch's way to say it
        return f"not enough memory: {first}; make the study smaller"
    if "no kernel image" in first or "NVIDIA driver" in first:
        return f"torch and this GPU do not fit: {first}; install the build of torch that does, or training.device: cpu"
    return None


def stages() -> dict[str, Callable[..., None]]:
    """List the stages by name, in the order in which data flows through them."""
    from nearorbit import stages, whole

    of = {name: stage for module in (stages, whole) for name, stage in vars(module).items()}
    return {name: stage for name, stage in of.items() if getattr(stage, "__module__", "") in STAGES}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nearorbit", description="Run one stage of the benchmark.")
    parser.add_argument("--version", action="version", version=f"nearorbit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="STAGE")
    names = commands.add_parser("names", help="List what a study may name.")
    names.add_argument("package", choices=catalogue.CATALOGUES)
    names.set_defaults(run=lambda options: _list(options["package"]))
    where = commands.add_parser("where", help="Print where the Snakefile, or a study that is shipped, lies.")
    where.add_argument("name", choices=["Snakefile", *STUDIES])
    where.set_defaults(run=lambda options: print(STUDIES.get(options["name"], SNAKEFILE)))
    for name, stage in stages().items():
        _add(commands, name, stage)
    return parser


def _list(package: str) -> None:
    """Print the names of a catalogue, each with the first words of its documentation."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the reader, such as head, may have enough of it
    entries = catalogue.entries(package)
    width = max(map(len, entries))
    for name, entry in entries.items():
        print(f"{name:{width}}  {catalogue.summary(entry)}".rstrip())


def _add(commands: Any, name: str, stage: Callable[..., None]) -> None:
    """Add the command of a stage: its files, and three ways to its settings if it has any."""
    files, settings = _files(stage), _settings(stage)
    summary = inspect.getdoc(stage)
    lines = "\n".join(f"  {setting:12} {SETTINGS[setting]}" for setting in settings)
    command = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"settings, as JSON or picked from a study:\n{lines}" if settings else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if settings:
        command.add_argument("--settings", metavar="JSON", help="the settings, or a file that holds them")
        command.add_argument(
            "--study",
            metavar="FILE",
            type=Path,
            help="the study to pick the settings from instead, or its name if it is shipped",
        )
        command.add_argument("--cell", metavar="SYSTEM/DATA/METHOD", default="", help="the labels to pick them for")
    for file, parameter in files.items():
        kind = _kind(parameter)
        required = parameter.default is parameter.empty
        options: dict[str, Any] = {"metavar": "PATH", "type": Path, "required": required}
        if _is_list(parameter):
            options |= {"nargs": "+", "default": ()}
        elif int in _bare(parameter):
            options |= {"metavar": "N", "type": int, "default": parameter.default}
        elif str in _bare(parameter):
            options |= {"metavar": "NAME", "type": str}
        command.add_argument(f"--{file}", help=f"{kind}: {FILES[file]}", **options)
    command.set_defaults(run=lambda options: _run(name, stage, options))


def _run(name: str, stage: Callable[..., None], options: Mapping[str, Any]) -> None:
    """Run a stage; its outputs appear under their names when all of them are complete.

    What it was asked and how long it took goes to standard error, which the workflow keeps as the log of the job.
    """
    read = _read_settings(name, options) if _settings(stage) else {}
    settings, began = _checked(name, stage, read), time.perf_counter()
    _say(f"nearorbit {__version__} {name} --settings {json.dumps(settings)}")
    for file, parameter in _files(stage).items():
        if _kind(parameter) == "input" and (given := options[file]):
            _say(f"{file}: {' '.join(map(str, given if isinstance(given, list) else [given]))}")
    with ExitStack() as stack:
        # Imported here, so that asking for help stays quick.
        from nearorbit.study.files import replacing, replacing_all

        def prepared(paths: Path | list[Path], parameter: inspect.Parameter) -> Path | list[Path]:
            if _kind(parameter) != "output":
                return paths
            if isinstance(paths, list):
                return stack.enter_context(replacing_all(paths))
            return stack.enter_context(replacing(paths))

        paths = {file: prepared(options[file], parameter) for file, parameter in _files(stage).items()}
        stage(**paths, **settings)
    _say(f"{name}: {time.perf_counter() - began:.1f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _read_settings(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if (options["settings"] is None) == (options["study"] is None):
        raise StudyError(f"{name}: give one of --settings and --study")
    if options["study"] is not None:
        from nearorbit.study import study

        labels = [label for label in options["cell"].split("/") if label]
        return study.load(options["study"]).settings(name, *labels)
    text = options["settings"]
    try:
        return json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
    except OSError as error:
        raise StudyError(f"--settings {text}: neither JSON nor a file ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise StudyError(f"--settings {text}: not JSON: {error}") from None


def _checked(name: str, stage: Callable[..., None], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    known = _settings(stage)
    for key in settings:
        if key not in known:
            raise StudyError(f"{name}: no setting '{key}'{hint(key, known)}; it takes {', '.join(known)}")
    needed = [key for key in known if inspect.signature(stage).parameters[key].default is inspect.Parameter.empty]
    if missing := [key for key in needed if key not in settings]:
        raise StudyError(f"{name}: missing settings: {', '.join(missing)}")
    return settings


def _files(stage: Callable[..., None]) -> dict[str, inspect.Parameter]:
    return {n: p for n, p in inspect.signature(stage).parameters.items() if p.kind is not p.KEYWORD_ONLY}


def _settings(stage: Callable[..., None]) -> list[str]:
    return [n for n, p in inspect.signature(stage).parameters.items() if p.kind is p.KEYWORD_ONLY]


def _kind(parameter: inspect.Parameter) -> str:
    """Tell what a file is to its stage: ``"input"``, or what its annotation says."""
    return next((note[0] for t in _types(parameter) if (note := getattr(t, "__metadata__", ()))), "input")


def _is_list(parameter: inspect.Parameter) -> bool:
    return any(get_origin(t) in (list, Sequence) for t in _bare(parameter))


def _bare(parameter: inspect.Parameter) -> list[Any]:
    """List what a parameter may be, without what is noted at it."""
    return [t.__origin__ if get_origin(t) is Annotated else t for t in _types(parameter)]


def _types(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """List what a parameter may be: ``Path | None`` is one of two."""
    annotation = parameter.annotation
    return (
        get_args(annotation) if isinstance(annotation, UnionType) or get_origin(annotation) is Union else (annotation,)
    )


if __name__ == "__main__":
    sys.exit(main())
