"""What each stage sees of a study.

A job depends on its slice and on nothing else of the study, so that a change of one line runs again only what reads it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nearorbit.study.catalogue import TRUTH
from nearorbit.study.places import CELL
from nearorbit.study.sampling import RECORDED, SEEN


def _label_and_system(s: Any, system: str) -> dict[str, Any]:
    return {"label": system, "system": s.systems[system]}


def _without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


def _seen(s: Any, system: str, data: str) -> dict[str, Any]:
    """How the orbits of a system are observed; a twin has components of its own, of which as many are seen."""
    seen = {name: value for name, value in s.data[data].items() if name in (*SEEN, "shared")}
    return seen | ({"components": len(seen["components"])} if system in s.twins and "components" in seen else {})


def _first(s: Any) -> dict[str, str]:
    """The labels of the first cell of a study."""
    return {"system": next(iter(s.systems)), "data": next(iter(s.data)), "method": next(iter(s.methods))}


GROWTH = {  # around which sizes, and along which, the cost of a step is measured; the same whatever the study
    "methods": {"baseline": {}, "homotopy": {}, "jacobian": {}, "neighborhood": {}},
    "reference": {"dimension": 5, "neighbors": 25, "segment": 5, "width": 64, "seeds": 3, "batch": 64, "depth": 3},
    "axes": {
        "dimension": [5, 10, 20, 40],
        "neighbors": [1, 5, 25, 100],
        "segment": [1, 5, 20, 80],
        "batch": [16, 64, 256, 2048],
        "width": [16, 64, 256],
        "seeds": [1, 3, 10, 30],
    },
    "rounds": 7,
}
LANDSCAPE = {  # of the error around trained weights; the same whatever the study
    "couplings": [10, 1, 0.1],
    "segments": [5, 25, 50, 100, 200],
    "rollouts": 16,
    "reach": 0.3,
    "points": 21,
}
ROUNDS = 3  # of smoothing through networks that are trained: the levels of noise settle in two
SURROGATES = 99  # of a series: a test at the level of 1 %
ALONG = 64  # states along orbits, for each of the points at which Jacobians are compared
# stage: the labels it runs for, and what it sees of a study for these labels
SLICES: dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Any]]]] = {
    "exponents": (
        CELL[:1],
        lambda s, system: _label_and_system(s, system) | _without(s.evaluation["exponents"], "accuracy"),
    ),
    "measure": (CELL[:1], _label_and_system),
    "covariant_vectors": (
        CELL[:1],
        lambda s, system: _label_and_system(s, system) | {"states": ALONG * s.evaluation["points"]},
    ),
    "orbits": (
        CELL[:2],
        lambda s, system, data: {
            **_label_and_system(s, system),
            "seeds": s.seeds,
            "data": _without(s.data[data], "noise", *SEEN, *RECORDED),
            "window": s.evaluation["window"],
            "beyond": s.evaluation.get("beyond"),
        },
    ),
    "twin": (
        CELL[:2],
        lambda s, system, data: {
            **_label_and_system(s, system),
            "window": s.evaluation["window"],
            "beyond": s.evaluation.get("beyond"),
        },
    ),
    "cut": (
        CELL[:2],
        lambda s, system, data: {
            **_label_and_system(s, system),
            "seeds": s.seeds,
            "data": {name: value for name, value in s.data[data].items() if name in (*RECORDED, "gap")},
        },
    ),
    "truth": (
        CELL[:2],
        lambda s, system, data: {**_label_and_system(s, system), "evaluation": s.evaluation},
    ),
    "partial_truth": (
        CELL[:2],
        lambda s, system, data: {
            **_label_and_system(s, system),
            "evaluation": _without(s.evaluation, "exponents"),
        },
    ),
    "hold_out": (CELL[:2], lambda s, system, data: {"evaluation": _without(s.evaluation, "exponents")}),
    "observe": (
        CELL[:2],
        lambda s, system, data: {
            "label": system,
            "noise": s.data[data]["noise"],
            "data": _seen(s, system, data),
        },
    ),
    "neighbors": (
        (*CELL[:2], "neighbors"),
        lambda s, system, data, neighbors: {"ahead": s.ahead(neighbors), "selection": s.neighbors[neighbors]},
    ),
    "supervise": (CELL[:2], lambda s, system, data: _label_and_system(s, system)),
    "propagate": (CELL[:2], lambda s, system, data: _label_and_system(s, system)),
    "estimators": (CELL[:2], lambda s, system, data: {"theiler": next(iter(s.neighbors.values()))["theiler"]}),
    "structure": (
        CELL[:2],
        lambda s, system, data: {
            "label": system,
            "theiler": next(iter(s.neighbors.values()))["theiler"],
            "surrogates": SURROGATES,
        },
    ),
    "train": (
        CELL,
        lambda s, system, data, method: {
            "label": method,
            "system": s.systems[system],  # for networks that build upon its equations
            "method": s.methods[method],
            "network": s.network(method),
            "training": s.training,
        },
    ),
    "forecast": (
        CELL,
        lambda s, system, data, method: {
            "evaluation": {"exponents": s.evaluation["exponents"]},  # the rest has shaped the truth
        },
    ),
    "unseen": (
        CELL,
        lambda s, system, data, method: {
            "evaluation": {name: s.evaluation[name] for name in ("starts", "longest")}
            | {"exponents": {"transient": s.evaluation["exponents"]["transient"]}}
        },
    ),
    "score": (
        CELL[:1],
        lambda s, system: {
            "cells": [
                {"system": system, "data": data, "noise": spec["noise"], "method": method}
                for data, spec in s.data.items()
                for method in s.judged
                if method != TRUTH or (system, data) not in s.fieldless
            ]
        },
    ),
    "growth": ((), lambda s: GROWTH | {"device": s.training["device"]}),
    "landscape": (
        (),
        lambda s: LANDSCAPE | {"cell": _first(s), "training": s.training},
    ),
    "smooth": ((), lambda s: {"training": s.training, "rounds": ROUNDS}),
    "estimate": ((), lambda s: {"content": s.content}),
    "collect_truth": ((), lambda s: {"study": s.axes}),
    "collect": ((), lambda s: {"study": s.axes}),
    "tables": ((), lambda s: {"tables": s.tables, "study": s.axes}),
    "figures": ((), lambda s: {"figures": s.figures, "study": s.drawn}),
    "rulegraph": ((), lambda s: {}),
    **dict.fromkeys(("report", "partial", "record"), ((), lambda s: {"content": s.content})),
    "join": ((), lambda s: {}),
    **dict.fromkeys(("models", "redraw"), ((), lambda s: {"content": s.content})),
}


def runs(study: Any, stage: str, *labels: str) -> bool:
    """Tell whether a stage runs for some labels: several take a true field, and others stand in for these without."""
    measured, fieldless = labels[:1] and labels[0] in study.measured, labels[:2] in study.fieldless
    twin = bool(labels) and labels[0] in study.twins
    simulates = {"exponents": not measured, "orbits": not measured and not twin, "twin": twin}
    simulates["covariant_vectors"] = any((*labels[:1], data) not in study.fieldless for data in study.data)
    records = dict.fromkeys(("measure", "cut", "hold_out"), measured)
    knows = dict.fromkeys(("truth", "supervise", "propagate"), not fieldless)
    only = simulates | records | knows | {"partial_truth": fieldless and not measured}
    return bool(only.get(stage, True))
