import numpy as np
import pytest
import xarray as xr
from lorenz63 import PERIOD, STEP, observations, orbit
from scipy.integrate import solve_ivp

from nearorbit.data.delays import Delays
from nearorbit.data.structure import evened, longest, prediction_error, structure
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES

SAMPLES, SURROGATES = 1500, 19


def observed(states, *, period, step=1.0, times=None, delays=None):
    """Observations of one orbit, at times in intervals if they are not equal."""
    made = xr.Dataset({"step": step, "period": period}, {"component": list("xyzuvwr")[: states.shape[1]]})
    made.attrs = delays.attributes if delays else {}
    for name, prefix in PREFIXES.items():
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        made[name] = (*dimensions, "component"), states[None, None]
        if times is not None:
            made[f"{prefix}instants"] = dimensions, step * times[None, None]
            made[f"{prefix}counts"] = dimensions[:2], [[len(times)]]
            made["gap"] = 3.0 * step
    return made


def irregular(samples, rng):
    """Times of which 30 % are missing, and the others moved by up to a quarter of an interval."""
    kept = rng.uniform(size=samples) > 0.3
    kept[0] = True
    times = (np.arange(samples) + rng.uniform(-0.25, 0.25, samples))[kept]
    return times - times[0]


def white(times, rng):
    return rng.standard_normal((len(times), 2))


def autoregressive(times, rng):
    line = np.zeros(len(times) + 100)
    for i, kick in enumerate(rng.standard_normal(len(line) - 2)):
        line[i + 2] = 1.8 * line[i + 1] - 0.9 * line[i] + kick
    return np.stack([line[5:], line[:-5]], 1)[: len(times)]


def cycle(times, rng):
    """Van der Pol's oscillator, with 5 % noise."""
    found = solve_ivp(
        lambda _, x: [x[1], 2 * (1 - x[0] ** 2) * x[1] - x[0]], (0, 0.38 * times[-1]), [2.0, 0.0], t_eval=0.38 * times,
        rtol=1e-9, atol=1e-9,
    )  # fmt: skip
    return found.y.T + 0.05 * rng.standard_normal((len(times), 2)) * found.y.std(1)


def torus(times, rng):
    t = 0.314 * times
    states = np.stack([np.sin(t) + 0.5 * np.sin(t * 2**0.5), np.cos(t), np.cos(t * 2**0.5)], 1)
    return states + 0.02 * rng.standard_normal(states.shape)


def white_with_delays(times, rng):
    x = rng.spawn(1)[0].standard_normal(len(times) + 6)  # a test with 19 surrogates refuses one stream in 20
    return np.stack([x[6 - 2 * k : len(x) - 2 * k] for k in range(4)], 1)


def three_torus(times, rng):
    """One component with seven delays."""
    t = 0.3 * np.arange(len(times) + 24)
    x = sum(np.sin(t * root) for root in (1, 2**0.5, 5**0.5))
    x = x + 0.02 * x.std() * rng.standard_normal(len(x))
    return np.stack([x[24 - 4 * k : len(x) - 4 * k] for k in range(7)], 1)


DELAYS = {white_with_delays: Delays((0,), 4, 2), three_torus: Delays((0,), 7, 4)}


@pytest.mark.parametrize(
    ("made", "character", "uneven"),
    [
        (three_torus, "regular", False),
        (white_with_delays, "nothing", False),
        *((white, "nothing", uneven) for uneven in (False, True)),
        *((cycle, "regular", uneven) for uneven in (False, True)),
        *((torus, "regular", uneven) for uneven in (False, True)),
        (autoregressive, "linear", False),  # its times are steps
    ],
)
def test_what_is_not_chaotic_is_not_called_irregular(made, character, uneven):
    rng = np.random.default_rng(1)
    times = irregular(SAMPLES, rng) if uneven else np.arange(float(SAMPLES))
    table = structure(
        observed(made(times, rng), period=20.0, times=times if uneven else None, delays=DELAYS.get(made)), label="a",
        theiler=0.5, surrogates=SURROGATES,
    )  # fmt: skip
    assert table.attrs["character"] == character, table


