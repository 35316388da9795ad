"""The rules of the workflow as a picture: what is made of what.

Snakemake writes the graph of a study's rules in the language of Graphviz. Here it is drawn without Graphviz: a rule
stands below all that it reads, in the layer after the last of them; within a layer rules are ordered by the mean place
of their neighbors above (the barycenter heuristic). Edges that a longer path implies are left out.

References:
    | Methods for visual understanding of hierarchical system structures (Sugiyama, Tagawa and Toda, IEEE Transactions
      on Systems, Man, and Cybernetics 1981)
"""

import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib import pyplot as plt

Graph = Mapping[str, frozenset[str]]  # of each rule, those that it reads the outputs of
WIDTH, HEIGHT = 1.45, 0.62  # of the place of a rule, in inches
BOX = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "0.3", "linewidth": 0.8}


def graph(dot: str) -> Graph:
    """Read the graph that ``snakemake --rulegraph`` writes.

    Arguments:
        dot: Its text; what stands around the graph is ignored.

    Raises:
        ValueError: If there is no rule in it.
    """
    labels = dict(re.findall(r'(\d+)\[label = "(\w+)', dot))
    if not labels:
        raise ValueError("there is no rule in the graph; it is what `snakemake --rulegraph` writes")
    read: dict[str, set[str]] = {name: set() for name in labels.values()}
    for source, target in re.findall(r"(\d+) -> (\d+)", dot):
        read[labels[target]].add(labels[source])
    return {name: frozenset(sources) for name, sources in read.items()}


def reduced(rules: Graph) -> Graph:
    """Leave out the edges that a longer path implies."""
    above = {name: _ancestors(name, rules) for name in rules}
    return {name: read - {a for source in read for a in above[source]} for name, read in rules.items()}


def _ancestors(name: str, rules: Graph) -> set[str]:
    return set(rules[name]).union(*(_ancestors(source, rules) for source in rules[name]))


def layers(rules: Graph) -> Sequence[Sequence[str]]:
    """Put each rule below all that it reads, and order the rules of a layer by what is above them."""
    depth: dict[str, int] = {}

    def placed(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max(map(placed, rules[name]), default=-1)
        return depth[name]

    found: list[list[str]] = [[] for _ in range(1 + max(map(placed, rules)))]
    for name in sorted(rules):
        found[depth[name]].append(name)
    place = {name: i - (len(found[0]) - 1) / 2 for i, name in enumerate(found[0])}
    for layer in found[1:]:
        layer.sort(key=lambda name: sum(place[source] for source in rules[name]) / max(len(rules[name]), 1))
        place |= {name: i - (len(layer) - 1) / 2 for i, name in enumerate(layer)}
    return found


def draw(dot: str) -> plt.Figure:
    """Draw the graph that ``snakemake --rulegraph`` writes, from what reads nothing down to what is asked for."""
    rules = reduced(graph(dot))
    rows = layers(rules)
    width = max(map(len, rows)) * WIDTH
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rulegraph"}):
        figure = plt.figure(figsize=(width, len(rows) * HEIGHT))
    ax = figure.add_axes((0, 0, 1, 1))
    at = {name: ((i - (len(row) - 1) / 2) * WIDTH, -y * HEIGHT) for y, row in enumerate(rows) for i, name in enumerate(row)}
    for name, read in rules.items():
        for source in sorted(read):
            ax.annotate(
                "", at[name], at[source], arrowprops={"arrowstyle": "-|>", "color": "0.6", "shrinkA": 9, "shrinkB": 9}
            )
    for name, place in at.items():
        ax.text(*place, name.replace("_", " "), ha="center", va="center", fontsize=9, bbox=BOX)
    ax.set(xlim=(-width / 2, width / 2), ylim=(HEIGHT / 2 - len(rows) * HEIGHT, HEIGHT / 2))
    ax.axis("off")
    return figure
