"""Random numbers are named after what they are for."""

import numpy as np

from nearorbit.study.seeds import generator, seed_for


def test_a_seed_is_the_same_on_every_machine():
    assert seed_for("orbits", "Lorenz", 0) == 4449162172636143470


def test_seeds_of_different_purposes_differ():
    purposes = [
        ("orbits", "Lorenz", 0),
        ("orbits", "Lorenz", 1),
        ("orbits", "Rossler", 0),
        ("noise", "Lorenz", 0),
        ("0",),
        (0,),
    ]
    assert len({seed_for(*purpose) for purpose in purposes}) == len(purposes)


def test_a_purpose_is_not_the_concatenation_of_its_words():
    assert seed_for("ab", "c") != seed_for("a", "bc")


def test_two_generators_of_one_purpose_draw_the_same_numbers():
    first, second = (generator("noise", "Lorenz", 3).standard_normal(8) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, generator("noise", "Lorenz", 4).standard_normal(8))


def test_drawing_leaves_the_global_state_alone():
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    generator("noise", "Lorenz", 0).standard_normal(8)
    assert np.random.random() == expected
