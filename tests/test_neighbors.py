import numpy as np
import pytest
from lorenz63 import observations

from nearorbit.neighbors import TREE_DIMENSION, nearest, neighbors


def brute_force(states, *, count, window, ahead):
    orbits, samples, dimension = states.shape
    points = states.reshape(-1, dimension)
    time, orbit = np.tile(np.arange(samples), orbits), np.repeat(np.arange(orbits), samples)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    near = (orbit[:, None] == orbit) & (abs(time[:, None] - time) <= window)
    last = time >= samples - ahead
    distance[near | last | last[:, None]] = np.inf
    index = np.argsort(distance, axis=1)[:, :count]
    distance = np.take_along_axis(distance, index, 1)
    index[last], distance[last] = -1, np.nan
    return index, distance


@pytest.mark.parametrize("dimension", [3, TREE_DIMENSION + 5])
@pytest.mark.parametrize(("orbits", "samples", "window"), [(1, 300, 0), (1, 300, 60), (6, 50, 10)])
def test_the_search_is_exact(dimension, orbits, samples, window):
    # A random walk: its nearest points are nearly all within the Theiler window, so that many rows are asked again.
    states = np.random.default_rng(0).standard_normal((orbits, samples, dimension)).cumsum(1)
    found = nearest(states, count=7, window=window, ahead=5)
    expected = brute_force(states, count=7, window=window, ahead=5)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)


def test_a_window_that_starves_a_state_names_it_and_the_way_out():
    states = np.random.default_rng(0).standard_normal((1, 50, 3))
    with pytest.raises(ValueError, match=r"state 0 of orbit 0 has fewer than 10 neighbors .*neighbors\.theiler"):
        nearest(states, count=10, window=40, ahead=5)


def test_neighbors_are_measured_in_standardized_coordinates_and_the_window_in_periods():
    observed = observations(seeds=2, count=2, samples=200)
    table = neighbors(observed, count=4, theiler=1.0, ahead=3)
    assert table.attrs["window"] == 25
    states = ((observed["train"] - observed["mean"]) / observed["scale"]).transpose(*observed["train"].dims).to_numpy()
    expected = brute_force(states[1], count=4, window=25, ahead=3)
    np.testing.assert_array_equal(table["index"][1], expected[0])
    np.testing.assert_allclose(table["distance"][1], expected[1], rtol=1e-10)
