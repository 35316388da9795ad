from functools import cache, partial

import numpy as np
import pytest
import xarray as xr
from lorenz63 import observations

from nearorbit.data.neighbors import nearest, neighbors, spread
from nearorbit.data.search import TREE_DIMENSION, search
from nearorbit.data.smoothing import smoothed
from nearorbit.study import files
from nearorbit.study.clock import Clock
from nearorbit.study.selection import Selection


def brute_force(states, *, count, window, ahead, behind=0, inner=0.0, outer=np.inf):
    orbits, samples, dimension = states.shape
    points = np.roll(states.reshape(-1, dimension), behind, axis=0)
    time, orbit = np.tile(np.arange(samples), orbits), np.repeat(np.arange(orbits), samples)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    near = (orbit[:, None] == orbit) & (abs(time[:, None] - time) <= window)
    void = (time >= samples - ahead) | (time < behind)
    distance[near | void | void[:, None] | (distance < inner) | (distance > outer)] = np.inf
    index = np.argsort(distance, axis=1)[:, :count]
    distance = np.take_along_axis(distance, index, 1)
    index[void], distance[void] = -1, np.nan
    return index, distance


def greedy(displacements, count):
    """The positions of displacements (N, D) chosen one by one, as slowly as it is defined."""
    chosen = [0]
    while len(chosen) < count:
        largest = {
            j: max(abs(d @ e) / np.linalg.norm(d) / np.linalg.norm(e) for e in displacements[chosen])
            for j, d in enumerate(displacements)
            if j not in chosen
        }
        chosen.append(min(largest, key=largest.get))
    return chosen


def walk(orbits, samples, dimension):
    """A random walk: its nearest points are nearly all within the Theiler window, so many rows are asked again."""
    return np.random.default_rng(0).standard_normal((orbits, samples, dimension)).cumsum(1)


@cache
def lorenz(noise=0.0):
    return observations(noise=noise, seeds=2, count=2, samples=200)


def standardized(observed):
    states = (observed["train"] - observed["mean"]) / observed["scale"]
    return states.transpose(*observed["train"].dims).to_numpy()


def matches(table, expected, seed):
    np.testing.assert_array_equal(table["index"][seed], expected[0])
    np.testing.assert_allclose(table["distance"][seed], expected[1], rtol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"inner": 3.0}, {"behind": 4}], ids=str)
@pytest.mark.parametrize("dimension", [3, TREE_DIMENSION + 5])
@pytest.mark.parametrize(("orbits", "samples", "window"), [(1, 300, 0), (1, 300, 60), (6, 50, 10)])
def test_the_search_is_exact(dimension, orbits, samples, window, settings):
    states = walk(orbits, samples, dimension)
    found = nearest(states, count=7, window=window, ahead=5, **settings)
    expected = brute_force(states, count=7, window=window, ahead=5, **settings)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)


@pytest.mark.parametrize("dimension", [TREE_DIMENSION, TREE_DIMENSION + 1])
def test_both_searches_find_the_nearest_points_of_any_query_from_near_to_far(dimension):
    generator = np.random.default_rng(0)
    points, queries = generator.standard_normal((200, dimension)), generator.standard_normal((30, dimension))
    distances, indices = search(points)(queries, 9)
    expected = np.linalg.norm(queries[:, None] - points, axis=-1)
    np.testing.assert_array_equal(indices, expected.argsort(1)[:, :9])
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :9], rtol=1e-12)


def test_neighbors_are_measured_in_standardized_coordinates_and_the_window_in_periods():
    observed = lorenz()
    table = neighbors(observed, count=4, theiler=1.0, ahead=3)
    assert table.attrs["window"] == 25
    matches(table, brute_force(standardized(observed)[1], count=4, window=25, ahead=3), seed=1)


def test_neighbors_in_a_shell_are_the_nearest_at_its_distances():
    observed = lorenz()
    table = neighbors(observed, count=4, selection="shell", inner=0.3, outer=1.5, ahead=3)
    matches(table, brute_force(standardized(observed)[1], count=4, window=13, ahead=3, inner=0.3, outer=1.5), seed=1)
    assert 0.3 <= table["distance"].min() < 0.301


def test_a_shell_without_bounds_and_a_spread_over_no_more_candidates_are_the_nearest():
    observed = lorenz()
    table, shell, all_of_them = (
        neighbors(observed, count=6, **settings)
        for settings in ({}, {"selection": "shell"}, {"selection": "spread", "candidates": 1})
    )
    np.testing.assert_array_equal(shell["index"], table["index"])
    np.testing.assert_array_equal(np.sort(all_of_them["index"]), np.sort(table["index"]))


