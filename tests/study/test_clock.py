"""When samples were taken: drawn for each seed, and read again from what was observed."""

import numpy as np
import pytest
from lorenz63 import observations

from nearorbit.study.clock import Clock
from nearorbit.study.sampling import bridged, held_out, in_a_row, instants

DATA = {"orbits": 3, "samples": 200}


def uneven(**irregular):
    return Clock.of(observations(count=2, samples=150, **irregular))


def runs_of(clock, member):
    """The runs of one seed, as lists of positions, the slow way."""
    found = []
    for orbit in range(clock.shape[1]):
        times, positions = clock.times[member, orbit], orbit * clock.shape[2] + np.arange(clock.counts[member, orbit])
        run = [positions[0]]
        for k in range(1, len(positions)):
            if times[k] - times[k - 1] > clock.gaps[member] + 1e-6:
                found.append(run)
                run = []
            run.append(positions[k])
        found.append(run)
    return found


@pytest.mark.parametrize("irregular", [{"missing": 0.4}, {"missing": 0.2, "jitter": 1.0, "gap": 2.5}])
@pytest.mark.parametrize(("behind", "ahead", "apart"), [(0, 4, 1), (2, 5, 1), (0, 3, 3)])
def test_segments_begin_where_they_also_end_before_a_gap(irregular, behind, ahead, apart):
    clock = uneven(**irregular)
    table, counts = clock.starts(behind, ahead, apart=apart)
    for member in range(2):
        expected = [
            start
            for run in runs_of(clock, member)
            for place, start in enumerate(run)
            if place >= behind and len(run) - 1 - place >= ahead and place % apart == 0
        ]
        assert len(expected) > 5
        np.testing.assert_array_equal(table[member], [*expected, *[-1] * (table.shape[1] - len(expected))])
        assert counts[member] == len(expected)


def test_equal_intervals_are_those_that_are_given_one_by_one():
    even = Clock((2, 3, 20))
    given = Clock((2, 3, 20), np.tile(np.arange(20.0), (2, 3, 1)), np.full((2, 3), 20), np.array([3.0, 3.0]))
    for arguments in ((0, 4), (3, 7)):
        for ours, theirs in zip(even.starts(*arguments, apart=2), given.starts(*arguments, apart=2), strict=True):
            np.testing.assert_array_equal(np.broadcast_to(ours, theirs.shape), theirs)
    np.testing.assert_array_equal(even.next(), given.next())
    assert even.longest() == given.longest() == 20
    assert (np.diff(even.line(5)[0].reshape(3, 20)[:, 0]) > 24).all()


@pytest.mark.parametrize("irregular", [{"missing": 0.3}, {"jitter": 1.0}, {"missing": 0.3, "jitter": 0.5}])
def test_times_of_a_seed_are_within_what_is_asked_and_the_first_is_where_the_orbit_begins(irregular):
    for times, shape in zip(instants("Lorenz", 1, DATA | irregular), ((3, 200), held_out(DATA)), strict=True):
        assert times.shape == shape and (times[:, 0] == 0).all()
        late = abs(times - np.arange(shape[1]))
        assert np.nanmax(late) <= irregular.get("jitter", 0.0) / 2
        assert np.isnan(times).mean() == pytest.approx(irregular.get("missing", 0.0), abs=0.05)
        kept = [orbit[~np.isnan(orbit)] for orbit in times]
        assert all((np.diff(orbit) >= 0).all() for orbit in kept)


def test_which_samples_are_missing_is_the_same_with_jitter_and_more_are_missing_than_are_with_less():
    some, moved, more = (
        instants("Lorenz", 0, DATA | irregular)[0]
        for irregular in ({"missing": 0.2}, {"missing": 0.2, "jitter": 0.5}, {"missing": 0.4})
    )
    np.testing.assert_array_equal(np.isnan(some), np.isnan(moved))
    assert np.isnan(more)[np.isnan(some)].all()
    shared = {"missing": 0.2, "shared": True}
    np.testing.assert_array_equal(*(instants("Lorenz", seed, DATA | shared)[0] for seed in (0, 1)))


def test_what_a_study_is_told_of_samples_in_a_row_is_what_there_will_be():
    irregular = {"missing": 0.3, "jitter": 0.5}
    observed = observations(count=2, samples=150, **irregular)
    lines = {"orbits": 2, "samples": 150} | irregular
    # Validation orbits are as the tests have them, not as a study has.
    assert in_a_row(lines, ["Lorenz"], 2)[0] == Clock.of(observed).longest()
    assert in_a_row({"orbits": 2, "samples": 150}, ["Lorenz"], 2) == (150, 60)


def test_the_longest_bridge_is_the_gap_or_what_jitter_can_make():
    assert bridged({"missing": 0.1}) == 3 and bridged({"missing": 0.1, "gap": 5.0}) == 5
    assert bridged({"jitter": 0.5}) == 1.5
    clock = uneven(missing=0.3, jitter=0.5)
    assert 2.9 < clock.next().max() <= 3
