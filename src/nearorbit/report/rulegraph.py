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

Graph = Mapping[str, frozenset[str]]  # of each rule, those that it reads the outputs of
WIDTH, HEIGHT = 144, 60  # of the place of a rule, in pixels
BOX = 130, 28


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


def drawn(dot: str) -> str:
    """Draw the graph that ``snakemake --rulegraph`` writes, from what reads nothing down to what is asked for.

    Arguments:
        dot: Its text.

    Returns:
        The picture, as SVG.
    """
    rules = reduced(graph(dot))
    rows = layers(rules)
    width, height = max(map(len, rows)) * WIDTH, len(rows) * HEIGHT
    at = {
        name: ((width - len(row) * WIDTH) / 2 + (i + 0.5) * WIDTH, (y + 0.5) * HEIGHT)
        for y, row in enumerate(rows)
        for i, name in enumerate(row)
    }
    edges = [(at[source], at[name]) for name, read in rules.items() for source in sorted(read)]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for (x, y), (to, below) in edges:
        y, below = y + BOX[1] / 2, below - BOX[1] / 2
        bend = (below - y) / 2
        path = f"M{x} {y} C{x} {y + bend} {to} {below - bend} {to} {below}"
        lines.append(f'<path d="{path}" fill="none" stroke="#999"/>')
    for name, (x, y) in at.items():
        corner = f'x="{x - BOX[0] / 2}" y="{y - BOX[1] / 2}" width="{BOX[0]}" height="{BOX[1]}"'
        lines.append(f'<rect {corner} rx="6" fill="white" stroke="#444"/>')
        lines.append(f'<text x="{x}" y="{y + 4.5}">{name}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