@pytest.mark.parametrize("settings", [{}, {"missing": 0.3, "jitter": 0.5}])
def test_noisy_chaos_is_irregular_and_its_noise_is_found(settings):
    table = structure(
        observations(noise=0.05, samples=SAMPLES, seeds=1, **settings), label="a", theiler=0.5, surrogates=SURROGATES
    )
    assert table.attrs["character"] == "irregular" and table["p_value"].item() == pytest.approx(0.05)
    np.testing.assert_allclose(table["noise"], 0.05, rtol=0.2)


def test_one_component_with_delays_is_enough():
    rng = np.random.default_rng(0)
    x = orbit(orbit(np.array([1.0, 1.0, 25.0]), 500)[-1], SAMPLES)[:, 0]
    x = x + 0.02 * x.std() * rng.standard_normal(len(x))
    delayed = np.stack([x[8:], x[4:-4], x[:-8]], 1)
    table = structure(observed(delayed, period=PERIOD, step=STEP), label="a", theiler=0.5, surrogates=SURROGATES)
    assert table.attrs["character"] == "irregular"


def test_chaos_whose_phase_is_coherent_is_not_called_regular():
    found = solve_ivp(
        lambda _, s: [-s[1] - s[2], s[0] + 0.2 * s[1], 0.2 + s[2] * (s[0] - 4.6)], (0, 850), [1.0, 2.0, 0.5],
        t_eval=np.arange(1000, 2833) * 0.3, rtol=1e-8, atol=1e-8,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x = found.y[0] + 0.05 * found.y[0].std() * rng.standard_normal(found.y.shape[1])
    delayed = np.stack([x[8:], x[4:-4], x[:-8]], 1)
    table = structure(observed(delayed, period=5.88, step=0.3), label="a", theiler=0.5, surrogates=SURROGATES)
    assert table["lost"] < 0.1 and table.attrs["character"] == "irregular", table


def test_where_nothing_is_found_in_less_than_sixteen_periods_the_series_is_short():
    noise = np.random.default_rng(2).standard_normal((300, 2))
    for period, character in ((15.0, "nothing"), (40.0, "short")):
        table = structure(observed(noise, period=period), label="a", theiler=0.5, surrogates=SURROGATES)
        assert table.attrs["character"] == character, table


def test_of_a_short_series_it_is_not_told_what_is_lost():
    table = structure(observations(samples=300, seeds=1), label="a", theiler=0.5, surrogates=SURROGATES)
    assert np.isnan(table["lost"]) and table.attrs["character"] in ("nonlinear", "linear")


def test_what_repeats_is_forecast_without_an_error_and_noise_no_better_than_by_its_mean():
    line = np.tile(np.random.default_rng(0).standard_normal((25, 2)), (20, 1))
    np.testing.assert_allclose(prediction_error(line, leads=np.arange(1, 51), window=5), 0, atol=1e-9)
    noise = np.random.default_rng(0).standard_normal((2000, 2))
    np.testing.assert_allclose(prediction_error(noise, leads=np.arange(1, 6), window=5), (1 + 1 / 8) ** 0.5, rtol=0.03)


def test_a_series_that_is_even_is_read_as_it_is():
    states = np.random.default_rng(0).standard_normal((50, 2))
    np.testing.assert_array_equal(evened(states, np.arange(50.0)), states)
    np.testing.assert_allclose(
        evened(2 * np.array([[0.0], [1.0], [4.0]]), np.array([0.0, 1.0, 4.0])).ravel(), [0, 2, 4, 6, 8]
    )


def test_the_longest_recording_is_without_what_fills_it_up():
    table = observations(samples=200, missing=0.3)
    states, times = longest(table, "train", 1)
    assert len(states) == len(times) == table["counts"][1, 0] and times[0] == 0


def test_too_short_a_series_is_refused_by_name():
    with pytest.raises(StudyError, match=r"systems\.pendulum: nothing can be told of orbits of 6 samples"):
        structure(observed(np.random.default_rng(0).standard_normal((6, 2)), period=2.0), label="pendulum", theiler=0.5)
