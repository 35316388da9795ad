"""The workflow runs end to end, and runs again only what a change concerns."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from repository import REPOSITORY, SMOKE, copy

METHODS = {"baseline", "homotopy", "jacobian", "neighborhood"}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def planned(folder: Path, *arguments: str, study: str = SMOKE) -> set[tuple[str, ...]]:
    """The jobs that a dry run announces, as rule and labels."""
    done = snakemake(folder, "--dry-run", *arguments, *(["--configfile", study] if study else []))
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", done.stdout + done.stderr, re.MULTILINE)
    return {
        (rule, *re.findall(r"(?:system|data|neighbors|method|table|figure|name)=([^,\n]+)", body))
        for rule, body in jobs
    }


def rules(jobs: set[tuple[str, ...]]) -> set[str]:
    return {rule for rule, *_ in jobs}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file} has no '{old}'"
    file.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A copy of the repository in which the smoke study has run."""
    folder = copy(tmp_path_factory.mktemp("repository") / "nearorbit")
    done = snakemake(folder, "--configfile", SMOKE)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return folder


@pytest.fixture
def repository(finished, tmp_path) -> Path:
    """The finished copy to edit; what is edited is put back."""
    kept = tmp_path / "kept"
    sources = ("src", "workflow")
    for name in sources:
        shutil.copytree(finished / name, kept / name)
    yield finished
    for name in sources:
        for file in (kept / name).rglob("*"):
            target = finished / file.relative_to(kept)
            if file.is_file() and (not target.exists() or target.read_bytes() != file.read_bytes()):
                shutil.copy2(file, target)


def test_every_cell_has_a_row_for_every_metric_and_seed(finished):
    scores = pd.read_csv(finished / "results/smoke/scores.csv")
    assert set(scores) >= {"system", "data", "noise", "method", "seed", "metric", "unit", "value", "status"}
    assert set(scores["status"]) <= {"ok", "diverged", "collapsed"}
    cells = scores.groupby(["system", "data", "method", "seed", "metric"]).size()
    assert len(cells) == 4 * 2 * scores["metric"].nunique()
    assert (cells == 1).all()
    assert set(scores["metric"]) >= {"jacobian_error", "lyapunov_distance", "valid_prediction_time", "steps_to_best"}


def test_the_long_tables_cover_the_study(finished):
    folder = finished / "results/smoke"
    truth, exponents, costs = (pd.read_csv(folder / f"{name}.csv") for name in ("truth", "exponents", "costs"))
    assert truth.groupby("system")["index"].max().to_dict() == {"Lorenz": 3}
    assert set(exponents["method"]) == METHODS | {"truth"}
    assert len(costs) == 4 and (costs["seconds"] > 0).all()
    assert costs.set_index("method").loc["jacobian", "given"] == "data + true J"


def test_every_table_and_figure_of_the_study_is_there(finished):
    study = yaml.safe_load((finished / SMOKE).read_text())
    for kind, suffixes in {"tables": ["csv", "md", "tex"], "figures": ["pdf", "png"]}.items():
        for label in study[kind]:
            for suffix in suffixes:
                file = finished / f"results/smoke/{kind}/{label}.{suffix}"
                assert file.stat().st_size > 0, f"{file} is empty"


def test_a_training_logs_its_progress(finished):
    log = (finished / "results/smoke/logs/Lorenz/noisy/baseline/training.log").read_text()
    assert re.search(r"step 40/40  loss .* steps/s .* left", log), log


def test_there_is_nothing_left_to_do(finished):
    assert planned(finished) == set()


def test_a_setting_of_a_method_trains_that_method_again(repository):
    edit(repository / SMOKE, "jacobian: {weight: 0.01}", "jacobian: {weight: 0.02}")
    jobs = planned(repository)
    trained = {job for job in jobs if job[0] == "train"}
    assert trained == {("train", "Lorenz", "noisy", "jacobian")}
    assert rules(jobs) <= {"train", "forecast", "score", "collect", "table", "figure", "all"}


def test_a_second_selection_of_neighbors_is_found_and_trained_for_alone(repository):
    study = repository / SMOKE
    edit(study, "\nnetwork:", "  far: {method: neighborhood, neighbors: far, count: 6}\n\nnetwork:")
    edit(study, "\nevaluation:", "  far: {count: 8, theiler: 1.0}\n\nevaluation:")
    jobs = planned(repository)
    assert {job for job in jobs if job[0] in ("neighbors", "estimators", "train")} == {
        ("neighbors", "Lorenz", "noisy", "far"),
        ("train", "Lorenz", "noisy", "far"),
    }


def test_the_source_of_a_method_trains_that_method_again(repository):
    with (repository / "src/nearorbit/methods/homotopy.py").open("a") as file:
        file.write("# a remark\n")
    jobs = planned(repository)
    assert {job[-1] for job in jobs if job[0] in ("train", "forecast", "score")} == {"homotopy"}
    assert not rules(jobs) & {"exponents", "orbits", "observe", "neighbors", "supervise"}


def test_the_source_of_the_loop_trains_all_methods_again(repository):
    with (repository / "src/nearorbit/training.py").open("a") as file:
        file.write("# a remark\n")
    jobs = planned(repository)
    assert {job[-1] for job in jobs if job[0] == "train"} == METHODS
    assert not rules(jobs) & {"exponents", "orbits", "observe", "neighbors", "supervise"}


