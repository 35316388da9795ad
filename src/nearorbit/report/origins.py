"""Where results come from: what was asked, what made them, when, and how to cite that."""

import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nearorbit import __version__
from nearorbit.dynamics.native import processor
from nearorbit.evaluation.scores import Results, labels
from nearorbit.study.places import CITATION

MADE = "made.json"  # in a record
PACKAGES = ("numpy", "scipy", "pandas", "xarray", "torch", "torchdiffeq", "dysts", "heyoka", "seaborn", "snakemake")


def comment(files: Iterable[Path]) -> str:
    """Read the first comment of the files of a study, of the first that begins with one; empty if none does."""
    found = (re.match(r"(?:[ \t]*(?:#.*)?\n)+", file.read_text()) for file in files)
    return next((one[0] for one in found if one and "#" in one[0]), "")


def question(files: Iterable[Path]) -> list[str]:
    """Read what is asked by a study: the paragraphs of the first comment of its files."""
    lines = [line.strip().lstrip("#").strip() for line in comment(files).splitlines()]
    return [" ".join(text.split()) for text in re.split(r"\n{2,}", "\n".join(lines)) if text.strip()]


def made() -> dict[str, Any]:
    """Tell what is at work here: the versions of the suite and of what it stands on, and the machine."""
    return {
        "nearorbit": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
    }


def origin(results: Results) -> tuple[dict[str, Any], bool]:
    """Tell what made results, as :func:`made` does, and whether that is known: a record says it, of others what is here
    is told.
    """
    kept = results.folder / MADE
    return (json.loads(kept.read_text()), True) if kept.exists() else (made(), False)


def trained(results: Results) -> tuple[str, str] | None:
    """Tell the days (UTC) of the first and of the last training, by the time of their files; None in a record, which
    has none.
    """
    files = (results.folder.joinpath(*labels(cell), "costs.csv") for cell in results.trained())
    times = [file.stat().st_mtime for file in files if file.exists()]
    days = [datetime.fromtimestamp(time, UTC).date().isoformat() for time in times]
    return (min(days), max(days)) if days else None


def citation() -> dict[str, Any]:
    """Read how the suite wants to be cited, from its CITATION.cff.

    Returns:
        Its fields, of which ``authors`` are their names, and ``url`` is empty where there is none; and the same as an
        entry for BibTeX, in ``bibtex``.
    """
    import yaml

    fields = yaml.safe_load(CITATION.read_text())
    place = fields.get("url") or fields.get("repository-code", "")
    fields |= {"authors": list(_names(fields["authors"])), "url": place}
    return fields | {"bibtex": _bibtex(fields)}


def _names(authors: list[Mapping[str, str]]) -> Iterator[str]:
    for author in authors:
        yield author.get("name") or " ".join(filter(None, map(author.get, ("given-names", "family-names"))))


def _bibtex(fields: Mapping[str, Any]) -> str:
    entry = {
        "title": f"{{{fields['title']}}}",
        "author": " and ".join(name if "," in name or " " not in name else f"{{{name}}}" for name in fields["authors"]),
        "version": fields["version"],
        "year": str(fields.get("date-released", ""))[:4],
        "doi": fields.get("doi", ""),
        "url": fields["url"],
    }
    lines = [f"  {name} = {{{text}}}" for name, text in entry.items() if text]
    return "@software{nearorbit,\n" + ",\n".join(lines) + "\n}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
