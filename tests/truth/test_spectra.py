import numpy as np
import pandas as pd
import pytest
import yaml
from lorenz63 import orbit
from repository import REPOSITORY

from nearorbit.study.catalogue import StudyError, build
from nearorbit.study.study import parse
from nearorbit.truth.spectra import EDGES, FILE, nearest, signature

STEP = 0.02


def series(samples=4000):
    return orbit(orbit(np.array([1.0, 1.0, 25.0]), 500)[-1], samples, step=STEP)


def test_a_sine_has_its_power_where_its_period_is():
    time = np.arange(4000) / 40
    shares = signature(np.stack([np.sin(2 * np.pi * time), np.cos(2 * np.pi * time)], 1))
    assert shares.sum() == pytest.approx(1) and shares[(EDGES[:-1] >= 0.8) & (EDGES[1:] <= 1.25)].sum() > 0.99


def test_a_signature_knows_no_units_of_time_or_states():
    states = series()
    np.testing.assert_allclose(signature(states), signature(1e3 * states[:, ::-1] + 5), rtol=1e-9)


def test_signatures_of_the_catalogue_are_shares():
    table = pd.read_csv(FILE, index_col="system")
    assert len(table) > 80 and {"Lorenz", "Rossler"} <= set(table.index)
    np.testing.assert_allclose(table.drop(columns="dimension").sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", ["Lorenz", "Rossler", "LorenzStenflo"])
def test_the_signature_of_a_system_is_nearest_to_itself(name):
    row = pd.read_csv(FILE, index_col="system").loc[name]
    assert nearest(row.drop("dimension").to_numpy(), dimension=int(row["dimension"]))[0] == name


def test_a_noisy_series_has_the_twin_of_a_clean_one_by_its_line_of_a_study(tmp_path):
    states = series()
    near = nearest(signature(states), dimension=3)
    assert near.index("Lorenz") < len(near) / 4, near
    states += 0.05 * states.std(0) * np.random.default_rng(0).standard_normal(states.shape)
    table = pd.DataFrame(states, columns=["x", "y", "z"]).assign(t=STEP * np.arange(len(states)))
    table.to_csv(file := tmp_path / "series.csv", index=False)
    line = {"system": "measured", "file": str(file), "time": "t", "components": ["x", "y", "z"]}
    assert build("systems", "nearest", {"like": line}).name == near[0]


def test_systems_of_another_dimension_come_last():
    table = pd.read_csv(FILE, index_col="system")["dimension"]
    found = table[nearest(np.full(len(EDGES) - 1, 1 / (len(EDGES) - 1)), dimension=4)].to_numpy()
    assert (found[: (table == 4).sum()] == 4).all()


def test_auto_is_the_nearest_system_of_a_measured_one_alone():
    content = yaml.safe_load((REPOSITORY / "workflow/studies/measured.yaml").read_text())
    line = content["systems"]["series"]
    content["systems"]["series"] = {**line, "twin": "auto"}
    assert parse(content).systems["series_twin"] == {"system": "nearest", "like": line}
    content["systems"] = {"Lorenz": {"twin": "auto"}}
    with pytest.raises(StudyError, match=r"systems.Lorenz.twin: 'auto' is for measured systems"):
        parse(content)
