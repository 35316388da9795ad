import numpy as np
import pytest
import xarray as xr
from lorenz63 import PERIOD, STEP, observations, orbit
from scipy.integrate import solve_ivp

from nearorbit.data.delays import Delays
from nearorbit.data.pooled import evened, longest, pooled
from nearorbit.data.structure import prediction_error, structure
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES

SAMPLES, SURROGATES = 1500, 19


def observed(*states, period, step=1.0, times=None, delays=None):
    """Observations of one orbit, at times in intervals if they are not equal; or of some that are equally long."""
    made = xr.Dataset({"step": step, "period": period}, {"component": list("xyzuvwr")[: states[0].shape[1]]})
    made.attrs = delays.attributes if delays else {}
    for name, prefix in PREFIXES.items():
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        made[name] = (*dimensions, "component"), np.stack(states)[None]
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


def delayed(x, lag, count=4):
    """One component with delays."""
    return np.stack([x[lag * (count - 1 - k) : len(x) - lag * k] for k in range(count)], 1)


def noisy(x, level, rng):
    return x + level * x.std() * rng.standard_normal(x.shape)


def rossler(c, samples):
    """The x of Rossler's system, 20 samples a period."""
    found = solve_ivp(
        lambda _, s: [-s[1] - s[2], s[0] + 0.2 * s[1], 0.2 + s[2] * (s[0] - c)], (0, 300 + 0.3 * samples),
        [1.0, 2.0, 0.5], t_eval=300 + 0.3 * np.arange(samples), rtol=1e-8, atol=1e-8,
    )  # fmt: skip
    return found.y[0]


@pytest.mark.parametrize("level", [0.02, 0.2])
def test_chaos_whose_phase_is_coherent_is_told_from_a_cycle_whatever_the_noise(level):
    rng = np.random.default_rng(0)
    pieces = {"irregular": rossler(4.6, 4000), "regular": cycle(np.arange(4000.0), rng)[:, 0]}
    for character, x in pieces.items():
        seen = observed(delayed(noisy(x, level, rng), 5), period=20.0, delays=Delays((0,), 4, 5))
        table = structure(seen, label="a", theiler=0.5, surrogates=9)
        assert table.attrs["character"] == character, table
        grown = float(table["growth"] / table["growth_stderr"])
        assert (grown > 3) == (character == "irregular") and table["lost"] < 0.1, (grown, table["lost"])


def walk(samples, rng):
    return np.cumsum(rng.standard_normal((samples, 2)), 0)


@pytest.mark.parametrize("cut", [(1, 1000), (8, 150)])
def test_a_random_walk_is_no_chaos(cut):
    rng, (count, samples) = np.random.default_rng(3), cut
    found = [
        structure(
            observed(*(walk(samples, rng) for _ in range(count)), period=20.0), label=f"{trial}", theiler=0.5,
            surrogates=SURROGATES,
        ).attrs["character"]
        for trial in range(6)
    ]  # fmt: skip
    assert set(found) <= {"slow", "linear"} and "slow" in found, found


def test_what_one_short_recording_does_not_tell_several_do():
    rng = np.random.default_rng(0)
    x = orbit(orbit(np.array([1.0, 1.0, 25.0]), 500)[-1], 8000, step=STEP)[:, 0]
    pieces = [delayed(noisy(x[begin : begin + 300], 0.2, rng), 8) for begin in range(0, 8000, 1000)]
    settings = {"label": "a", "theiler": 0.5, "surrogates": SURROGATES}
    delays = Delays((0,), 4, 8)
    one = structure(observed(pieces[0], period=PERIOD, step=STEP, delays=delays), **settings)
    all_of_them = structure(observed(*pieces, period=PERIOD, step=STEP, delays=delays), **settings)
    assert one.attrs["character"] == "short" and one["recordings"] == 1
    assert all_of_them.attrs["character"] in ("nonlinear", "irregular") and all_of_them["recordings"] == 8
    assert all_of_them["samples"] == 8 * len(pieces[0])


@pytest.mark.parametrize("cut", [(1, 400), (5, 80)])
def test_a_linear_process_is_refused_as_often_as_is_said(cut):
    rng, (count, samples) = np.random.default_rng(1), cut
    refused = 0
    for trial in range(24):
        line = [autoregressive(np.arange(float(samples)), rng) for _ in range(count)]
        table = structure(observed(*line, period=20.0), label=f"{trial}", theiler=0.5, surrogates=SURROGATES)
        refused += bool(table["p_value"] <= 0.05)
    assert refused <= 4, f"{refused} of 24 at a level of 5 %"  # more have a probability of 0.6 %


def test_recordings_that_are_much_shorter_than_the_longest_are_left_out():
    table = observations(samples=200, seeds=1, count=3)
    assert [len(times) for _, times in pooled(table, "train", 0)] == [200] * 3
    counts = table.assign(
        counts=(("seed", "orbit"), [[90, 200, 120]]), gap=3.0 * STEP,
        instants=(("seed", "orbit", "time"), STEP * np.broadcast_to(np.arange(200.0), (1, 3, 200))),
    )  # fmt: skip
    assert [len(times) for _, times in pooled(counts, "train", 0)] == [200, 120]


def test_a_state_has_its_neighbors_in_all_recordings():
    line = np.random.default_rng(0).standard_normal((40, 2))
    leads = np.arange(1, 6)
    np.testing.assert_allclose(prediction_error([line] * 10, leads=leads, window=5), 0, atol=1e-9)
    pieces = [line[:30], line, line[:35]] * 9
    np.testing.assert_allclose(prediction_error(pieces, leads=leads, window=5), 0, atol=1e-9)


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
    np.testing.assert_allclose(prediction_error([line], leads=np.arange(1, 51), window=5), 0, atol=1e-9)
    noise = np.random.default_rng(0).standard_normal((2000, 2))
    np.testing.assert_allclose(
        prediction_error([noise], leads=np.arange(1, 6), window=5), (1 + 1 / 8) ** 0.5, rtol=0.03
    )


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