@pytest.mark.parametrize("settings", [{}, {"inner": 0.8}, {"outer": 1.6}, {"behind": 2}], ids=str)
def test_spread_neighbors_are_chosen_one_by_one_among_the_nearest(settings):
    observed = lorenz()
    table = neighbors(observed, count=5, candidates=3, selection="spread", ahead=3, **settings)
    states = standardized(observed)[1]
    index, distance = brute_force(states, count=15, window=13, ahead=3, **settings)
    compared = np.roll(states.reshape(-1, 3), settings.get("behind", 0), axis=0)
    assert np.isinf(distance).any() == ("outer" in settings)  # some have less to choose from
    chosen = np.zeros((len(index), 5), int)
    for row in np.flatnonzero(index[:, 0] >= 0):
        present = index[row][distance[row] < np.inf]
        chosen[row] = greedy(compared[present] - compared[row], 5)
    matches(table, [np.take_along_axis(of, chosen, 1) for of in (index, distance)], seed=1)


def test_spread_neighbors_cover_the_directions_better_than_the_nearest():
    observed = lorenz()
    states = standardized(observed)[0].reshape(-1, 3)

    def weakest(selection):
        """The share of the squared displacements, of length one, that lies in the direction they cover least."""
        index = neighbors(observed, count=10, selection=selection)["index"][0].to_numpy()
        rows = np.flatnonzero(index[:, 0] >= 0)
        directions = states[index[rows]] - states[rows, None]
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.median(np.linalg.svd(directions, compute_uv=False)[:, -1] ** 2 / 10)

    near, apart = weakest("nearest"), weakest("spread")
    assert apart > 3 * near, f"{apart:.2g} of the spread ones, {near:.2g} of the nearest"


@pytest.mark.parametrize("settings", [{}, {"inner": 3.0}], ids=str)
@pytest.mark.parametrize(("orbits", "samples", "window"), [(1, 300, 8), (6, 50, 10)])
def test_of_every_pass_of_an_orbit_the_nearest_alone_is_a_neighbor(orbits, samples, window, settings):
    states = walk(orbits, samples, 3)
    index, distance = nearest(states, count=5, least=1, window=window, ahead=5, passes=True, **settings)
    every, far = brute_force(states, count=orbits * samples, window=window, ahead=5, **settings)
    for row in np.flatnonzero(every[:, 0] >= 0):
        chosen = []
        for j in every[row][np.isfinite(far[row])]:
            if all(j // samples != k // samples or abs(j - k) > window for k in chosen):
                chosen.append(j)
        np.testing.assert_array_equal(index[row][index[row] >= 0], chosen[:5])
    lengths = np.linalg.norm(states.reshape(-1, 3)[index] - states.reshape(-1, 1, 3), axis=-1)
    np.testing.assert_allclose(distance[index >= 0], lengths[index >= 0])


def test_neighbors_of_a_noisy_orbit_are_few_passes_and_each_another_one_if_asked():
    observed = lorenz(noise=0.05)
    every, once = (neighbors(observed, count=6, one_per_pass=one)["index"][0].to_numpy() for one in (False, True))

    def passes(index):
        index = np.sort(index[index[:, 0] >= 0], 1)
        return 1 + ((index[:, 1:] // 200 != index[:, :-1] // 200) | (np.diff(index) > 13)).sum(1)

    assert (passes(once) == 6).all() and passes(every).mean() < 5


def test_too_few_passes_are_refused():
    with pytest.raises(ValueError, match=r"needs 9 neighbors, each of another pass, outside .* of 40 samples and has"):
        nearest(walk(1, 200, 3), count=9, window=40, ahead=5, passes=True)


def test_displacements_without_a_direction_are_chosen_last():
    displacements = np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 2.0], [np.nan, np.nan]]])
    np.testing.assert_array_equal(spread(displacements, 4), [[1, 3, 2, 0]])


def test_neighbors_behind_are_those_of_the_earlier_states_moved_on():
    observed = lorenz(noise=0.1)
    table = neighbors(observed, count=4, ahead=3, behind=5)
    earlier = neighbors(observed, count=4, ahead=8)
    index, distance = (table[name].to_numpy().reshape(2, 2, 200, 4) for name in ("index", "distance"))
    np.testing.assert_array_equal(index[:, :, 5:-3], earlier["index"].to_numpy().reshape(2, 2, 200, 4)[:, :, :-8] + 5)
    np.testing.assert_array_equal(distance[:, :, 5:-3], earlier["distance"].to_numpy().reshape(2, 2, 200, 4)[:, :, :-8])
    for void in (np.s_[:, :, :5], np.s_[:, :, -3:]):
        assert (index[void] == -1).all() and np.isnan(distance[void]).all()


