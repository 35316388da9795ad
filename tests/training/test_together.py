"""Cells that train together: each is the job of its own, and has the bytes that it has alone."""

import json
import os
import signal
from functools import cache

import pandas as pd
import pytest
import xarray as xr
from lorenz63 import orbits
from trainings import KilledError, killed_after

from nearorbit.__main__ import main
from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import observe
from nearorbit.study.files import write
from nearorbit.training.cells import Cell

SIZES = {"A/clean": 160, "A/noisy": 160, "B/clean": 160, "B/noisy": 200}  # samples: the last one is of another shape
FILES = {"model": "model.safetensors", "history": "history.csv", "costs": "costs.csv"}
COMPARED = ("model.safetensors", "history.csv")
SETTINGS = {
    "label": "n",
    "system": {},
    "method": {"method": "neighborhood", "count": 5},
    "network": {"width": 8, "depth": 1},
    "training": {"steps": 15, "batch": 8, "validate_every": 5, "device": "cpu", "substeps": 1},
}


noiseless = cache(orbits)


@cache
def observed(noise, samples):
    made = noiseless(samples=samples)
    deviation = xr.Dataset({"deviation": made["train"].std(["seed", "orbit", "time"])})
    return observe(made, deviation, label="Lorenz", noise=noise)


def write_data(folder, noise, samples):
    folder.mkdir(parents=True, exist_ok=True)
    data = observed(noise, samples)
    write(data, folder / "observations.nc", kind="observations")
    write(neighbors(data, count=5, theiler=0.5, ahead=5), folder / "neighbors.nc", kind="neighbors")


def write_study(folder):
    for number, (name, samples) in enumerate(SIZES.items()):
        write_data(folder / name, 0.01 * number, samples)
    return folder


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path)


def job(study, cell, most=3, siblings=tuple(SIZES), **changed):
    """Run the job of a cell as the workflow does: what was there of its outputs is removed before."""
    folder, method = study / cell, study / cell / "n"
    for name in FILES.values():
        (method / name).unlink(missing_ok=True)
    options = [f"--{kind}={folder / kind}.nc" for kind in ("observations", "neighbors")]
    options += [f"--{kind}={method / name}" for kind, name in FILES.items()]
    options += [f"--checkpoint={study / 'checkpoints' / cell}/n.safetensors"]
    if most > 1:
        place = siblings.index(cell)
        others = [str(study / other) for other in (*siblings[place + 1 :], *siblings[:place])]
        options += [f"--cells_per_training={most}", "--siblings", *others]
    return main(["train", "--settings", json.dumps(SETTINGS | changed), *options])


