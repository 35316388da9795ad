"""What docs/adding shows works: each example is one file and lines of the study, and nothing else runs again for it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from repository import REPOSITORY, SMOKE, planned, snakemake

PAGES = {page.stem: page.read_text() for page in (REPOSITORY / "docs/adding").glob("*.md") if page.stem != "README"}
TRAINED = {"train", "forecast"}
PREPARED = {
    "exponents",
    "covariant_vectors",
    "orbits",
    "observe",
    "truth_table",
    "neighbors",
    "supervise",
    "estimators",
}
STARTS = {  # the rules that run for an addition, and a label that all its jobs have; beside what collects and shows
    "system": (PREPARED | TRAINED, "Ring"),
    "need": (TRAINED, "homotopy_polygon"),
    "method": (TRAINED, "gradient_matching"),
    "network": (TRAINED, "baseline_radial"),
    "metric": (set(), ""),
    "table": (set(), ""),
    "figure": (set(), ""),
}
TARGETS = [  # what is made of all of them in the end
    "results/smoke/Ring/noisy/baseline/forecast.nc",
    "results/smoke/Lorenz/scores.csv",
    "results/smoke/tables/divergence_error.md",
    "results/smoke/tables/failures.tex",
    "results/smoke/figures/error_and_cost.png",
]


def example(page: str) -> tuple[str, str, dict[str, str]]:
    """The example of a page: the path and text of its file, and its line in each section of a study."""
    path, code = re.search(r"^The file `(src/\S+\.py)`:\n\n```python\n(.*?)^```$", PAGES[page], re.M | re.S).groups()
    lines = re.findall(r"line under `(\w+)`:\n\n```yaml\n(.*?)^```$", PAGES[page], re.M | re.S)
    assert lines and all(line.count("\n") == 1 for _, line in lines), "one line in a section"
    return path, code, dict(lines)


def added(folder: Path, *pages: str) -> Path:
    """Add the examples of pages to a copy of the repository."""
    for page in pages:
        path, code, lines = example(page)
        assert not (folder / path).exists()
        (folder / path).write_text(code)
        for section, line in lines.items():
            before = (folder / SMOKE).read_text()
            after = re.sub(rf"^{section}:\n(  .*\n)+", lambda found, line=line: found[0] + line, before, flags=re.M)
            assert after.count("\n") == before.count("\n") + 1
            (folder / SMOKE).write_text(after)
    return folder


@pytest.fixture
def folder(smoke, tmp_path):
    """A copy in which the smoke study has run."""
    return shutil.copytree(smoke, tmp_path / "nearorbit", symlinks=True)


def test_there_is_a_page_for_every_kind_of_addition():
    assert set(PAGES) == set(STARTS)
    overview = (REPOSITORY / "docs/adding/README.md").read_text()
    assert set(re.findall(r"\]\((\w+)\.md\)", overview)) == set(PAGES)


@pytest.mark.parametrize(
    "page", [p if p in ("method", "metric") else pytest.param(p, marks=pytest.mark.slow) for p in PAGES]
)
def test_nothing_runs_for_an_addition_but_what_is_new(folder, page):
    rules, label = STARTS[page]
    jobs = planned(added(folder, page))
    work = {job for job in jobs if job[0] not in ("collect", "collect_truth", "score", "tables", "figures", "all")}
    assert {job[0] for job in work} == rules, jobs
    assert all(label in job for job in work), jobs
    if page in ("table", "figure"):
        assert jobs == {(f"{page}s",), ("all",)}
    else:
        assert {job for job in jobs if job[0] == "score"} == {("score", "Ring" if page == "system" else "Lorenz")}


@pytest.mark.slow
def test_the_examples_run_and_are_found_by_the_tests_of_their_catalogues(folder):
    added(folder, *PAGES)
    done = snakemake(folder, *TARGETS, "--configfile", SMOKE)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    scores = pd.read_csv(folder / TARGETS[1]).groupby(["method", "metric"])["value"].count().unstack()
    new = [STARTS[kind][1] for kind in ("need", "method", "network")]
    assert scores.loc[new, ["jacobian_error", "divergence_error"]].eq(2).all(axis=None), scores
    for name in ("tests", "pyproject.toml", "README.md", "docs"):
        source = REPOSITORY / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy2(source, folder / name)
    names = [Path(example(page)[0]).stem for page in PAGES]
    rooms = [folder / "tests" / room for room in ("truth", "training", "dynamics", "evaluation", "report")]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", " or ".join(names), *rooms]
    command += [folder / "tests/test_layers.py", "-rN"]
    tested = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout[-5000:] + tested.stderr[-5000:]
    for name in names:
        assert len(re.findall(rf"\[.*{name}.*\] PASSED", tested.stdout)) >= 2, f"{name}\n{tested.stdout}"