def test_a_new_metric_trains_nothing(repository):
    source = (repository / "src/nearorbit/metrics/field_error.py").read_text()
    new = repository / "src/nearorbit/metrics/another_error.py"
    new.write_text(source.replace("field_error", "another_error"))
    try:
        jobs = planned(repository)
    finally:
        new.unlink()
    assert len({job for job in jobs if job[0] == "score"}) == 4
    assert rules(jobs) <= {"score", "collect", "table", "figure", "all"}


def test_a_new_system_runs_alone(repository):
    edit(repository / SMOKE, "  Lorenz: {}\n", "  Lorenz: {}\n  Rossler: {}\n")
    jobs = planned(repository)
    cells = {job[1] for job in jobs if job[0] not in ("collect", "table", "figure", "all")}
    assert cells == {"Rossler"}


def test_a_setting_of_a_figure_draws_that_figure_again(repository):
    edit(repository / SMOKE, "attractors: {}", "attractors: {periods: 5}")
    assert planned(repository) == {("figure", "attractors"), ("all",)}


def test_a_figure_that_was_deleted_is_drawn_again_without_training(repository):
    figure = repository / "results/smoke/figures/jacobian_error.png"
    figure.unlink()
    assert rules(planned(repository, "figures")) == {"figure", "figures"}
    done = snakemake(repository, "figures", "--configfile", SMOKE)
    assert done.returncode == 0 and figure.is_file(), done.stderr
    assert planned(repository) == set()


def test_tables_and_figures_of_a_partial_study_touch_nothing_else(repository):
    cell = repository / "results/smoke/Lorenz/noisy/jacobian"
    cell.rename(repository / "aside")
    try:
        kept = {file: file.stat().st_mtime_ns for file in (repository / "results").rglob("*") if file.is_file()}
        done = snakemake(repository, "partial", "--configfile", SMOKE)
    finally:
        (repository / "aside").rename(cell)
    assert done.returncode == 0 and "Partial: 3 of 4 cells" in done.stdout + done.stderr, done.stderr
    folder = repository / "results/smoke/partial"
    assert set(pd.read_csv(folder / "missing.csv")["method"]) == {"jacobian"}
    assert set(pd.read_csv(folder / "scores.csv")["method"]) == METHODS - {"jacobian"}
    table = (folder / "tables/jacobian_error.md").read_text()
    assert table.startswith("Partial: 3 of 4 cells") and "–" in table
    study = yaml.safe_load((repository / SMOKE).read_text())
    assert {file.stem for file in (folder / "figures").glob("*.png")} == set(study["figures"])
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert planned(repository) == set()


def test_the_costs_of_a_study_are_estimated(finished):
    done = snakemake(finished, "estimate", "--configfile", SMOKE)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "4 train, 4 forecast" in said and "hours of" in said and re.search(r"train +neighborhood +3 +1 ", said), said


def test_a_report_is_made_of_the_results(repository, tmp_path):
    done = snakemake(repository, "--configfile", SMOKE, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0 and (tmp_path / "report.html").stat().st_size > 100_000, done.stderr


def test_two_runs_give_the_same_scores_to_the_bit(repository):
    scores = repository / "results/smoke/Lorenz/noisy/neighborhood/scores.csv"
    first = scores.read_bytes()
    done = snakemake(repository, "--configfile", SMOKE, "--forcerun", "orbits", "--until", "score", "--",
                     str(scores.relative_to(repository)))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert scores.read_bytes() == first


@pytest.mark.parametrize("study", ["workflow/studies/paper.yaml", ""])
def test_the_large_studies_can_be_planned(finished, study):
    jobs = planned(finished, study=study)
    config = yaml.safe_load((REPOSITORY / (study or "config.yaml")).read_text())
    cells = len(config["systems"]) * len(config["data"]) * len(config["methods"])
    assert {len({job for job in jobs if job[0] == rule}) for rule in ("train", "forecast", "score")} == {cells}


def test_the_growth_of_costs_is_no_part_of_a_study(finished):
    assert rules(planned(finished, "performance")) == {"growth", "performance"}


def test_a_mistake_in_a_study_ends_before_the_first_job(finished, tmp_path):
    text = (REPOSITORY / SMOKE).read_text().replace("  Lorenz: {}", "  Lorentz: {}").replace("seeds: 2", "seeds: two")
    study = tmp_path / "study.yaml"
    study.write_text(text)
    done = snakemake(finished, "--dry-run", "--configfile", str(study))
    assert done.returncode != 0
    assert "seeds: expected a whole number, not 'two'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    study.write_text(text.replace("seeds: two", "seeds: 2"))
    done = snakemake(finished, "--dry-run", "--configfile", str(study))
    assert "systems.Lorentz: no system 'Lorentz'; did you mean 'Lorenz'?" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_training_gets_only_the_files_that_its_method_declares(finished):
    done = snakemake(finished, "--configfile", SMOKE, "--dry-run", "--printshellcmds", "--forcerun", "train")
    commands = re.findall(r"nearorbit train .*", done.stdout + done.stderr)
    assert len(commands) == 4
    for command in commands:
        method = re.search(r"noisy/(\w+)/model", command)[1]
        assert ("--neighbors" in command) == (method == "neighborhood"), command
        assert ("--supervision" in command) == (method == "jacobian"), command