def test_smoothed_neighbors_are_chosen_among_the_splines_and_truly_closer():
    observed, clean = lorenz(noise=0.1), lorenz()
    tables = [neighbors(observed, count=4, smoothed=choice) for choice in (False, True)]
    splines = smoothed(standardized(observed), refinement=1)
    matches(tables[1], brute_force(splines[1], count=4, window=13, ahead=5), seed=1)
    truth = standardized(clean)[1].reshape(-1, 3)
    noisy, smooth = (
        np.median(np.linalg.norm(truth[index] - truth[:, None], axis=-1)[index[:, 0] >= 0])
        for index in (table["index"][1].to_numpy() for table in tables)
    )
    assert smooth < 0.9 * noisy, f"{smooth:.3f} with splines, {noisy:.3f} without"


@pytest.mark.parametrize(
    "settings",
    [{}, {"selection": "shell", "outer": 2.0, "behind": 1}, {"selection": "spread", "smoothed": True}],
    ids=str,
)
def test_the_table_is_written_with_its_settings(tmp_path, settings):
    path = tmp_path / "neighbors.nc"
    files.write(neighbors(lorenz(), count=3, ahead=4, **settings), path, kind="neighbors")
    attributes = files.read(path, kind="neighbors").attrs
    expected = {"count": 3, "theiler": 0.5, "selection": "nearest", "inner": 0.0, "candidates": 4, "behind": 0}
    expected |= {"smoothed": False, "window": 13, "ahead": 4, **settings}
    assert attributes.items() >= expected.items() and ("outer" in attributes) == ("outer" in settings), attributes


@pytest.mark.parametrize(
    "settings",
    [{}, {"selection": "shell", "inner": 0.3, "behind": 5}, {"selection": "spread", "outer": 1.6, "smoothed": True}],
    ids=str,
)
def test_anchors_have_the_rows_that_they_have_among_all_states(settings):
    observed = lorenz(noise=0.1)
    table, some = (neighbors(observed, count=4, ahead=3, anchors=anchors, **settings) for anchors in (None, 60))
    anchor = some["anchor"].to_numpy()
    assert anchor.shape == (2, 60) and (np.diff(anchor) > 0).all() and (anchor[0] != anchor[1]).any()
    for name in ("index", "distance"):
        expected = np.take_along_axis(table[name].to_numpy(), anchor[..., None], 1)
        np.testing.assert_array_equal(some[name], expected)
    assert (some["index"] >= 0).any("neighbor").all(), "an anchor cannot begin a segment"
    alone = neighbors(observed.isel(seed=[1]), count=4, ahead=3, anchors=60, **settings)
    assert alone.drop_vars("fingerprint").equals(some.isel(seed=[1]).drop_vars("fingerprint"))


def test_as_many_anchors_as_states_are_all_of_them_and_more_are_refused():
    observed = lorenz()
    every = neighbors(observed, count=4, ahead=3, behind=2, anchors=2 * 195)
    assert set(every["anchor"][0].to_numpy() % 200) == set(range(2, 197))
    with pytest.raises(ValueError, match=r"391 anchors are more than the 390 states of seed 0 .*\(anchors\)"):
        neighbors(observed, count=4, ahead=3, behind=2, anchors=391)


@pytest.mark.parametrize("anchors", [None, 60])
def test_the_table_of_many_states_is_half_as_large(monkeypatch, anchors):
    table = neighbors(lorenz(), count=4, anchors=anchors)
    monkeypatch.setattr("nearorbit.data.search.MANY", 399)
    small = neighbors(lorenz(), count=4, anchors=anchors)
    assert (small["index"].dtype, small["distance"].dtype) == (np.int32, np.float32)
    xr.testing.assert_allclose(small, table, rtol=1e-7)


def test_a_window_that_starves_a_state_names_it_what_it_has_and_the_way_out():
    states = np.random.default_rng(0).standard_normal((1, 50, 3))
    message = r"state 0 of orbit 0 needs 10 neighbors .* window of 40 samples and has 4; .*\(count\).*\(theiler\)"
    with pytest.raises(ValueError, match=message):
        nearest(states, count=10, window=40, ahead=5)


