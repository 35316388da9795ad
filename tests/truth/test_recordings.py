"""Recordings as orbits: a regular file gives what a simulation gives, an irregular one its times."""

import numpy as np
import pytest
import xarray as xr
from lorenz63 import PERIOD, STEP
from recorded import COMPONENTS, cut, file_of, measured, pieces

from nearorbit.data.observations import observe
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.truth import recordings


def test_a_regular_file_gives_what_a_simulation_gives_to_the_bit(tmp_path):
    train, validation = pieces(500, 100)
    system = measured(file_of(tmp_path / "a.csv", train, validation), period=PERIOD)
    made, known = cut(system, held_out=0.2, validation=[1])
    simulated = xr.Dataset(
        {
            "train": (("seed", "orbit", "time", "component"), train[None, None, :400]),
            "continuation": (("seed", "orbit", "continuation_time", "component"), train[None, None, 400:]),
            "validation": (("seed", "validation_orbit", "validation_time", "component"), validation[None, None]),
            "step": STEP,
            "period": PERIOD,
        },
        coords={"seed": [0], "component": COMPONENTS},
    )
    for noise in (0.0, 0.02):
        ours, theirs = (observe(orbits, known, label="Lorenz", noise=noise) for orbits in (made, simulated))
        assert set(ours) == set(theirs) and "instants" not in ours, "a regular series has no instants"
        for name in theirs:
            assert ours[name].drop_attrs().identical(theirs[name].drop_attrs()), name


def test_what_is_not_known_of_a_measured_system_is_nan_and_the_rest_is_not(tmp_path):
    (states,) = pieces(3000)
    _, known = cut(measured(file_of(tmp_path / "a.csv", states)), held_out=0.2)
    assert known.attrs["motion"] == "unknown" and known["exponents"].isnull().all() and not known["converged"]
    np.testing.assert_allclose(known["deviation"], states.std(0))
    assert abs(float(known["period"]) / PERIOD - 1) < 0.15  # the peak of the spectrum of z, and of x's halves


def test_recordings_of_unequal_length_are_orbits_with_times_and_nothing_beyond(tmp_path):
    lengths = (100, 250, 1000)
    states = pieces(*lengths)
    made, known = cut(measured(file_of(tmp_path / "a.csv", *states)), seeds=2, held_out=0.2)
    observed = observe(made, known, label="series")
    clock = Clock.of(observed)
    assert clock.counts[0].tolist() == [67, 167, 667] and np.array_equal(clock.counts[0], clock.counts[1])
    for number, (length, given) in enumerate(zip(lengths, states, strict=True)):
        end = round(0.8 * length)
        begin = end - clock.counts[0, number]
        seen = observed["train"].sel(seed=1)[number, : end - begin]
        assert np.array_equal(seen, given[begin:end])
        np.testing.assert_allclose(np.diff(clock.times[0, number, : end - begin]), 1)
    assert made["learned"].values.tolist() == [80, 200, 800]


def test_times_of_samples_are_those_of_the_file(tmp_path):
    (states,) = pieces(300)
    times = np.delete(STEP * np.arange(300), np.arange(50, 60))
    made, known = cut(
        measured(file_of(tmp_path / "a.csv", np.delete(states, np.arange(50, 60), 0), times=[times])), gap=4
    )
    observed = observe(made, known, label="series")
    begin = 290 - round(0.2 * 290)
    begin = round(begin / 6)
    np.testing.assert_allclose(observed["instants"][0, 0], times[begin : begin + observed.sizes["time"]], atol=1e-12)
    clock = Clock.of(observed)
    assert (~clock.follows).sum() == 1 and float(observed["gap"]) == 4 * STEP
    assert set(np.unique(np.diff(clock.times[0, 0]).round(9))) == {1, 11}


def test_seeds_that_resample_learn_from_halves_of_the_blocks_and_the_same_is_held_out(tmp_path):
    (states,) = pieces(1200)
    made, _ = cut(measured(file_of(tmp_path / "a.csv", states), period=PERIOD), seeds=4, held_out=0.2, resample=2.0)
    assert made.sizes["orbit"] == 8 and "continuation" not in made  # of 16 blocks of 50
    drawn = [{tuple(state) for state in made["train"].sel(seed=seed)[:, 0].values} for seed in range(4)]
    assert all(len(begins) == 8 for begins in drawn) and len(set(map(frozenset, drawn))) == 4
    assert set.union(*drawn) <= {tuple(state) for state in states[160:960:50]}
    assert (made["validation"] == made["validation"][0]).all()
    with pytest.raises(StudyError, match="resample: all there is to train on is one block; take shorter ones"):
        cut(measured(file_of(tmp_path / "b.csv", states), period=PERIOD), held_out=0.2, resample=1000.0)


def test_a_file_that_is_wrong_names_the_line_of_the_study(tmp_path):
    system = measured(file_of(tmp_path / "a.csv", *pieces(100)), components=["x", "w"])
    with pytest.raises(StudyError, match=r"systems\.series: .*a\.csv: no column 'w'"):
        recordings.attractor(system, label="series")
