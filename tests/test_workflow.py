"""The workflow runs end to end, and runs again only what a change concerns."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from repository import REPOSITORY, SMOKE, copy, planned, snakemake

from nearorbit.study.places import RESULTS

DELAY = {"dimension": 2, "lag": 4}
METHODS = {"baseline", "homotopy", "jacobian", "neighborhood"}


def rules(jobs: set[tuple[str, ...]]) -> set[str]:
    return {rule for rule, *_ in jobs}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file} has no '{old}'"
    file.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def finished(smoke, tmp_path_factory) -> Path:
    """A copy of the repository in which the smoke study has run."""
    return shutil.copytree(smoke, tmp_path_factory.mktemp("repository") / "nearorbit", symlinks=True)


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
    assert len(cells) == 5 * 2 * scores["metric"].nunique()  # four methods and the truth
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
    for kind, suffixes in {"tables": ["csv", "md", "tex"], "figures": ["pdf", "png", "txt"]}.items():
        for label in study[kind]:
            for suffix in suffixes:
                file = finished / f"results/smoke/{kind}/{label}.{suffix}"
                assert file.stat().st_size > 0, f"{file} is empty"


def test_a_training_logs_its_progress(finished):
    log = (finished / "results/smoke/logs/Lorenz/noisy/baseline/training.log").read_text()
    assert re.search(r"step 40/40  loss .* steps/s .* left", log), log


def test_every_log_begins_with_what_was_asked_and_ends_with_how_long_it_took(finished):
    logs = list((finished / "results/smoke/logs").rglob("*.log"))
    assert len(logs) == 21
    for log in logs:
        first, *_, last = log.read_text().splitlines()
        stage = re.fullmatch(r"nearorbit [\d.]+ (\w+) --settings {.*}", first)[1]
        assert re.fullmatch(rf"{stage}: \d+\.\d s", last), log
    lines = (finished / "results/smoke/logs/Lorenz/noisy/jacobian/training.log").read_text().splitlines()
    assert lines[1:3] == [f"{kind}: results/smoke/Lorenz/noisy/{kind}.nc" for kind in ("observations", "supervision")]


def test_there_is_nothing_left_to_do(finished):
    assert planned(finished) == set()


def test_a_second_look_at_a_study_imports_nothing_that_trains_or_draws(finished):
    looked_at = [sys.executable, "-X", "importtime", "-m", "snakemake", "-n", "--configfile", SMOKE]
    environment = os.environ | {"PYTHONPATH": str(finished / "src")}
    done = [subprocess.run(looked_at, cwd=finished, env=environment, capture_output=True, text=True) for _ in range(2)]
    assert [one.returncode for one in done] == [0, 0]
    imported = set(re.findall(r"[|] +(\w+)$", done[1].stderr, re.MULTILINE))
    assert imported >= {"snakemake", "nearorbit"} and not imported & {"torch", "dysts", "seaborn", "heyoka"}


def test_a_setting_of_a_method_trains_that_method_again(repository):
    edit(repository / SMOKE, "jacobian: {weight: 0.01}", "jacobian: {weight: 0.02}")
    jobs = planned(repository)
    trained = {job for job in jobs if job[0] == "train"}
    assert trained == {("train", "Lorenz", "noisy", "jacobian")}
    assert rules(jobs) <= {"train", "forecast", "score", "collect", "tables", "figures", "all"}


def test_a_second_selection_of_neighbors_is_found_and_trained_for_alone(repository):
    study = repository / SMOKE
    edit(study, "\nnetworks:", "  far: {method: neighborhood, neighbors: far, count: 6}\n\nnetworks:")
    edit(study, "\nevaluation:", "  far: {count: 8, theiler: 1.0}\n\nevaluation:")
    jobs = planned(repository)
    assert {job for job in jobs if job[0] in ("neighbors", "estimators", "train")} == {
        ("neighbors", "Lorenz", "noisy", "far"),
        ("train", "Lorenz", "noisy", "far"),
    }


def test_the_source_of_a_method_trains_that_method_again(repository):
    with (repository / "src/nearorbit/training/methods/homotopy.py").open("a") as file:
        file.write("# a remark\n")
    jobs = planned(repository)
    assert {job[-1] for job in jobs if job[0] in ("train", "forecast")} == {"homotopy"}
    assert not rules(jobs) & {"exponents", "orbits", "observe", "neighbors", "supervise"}


def test_the_source_of_the_loop_trains_all_methods_again(repository):
    with (repository / "src/nearorbit/training/loop.py").open("a") as file:
        file.write("# a remark\n")
    jobs = planned(repository)
    assert {job[-1] for job in jobs if job[0] == "train"} == METHODS
    assert not rules(jobs) & {"exponents", "orbits", "observe", "neighbors", "supervise"}


def test_a_new_metric_trains_nothing(repository):
    source = (repository / "src/nearorbit/evaluation/metrics/field_error.py").read_text()
    new = repository / "src/nearorbit/evaluation/metrics/another_error.py"
    new.write_text(source.replace("field_error", "another_error"))
    try:
        jobs = planned(repository)
    finally:
        new.unlink()
    assert {job for job in jobs if job[0] == "score"} == {("score", "Lorenz")}
    assert rules(jobs) <= {"score", "collect", "tables", "figures", "all"}


def test_a_new_system_runs_alone(repository):
    edit(repository / SMOKE, "  Lorenz: {}\n", "  Lorenz: {}\n  Rossler: {}\n")
    jobs = planned(repository)
    cells = {job[1] for job in jobs if job[0] not in ("collect", "collect_truth", "tables", "figures", "all")}
    assert cells == {"Rossler"}


def test_a_field_that_is_brought_is_forecast_and_nothing_is_trained(repository):
    edit(repository / SMOKE, "networks:\n", 'fields:\n  mine: {field: "mine.py:f"}\n\nnetworks:\n')
    (repository / "mine.py").write_text("def f(x):\n    return -x\n")
    jobs = planned(repository)
    assert ("forecast_brought", "Lorenz", "noisy", "mine") in jobs
    assert rules(jobs) == {
        "forecast_brought",
        "score",
        "collect",
        "collect_truth",
        "tables",
        "figures",
        "all",
    }


def test_a_setting_of_a_figure_draws_that_figure_again(repository):
    edit(repository / SMOKE, "attractors: {}", "attractors: {data: noisy}")
    assert planned(repository) == {("figures",), ("all",)}


@pytest.mark.slow
def test_a_figure_that_was_deleted_is_drawn_again_without_training(repository):
    figure = repository / "results/smoke/figures/jacobian_error.png"
    figure.unlink()
    assert rules(planned(repository, "figures")) == {"figures"}
    done = snakemake(repository, "figures", "--configfile", SMOKE)
    assert done.returncode == 0 and figure.is_file(), done.stderr
    assert planned(repository) == set()


@pytest.mark.slow
def test_tables_and_figures_of_a_partial_study_touch_nothing_else(repository):
    cell = repository / "results/smoke/Lorenz/noisy/jacobian"
    cell.rename(repository / "aside")
    try:
        kept = {file: file.stat().st_mtime_ns for file in (repository / "results").rglob("*") if file.is_file()}
        done = snakemake(repository, "partial", "--configfile", SMOKE)
    finally:
        (repository / "aside").rename(cell)
    assert done.returncode == 0 and "Partial: 4 of 5 cells" in done.stdout + done.stderr, done.stderr
    folder = repository / "results/smoke/partial"
    assert set(pd.read_csv(folder / "missing.csv")["method"]) == {"jacobian"}
    assert set(pd.read_csv(folder / "scores.csv")["method"]) == METHODS - {"jacobian"} | {"truth"}
    assert len(pd.read_csv(folder / "record/scores.csv")) == len(pd.read_csv(folder / "scores.csv"))
    assert set(pd.read_csv(folder / "record/costs.csv")["method"]) == METHODS - {"jacobian"}
    table = (folder / "tables/jacobian_error.md").read_text()
    assert table.startswith("Partial: 4 of 5 cells") and "–" in table
    study = yaml.safe_load((repository / SMOKE).read_text())
    assert {file.stem for file in (folder / "figures").glob("*.png")} == set(study["figures"])
    page = (folder / "report.html").read_text()
    assert "Partial: 4 of 5 cells." in page and "1 of 5 cells have no scores." in page
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert planned(repository) == set()


@pytest.mark.slow
def test_the_costs_of_a_study_are_estimated(finished):
    done = snakemake(finished, "estimate", "--configfile", SMOKE)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "4 train, 4 forecast" in said and "hours of" in said and re.search(r"train +neighborhood +3 +1 ", said), said
    planned = snakemake(finished, "--configfile", SMOKE, "-n", "--forceall").stdout
    total = int(re.search(r"^total +(\d+)", planned, re.MULTILINE)[1])  # with the rule that only asks for the others
    assert f"{total - 1} jobs: " in said, (total, said)


def test_a_report_is_made_of_the_results(repository, tmp_path):
    done = snakemake(repository, "--configfile", SMOKE, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0 and (tmp_path / "report.html").stat().st_size > 100_000, done.stderr


def test_the_page_of_a_study_has_all_its_tables_and_figures_and_is_in_the_report(repository, tmp_path):
    done = snakemake(repository, "report", "--configfile", SMOKE)
    assert done.returncode == 0, done.stderr
    page, study = (
        (repository / "results/smoke/report.html").read_text(),
        yaml.safe_load((repository / SMOKE).read_text()),
    )
    assert "Everything once, as small as it can be" in page and "not there" not in page
    for kind in ("tables", "figures"):
        assert set(re.findall(f'id="{kind[:-1]}-([^"]*)"', page)) == set(study[kind])
    assert planned(repository, "report") == set()
    done = snakemake(repository, "report", "--configfile", SMOKE, "--report", str(tmp_path / "report.html"))
    report = (tmp_path / "report.html").read_text()
    assert done.returncode == 0 and "What was found, in numbers" in report and "smoke/report.html" in report, (
        done.stderr
    )


ALL_STAGES = """
import shlex, sys
from nearorbit.__main__ import main
sys.exit(max(main(shlex.split(line)) for line in sys.stdin))
"""


def test_two_runs_give_the_same_bytes(finished, tmp_path):
    """All jobs again, of methods one, in a process with another order of sets; costs are measured, and differ."""
    done = snakemake(finished, "--configfile", SMOKE, "--dry-run", "--printshellcmds", "--forceall")
    others = "|".join(METHODS - {"neighborhood"})
    commands = re.findall(r"python -m nearorbit (.*) 2>&1", done.stdout + done.stderr)
    commands = [command for command in commands if not re.search(f"/({others})/", command)]
    again = shutil.copytree(finished, tmp_path / "again")
    written = {file for command in commands for file in re.findall(r"results/smoke/\S+\.\w+", command)}
    shown = (file for kind in ("tables", "figures") for file in (finished / "results/smoke" / kind).iterdir())
    written |= {str(file.relative_to(finished)) for file in shown}
    for file in written:
        (again / file).unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", ALL_STAGES],
        input="\n".join(commands),
        cwd=again,
        env=os.environ | {"PYTHONPATH": str(again / "src"), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    repeated = sorted(file for file in written if "costs." not in file and "/checkpoints/" not in file)
    kinds = {".nc", ".csv", ".safetensors", ".md", ".tex", ".pdf", ".png", ".txt"}
    assert {Path(file).suffix for file in repeated} == kinds
    differ = [file for file in repeated if (finished / file).read_bytes() != (again / file).read_bytes()]
    assert not differ, differ


@pytest.mark.parametrize("study", ["workflow/studies/paper.yaml", ""])
def test_the_large_studies_can_be_planned(finished, study):
    jobs = planned(finished, study=study)
    config = yaml.safe_load((REPOSITORY / (study or "config.yaml")).read_text())
    kinds, methods = len(config["systems"]) * len(config["data"]), len(config["methods"])
    numbers = {rule: len({job for job in jobs if job[0] == rule}) for rule in ("train", "forecast", "score")}
    assert numbers == {"train": kinds * methods, "forecast": kinds * methods, "score": len(config["systems"])}


@pytest.mark.parametrize("targets", [(), ("tables", "figures", "report", "redraw")], ids=["default", "named"])
def test_whatever_is_asked_of_a_record_nothing_of_its_study_is_run(finished, targets):
    jobs = planned(finished, *targets, "--config", f"from={REPOSITORY / 'docs/results/noise'}", study="")
    assert rules(jobs) == set(targets or ("all",))


def test_how_many_cells_train_together_is_no_reason_to_run_anything(finished):
    assert planned(finished, "--set-resources", "train:cells_per_training=8") == set()
    done = snakemake(finished, "-n", "--configfile", SMOKE, "--set-resources", "train:cells_per_training=0")
    assert (
        done.returncode != 0 and "train:cells_per_training: expected a whole number from 1 on, not '0'" in done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr


def test_the_growth_of_costs_is_no_part_of_a_study(finished):
    assert rules(planned(finished, "performance")) == {"growth", "performance"}


def test_the_landscape_around_a_trained_model_is_no_part_of_a_study(finished):
    assert rules(planned(finished, "landscape")) == {"surface", "landscape"}


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


def test_two_equal_keys_and_keys_that_are_no_text_end_before_the_first_job(finished, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(
        (REPOSITORY / SMOKE).read_text().replace("  Lorenz: {}\n", "  Lorenz: {}\n  Lorenz: {rho: 32}\n  no: {}\n")
    )
    done = snakemake(finished, "--dry-run", "--configfile", str(study))
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    line = study.read_text().splitlines().index("  Lorenz: {}") + 1
    assert f"study.yaml: lines {line} and {line + 1}: 'Lorenz' stands there twice" in done.stderr
    assert f"study.yaml: line {line + 2}: YAML reads 'no' as a truth value, False: put it in quotes" in done.stderr


def test_a_value_on_the_command_line_takes_the_place_of_that_of_the_file(finished):
    assert {job for job in planned(finished, "--config", "seeds=3") if job[0] == "orbits"} == {
        ("orbits", "Lorenz", "noisy")
    }


@pytest.mark.slow
def test_what_the_message_about_a_damaged_output_says_makes_it_anew(repository):
    forecast = "results/smoke/Lorenz/noisy/baseline/forecast.nc"
    whole = (repository / forecast).read_bytes()
    (repository / forecast).write_bytes(whole[: len(whole) // 2])
    scores = "results/smoke/Lorenz/scores.csv"
    (repository / scores).unlink()
    done = snakemake(repository, scores, "--configfile", SMOKE)
    assert done.returncode != 0 and (repository / forecast).stat().st_size == len(whole) // 2
    told = re.search(r"if the workflow made it: snakemake (.*)", done.stdout + done.stderr)[1]
    assert told == f"--cores 1 --force {forecast}"
    done = snakemake(repository, *told.split(), "--configfile", SMOKE)
    assert done.returncode == 0 and (repository / forecast).read_bytes() == whole, done.stderr[-5000:]
    assert snakemake(repository, scores, "--configfile", SMOKE).returncode == 0 and (repository / scores).is_file()


def test_the_header_of_a_model_has_an_order(finished):
    content = (finished / "results/smoke/Lorenz/noisy/baseline/model.safetensors").read_bytes()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    entries = json.loads(header)
    assert len(header) % 8 == 0 and set(entries["__metadata__"]) == {"network", "components", "equations"}
    assert list(entries) == sorted(entries) and list(entries["__metadata__"]) == sorted(entries["__metadata__"])


def test_a_training_gets_only_the_files_that_its_method_declares(finished):
    done = snakemake(finished, "--configfile", SMOKE, "--dry-run", "--printshellcmds", "--forcerun", "train")
    commands = re.findall(r"nearorbit train .*", done.stdout + done.stderr)
    assert len(commands) == 4
    for command in commands:
        method = re.search(r"noisy/(\w+)/model", command)[1]
        assert ("--neighbors" in command) == (method == "neighborhood"), command
        assert ("--supervision" in command) == (method == "jacobian"), command


SYSTEMS = "abcdefghijklm"
# A target for every rule that calls a stage, in five runs, the last of a study of measured systems. A job whose input
# has failed does not begin: so each is of another system, and those of the whole study, whose tables read the scores,
# are for themselves.
FAILING = [
    {
        "exponents": "results/smoke/a/exponents.nc",
        "covariant_vectors": "results/smoke/l/covariant_vectors.nc",
        "orbits": "results/smoke/b/noisy/orbits.nc",
        "truth_table": "results/smoke/c/noisy/truth.nc",
        "observe": "results/smoke/d/noisy/observations.nc",
        "neighbors": "results/smoke/e/noisy/neighbors/nearest.nc",
        "supervise": "results/smoke/f/noisy/supervision.nc",
        "train": "results/smoke/g/noisy/jacobian/model.safetensors",
        "forecast": "results/smoke/h/noisy/jacobian/forecast.nc",
        "forecast_brought": "results/smoke/m/noisy/mine/forecast.nc",
        "score": "results/smoke/i/scores.csv",
        "estimators": "results/smoke/j/noisy/estimators.nc",
        "propagate": "results/smoke/k/noisy/propagators.nc",
        "performance": "results/performance/growth.pdf",
    },
    {
        "collect_truth": "results/smoke/truth.csv",
        "tables": "results/smoke/tables/jacobian_error.csv",
        "figures": "results/smoke/figures/attractors.png",
        "growth": "results/performance/growth.csv",
        "surface": "results/smoke/landscape.csv",
        "estimate": "estimate",
        "partial": "partial",
        "rulegraph": "rulegraph",
        "redraw": "redraw",
    },
    {"collect": "results/smoke/scores.csv", "landscape": "results/smoke/landscape.pdf"},
    {"record": "results/smoke/record", "models": "results/smoke/models.zip", "report": "results/smoke/report.html"},
    {
        "measure": "results/smoke/a/exponents.nc",
        "cut": "results/smoke/b/noisy/orbits.nc",
        "hold_out": "results/smoke/c/noisy/truth.nc",
        "structure": "results/smoke/d/noisy/structure.nc",
        "unseen": "results/smoke/e/noisy/baseline/unseen.nc",
        "twin": "results/smoke/f_twin/noisy/orbits.nc",
        "partial_truth": "results/smoke/g_twin/part/truth.nc",
        "unseen_brought": "results/smoke/h/noisy/mine/unseen.nc",
    },
]


def test_there_is_a_target_for_every_rule_that_calls_a_stage():
    text = "".join(file.read_text() for file in sorted((REPOSITORY / "workflow/rules").glob("*.smk")))
    calling = {
        rule for rule, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)*)", text, re.MULTILINE) if "python" in body
    }
    assert {rule for targets in FAILING for rule in targets} == calling


@pytest.fixture
def broken(tmp_path) -> Path:
    """A copy in which every stage fails."""
    folder = copy(tmp_path / "nearorbit")
    (folder / "src/nearorbit/__main__.py").write_text("raise SystemExit('error: it fails')\n")
    return folder


def write_study(folder: Path, *, measured: bool) -> None:
    """Write a study of many systems, known or measured with twins, and empty files in place of all its results."""
    study = yaml.safe_load((folder / SMOKE).read_text())
    if measured:
        series = {
            "system": "measured",
            "file": "workflow/series/lorenz.csv",
            "time": "t",
            "components": ["x", "y", "z"],
        }
        study |= {"systems": {label: series | {"twin": "Lorenz"} for label in SYSTEMS}, "methods": {"baseline": {}}}
        study["data"] = {"noisy": {"noise": 0.0}}
        study["data"]["part"] = study["data"]["noisy"] | {"components": ["x"], "delay": {"dimension": 3, "lag": 2}}
        study |= {"figures": {"unseen": {}}, "tables": {"verdict": {}}, "fields": {"mine": {"field": "math:sin"}}}
        systems, methods = [label + twin for label in SYSTEMS for twin in ("", "_twin")], ["baseline", "mine"]
        os.utime(folder / series["file"], (5e8, 5e8))
    else:
        study |= {"systems": {s: {"system": "Lorenz"} for s in SYSTEMS}, "methods": {"jacobian": {"weight": 0.01}}}
        study |= {"figures": {"attractors": {}}, "tables": {"jacobian_error": {}}}
        study |= {"fields": {"mine": {"field": "math:sin"}}}
        systems, methods = list(SYSTEMS), ["jacobian", "mine"]
    (folder / SMOKE).write_text(yaml.safe_dump(study, sort_keys=False))
    data = [f"{system}/{label}" for system in systems for label in study["data"]]
    folders = {"system": [""], "data": systems, "method": data}
    folders |= {"": [f"{place}/{method}" for place in data for method in (*methods, "truth")]}
    files = [Path(place, name) for axis, places in folders.items() for place in places for name in RESULTS[axis][1]]
    files += [Path(place, "neighbors/nearest.nc") for place in data] + [Path("../performance/growth.csv")]
    files += [Path(f"tables/jacobian_error.{kind}") for kind in ("csv", "md", "tex")]
    files += [Path(f"figures/attractors.{kind}") for kind in ("png", "pdf", "txt")]
    for file in (folder / "results/smoke" / file for file in files if file.suffix):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (1e9, 1e9))


@pytest.mark.parametrize("targets", FAILING, ids=["a cell", "a study", "scores", "record and report", "measured"])
def test_a_stage_that_fails_fails_its_job_at_once(broken, targets):
    write_study(broken, measured="measure" in targets)
    done = snakemake(broken, "--keep-going", "--force", *targets.values(), "--configfile", SMOKE)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert set(re.findall(r"Error in rule (\w+):", said)) == set(targets), said[-5000:]
    assert "Waiting at most" not in said and "MissingOutputException" not in said, said[-5000:]


def test_what_is_learned_from_a_file_is_learned_again_when_it_changes(tmp_path):
    folder, config = copy(tmp_path), yaml.safe_load((REPOSITORY / SMOKE).read_text())
    times = 0.1 * np.arange(400)
    table = pd.DataFrame({"t": times, "x": np.sin(times), "y": np.cos(times) * np.sin(0.3 * times)})
    table.to_csv(folder / "series.csv", index=False)
    line = {"system": "measured", "file": "series.csv", "time": "t", "components": ["x", "y"]}
    data = {"raw": {"noise": 0.0, "held_out": 0.2}, "x": {"noise": 0.0, "components": ["x"], "delay": DELAY}}
    methods = {"baseline": {}}
    study = {**config, "systems": {"series": line}, "data": data, "methods": methods, "figures": {}, "tables": {}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    made = [f"results/smoke/series/{data}/{file}" for data in ("raw", "x") for file in ("truth.nc", "estimators.nc")]
    made += ["results/smoke/series/raw/baseline/forecast.nc"]
    done = snakemake(folder, *made, "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "systems.series: 400 samples, at equal intervals of 0.1" in done.stderr
    assert "series: 2 delays, 4 samples apart" in (folder / "results/smoke/logs/series/x/observations.log").read_text()
    assert not planned(folder, *made, study="study.yaml")
    (folder / "series.csv").touch()
    assert not planned(folder, *made, study="study.yaml"), "what counts is content"
    table.assign(x=table["x"] * 1.01).to_csv(folder / "series.csv", index=False)
    jobs = planned(folder, *made, study="study.yaml")
    assert rules(jobs) == {"measure", "cut", "observe", "hold_out", "estimators", "train", "forecast"}
    (folder / "series.csv").write_text("t,x,y\n0,1,2\n1,oops,3\n")
    done = snakemake(folder, *made, "--configfile", "study.yaml")
    assert done.returncode != 0 and "systems.series: series.csv: line 3: 'x' is 'oops', no number" in done.stderr
    assert all((folder / file).exists() for file in made), "nothing is deleted"
