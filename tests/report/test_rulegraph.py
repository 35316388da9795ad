"""The picture of the rules: every rule is in it, below what it reads."""

import pytest

from nearorbit import whole
from nearorbit.report import rulegraph

DOT = """building DAG of jobs
digraph snakemake_dag {
    node[shape=box];
    0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
    1[label = "train"];
    2[label = "observe\\nsystem: Lorenz"];
    3[label = "orbits"];
    4[label = "neighbors"];
    1 -> 0
    2 -> 1
    4 -> 1
    2 -> 4
    3 -> 2
    3 -> 1
}
"""


def test_a_rule_is_below_all_that_it_reads():
    rules = rulegraph.graph(DOT)
    assert rules["train"] == {"observe", "neighbors", "orbits"}
    rows = rulegraph.layers(rules)
    assert [*map(list, rows)] == [["orbits"], ["observe"], ["neighbors"], ["train"], ["all"]]


def test_edges_that_a_longer_path_implies_are_left_out():
    rules = rulegraph.reduced(rulegraph.graph(DOT))
    assert rules["train"] == {"neighbors"} and rules["neighbors"] == {"observe"} and rules["orbits"] == frozenset()


def test_every_rule_is_written_in_the_picture_the_same_each_time(tmp_path):
    (tmp_path / "graph.dot").write_text(DOT)
    for name in ("one.svg", "two.svg"):
        whole.rulegraph(tmp_path / "graph.dot", tmp_path / name)
    picture = (tmp_path / "one.svg").read_bytes()
    assert all(f">{rule}<" in picture.decode() for rule in rulegraph.graph(DOT))
    assert picture == (tmp_path / "two.svg").read_bytes()


def test_what_is_no_graph_of_rules_is_refused():
    with pytest.raises(ValueError, match="snakemake --rulegraph"):
        rulegraph.drawn("digraph {}")