def results(study, cell):
    return {name: (study / cell / "n" / name).read_bytes() for name in COMPARED}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What each cell has from a training by itself."""
    study = write_study(tmp_path_factory.mktemp("alone"))
    assert [job(study, cell, most=1) for cell in SIZES] == [0, 0, 0, 0]
    assert not [path for path in (study / "checkpoints").rglob("*") if path.is_file()]
    return {cell: results(study, cell) for cell in SIZES}


def test_cells_that_train_together_have_the_bytes_that_they_have_alone(study, alone, capsys):
    assert job(study, "A/clean") == 0
    said = capsys.readouterr().err
    assert "training A/clean, A/noisy, B/clean together" in said
    assert not any((study / cell / "n").exists() for cell in SIZES if cell != "A/clean")
    for cell in ("B/clean", "A/noisy"):
        assert job(study, cell) == 0
        assert "trained before, together: A/clean, A/noisy, B/clean" in (said := capsys.readouterr().err), said
    assert job(study, "B/noisy") == 0
    assert "training B/noisy\n" in capsys.readouterr().err
    assert {cell: results(study, cell) for cell in SIZES} == alone
    costs = [pd.read_csv(study / cell / "n/costs.csv").iloc[0] for cell in SIZES]
    assert [cost["cells"] for cost in costs] == [3, 3, 3, 1]
    assert costs[0]["seconds"] == costs[2]["seconds"]
    kept = {path.name for path in (study / "checkpoints").rglob("*") if path.is_file()}
    assert kept == {"lock", "trained.json"}


def test_cells_that_are_not_alike_are_trained_apart_which_is_said(study, capsys):
    named = observed(0.01, 200).assign_coords(component=["u", "v", "w"])
    coarse = observed(0.02, 200).assign(integration_error=observed(0.02, 200)["integration_error"] * 1000)
    for name, data in {"A/noisy": named, "B/clean": coarse}.items():
        write(data, study / name / "observations.nc", kind="observations")
        write(neighbors(data, count=5, theiler=0.5, ahead=5), study / name / "neighbors.nc", kind="neighbors")
    assert job(study, "B/noisy", most=4, training=SETTINGS["training"] | {"substeps": "auto"}) == 0
    said = capsys.readouterr().err
    assert "training B/noisy\n" in said
    for name, reason in {
        "A/clean": "observations: time: 160, of B/noisy 200",
        "A/noisy": "components: u, v, w, of B/noisy 0, 1, 2",
        "B/clean": "Runge-Kutta steps between samples: 9, of B/noisy 2",
    }.items():
        assert f"trained apart: {name}: {reason}" in said, said


def test_a_cell_that_has_changed_trains_alone(study, alone, capsys):
    for cell in SIZES:
        job(study, cell)
    write_data(study / "A/noisy", 0.07, 160)
    capsys.readouterr()
    assert job(study, "A/noisy") == 0
    assert "training A/noisy\n" in capsys.readouterr().err
    assert results(study, "A/noisy") != alone["A/noisy"]
    assert results(study, "B/clean") == alone["B/clean"]


def test_what_was_left_for_a_cell_that_has_changed_since_is_not_taken(study, alone, capsys):
    job(study, "A/clean")
    write_data(study / "A/noisy", 0.07, 160)
    capsys.readouterr()
    assert job(study, "A/noisy") == 0
    assert "training A/noisy" in capsys.readouterr().err and results(study, "A/noisy") != alone["A/noisy"]


def test_other_settings_take_all_cells_along_again_and_a_training_alone_is_no_reason_to(study, capsys):
    for cell in SIZES:
        job(study, cell)
    other = {"method": {"method": "neighborhood", "count": 4}}
    capsys.readouterr()
    job(study, "A/clean", **other)
    assert "training A/clean, A/noisy, B/clean together" in capsys.readouterr().err
    for cell in ("A/noisy", "B/clean"):
        job(study, cell, most=1)
    capsys.readouterr()
    job(study, "A/clean", **other)
    assert "training A/clean\n" in capsys.readouterr().err


def test_a_cell_without_its_data_yet_or_with_those_of_others_is_left_to_its_job(study, capsys):
    (study / "A/noisy/neighbors.nc").unlink()
    (study / "B/noisy/neighbors.nc").rename(study / "B/clean/neighbors.nc")
    assert job(study, "A/clean", most=4) == 0
    said = capsys.readouterr().err
    assert "training A/clean\n" in said and "trained apart: B/clean: neighbors: the file is of other data" in said


@pytest.mark.parametrize(("again", "most"), [("B/clean", 3), ("A/noisy", 1)])
def test_a_killed_training_goes_on_cell_by_cell(study, alone, again, most, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=1)  # of three cells, two have one, at step 5
        job(study, "A/clean")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=0)
        job(study, again, most=most)
    said = capsys.readouterr().err
    if most == 1:
        assert "resumed at step 5" in said
    else:
        assert "training B/clean\n" in said and "resumed" not in said
        assert "trained apart: A/clean, A/noisy: steps made: 5, of B/clean 0" in said
    for cell in SIZES:
        assert job(study, cell) == 0
    assert "resumed at step" in capsys.readouterr().err
    assert {cell: results(study, cell) for cell in SIZES} == alone


def test_a_job_whose_cell_is_in_another_training_trains_others_and_takes_over_when_that_one_dies(
    study, alone, monkeypatch, capsys
):
    cell = Cell({}, {}, study / "checkpoints/A/clean/n.safetensors")
    ready, go = os.pipe()
    if not (other := os.fork()):
        signal.alarm(100)
        held = cell.lock()
        os.write(go, b".")
        signal.pause()
        held.close()
    os.read(ready, 1)
    assert cell.lock() is None

    def said(line):
        print(line)
        if "waiting" in line:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)

    monkeypatch.setattr("nearorbit.training.together.say", said)
    assert job(study, "A/clean", most=2) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "trained apart" not in line]
    assert lines == [
        *("A/clean is in another training; in the meantime", "training A/noisy, B/clean together"),
        *("A/clean is in another training; in the meantime", "training B/noisy"),
        *("A/clean is in another training; waiting for it", "training A/clean"),
    ]
    for name in SIZES:
        assert name == "A/clean" or job(study, name) == 0
    assert {name: results(study, name) for name in SIZES} == alone


def test_equations_that_are_known_are_those_of_one_system(study, monkeypatch):
    asked = []
    monkeypatch.setattr("nearorbit.dynamics.models.with_equations", lambda line, learned, build: (line, "known"))
    monkeypatch.setattr("nearorbit.training.together.together", lambda own, others, recipe, most: asked.extend(others))
    job(study, "A/clean")
    assert [str(cell) for cell in asked] == ["A/noisy"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cells_per_training=0"], "--cells_per_training is at least 1"),
        (["--cells_per_training=2"], "more are for one cell, with a --checkpoint"),
    ],
)
def test_what_cannot_be_is_refused(study, options, said, capsys):
    paths = [f"--{kind}={study / kind}" for kind in ("observations", *FILES)]
    assert main(["train", "--settings", json.dumps(SETTINGS), *paths, *options]) == 2
    assert said in capsys.readouterr().err


def test_siblings_of_files_elsewhere_are_refused(study, capsys):
    cell = study / "A/clean"
    paths = [f"--{kind}={cell / kind}.nc" for kind in ("observations", "neighbors")]
    paths += [f"--{kind}={study / name}" for kind, name in FILES.items()]
    options = [f"--checkpoint={study}/checkpoints/A/clean/n", "--cells_per_training=2", f"--siblings={study}/A/noisy"]
    assert main(["train", "--settings", json.dumps(SETTINGS), *paths, *options]) == 2
    assert "--siblings are for files where the workflow has them" in capsys.readouterr().err