@pytest.mark.parametrize("dimension", [1, TREE_DIMENSION + 1])
def test_a_shell_that_starves_a_state_names_it_what_it_has_and_the_way_out(dimension):
    # Points on a line, and in the second orbit one that is far from all others.
    states = np.zeros((2, 60, dimension))
    states[..., 0] = np.arange(120).reshape(2, 60)
    states[1, 50, 0] = 125.0
    find = partial(nearest, states, window=0, ahead=5, inner=9.5)
    with pytest.raises(ValueError, match=r"state 50 of orbit 1 .*from 9\.5 to 20\.5 and has 9; .*\(inner, outer\)"):
        find(count=10, outer=20.5)
    np.testing.assert_array_equal(find(count=9, outer=20.5)[0][110], np.r_[114:110:-1, 109:104:-1])


def test_orbits_too_short_for_any_segment_are_refused():
    with pytest.raises(ValueError, match="no state has 3 samples behind and 7 ahead of it in orbits of 10"):
        nearest(np.zeros((2, 10, 3)), count=1, window=0, ahead=7, behind=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selection": "shel"}, "no selection 'shel'; did you mean 'shell'"),
        ({"count": 0}, r"count \(0\)"),
        ({"anchors": 0}, r"anchors \(0\)"),
        ({"anchors": 0.5}, "anchors has to be an integer"),
        ({"candidates": 0}, r"candidates \(0\)"),
        ({"theiler": -0.1}, r"theiler \(-0.1\)"),
        ({"theiler": np.nan}, r"theiler \(nan\)"),
        ({"behind": -1}, r"behind \(-1\)"),
        ({"selection": "shell", "inner": -0.1}, r"inner \(-0.1\)"),
        ({"selection": "shell", "outer": -1.0}, r"outer \(-1.0\)"),
        ({"selection": "spread", "inner": 0.5, "outer": 0.5}, r"inner \(0.5\) .* less than outer \(0.5\)"),
        ({"draw": "bath"}, "draw is one of once, batch, not 'bath'; did you mean 'batch'"),
        ({"draw": "batch"}, "'batch' is from a ring: take selection 'shell' with both radii"),
        ({"draw": "batch", "selection": "shell", "inner": 0.6}, "with both radii, inner and outer"),
        ({"draw": "batch", "selection": "shell", "inner": 0.8, "outer": 0.6}, r"inner \(0.8\) .* less than outer"),
        ({"draw": "batch", "selection": "shell", "outer": 0.6, "one_per_pass": True}, "one_per_pass is of the nearest"),
        ({"selection": "shell", "candidates": 9}, "'shell' has no use for candidates"),
        ({"inner": 0.1}, r"'nearest' has no use for inner \(0.1\)"),
        ({"outer": 0.1}, r"'nearest' has no use for .* outer \(0.1\)"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Selection(**settings)


@pytest.mark.parametrize("draw", ["once", "batch"])
def test_at_uneven_times_windows_and_what_follows_are_counted_in_time(draw):
    observed = observations(count=2, samples=250, missing=0.3, jitter=0.5, gap=4.0)
    settings = {"selection": "shell", "inner": 0.0, "outer": 1.0, "candidates": 400, "draw": draw}
    settings = settings if draw == "batch" else {}
    table = neighbors(observed, count=1 if draw == "batch" else 6, theiler=0.4, ahead=4, **settings)
    clock, window = Clock.of(observed), table.attrs["window"]
    states = standardized(observed)
    for e in range(2):
        flat, starts = states[e].reshape(-1, 3), clock.starts(0, 4)[0][e]
        times, orbit = clock.times[e].ravel(), np.repeat([0, 1], 250)
        ahead = clock.ahead[e].ravel()
        left = times[np.arange(500) + ahead] - times
        for i in starts[starts >= 0][::17]:
            allowed = [
                j
                for j in starts[starts >= 0]
                if (orbit[i] != orbit[j] or abs(times[i] - times[j]) > window) and left[j] >= times[i + 4] - times[i]
            ]
            distance = np.linalg.norm(flat[allowed] - flat[i], axis=-1)
            found = table["index"].to_numpy()[e, i]
            if draw == "batch":
                assert set(found[found >= 0]) == {allowed[k] for k in np.flatnonzero(distance <= 1.0)}
            else:
                np.testing.assert_array_equal(found, np.array(allowed)[np.argsort(distance, kind="stable")[:6]])
