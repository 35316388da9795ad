"""The page of a study: one HTML file that needs nothing beside it and no network.

It begins with what was asked and what was found (:mod:`nearorbit.report.findings`), then says how: methods, data,
budget, origin; all tables and figures of the study follow. Whatever comes from a study is escaped. What may run on the
page is its own script, by its digest, and nothing may be fetched: the page says so to the browser.

Template, style and script lie beside this file under its name. It is one module since all in it fills that template.
"""

import hashlib
import inspect
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.statistics import FEWEST, fewest
from nearorbit.evaluation.verdicts import WORDS
from nearorbit.report import definitions, documentation, effects, findings, origins, shown, words
from nearorbit.report.references import DECLARED, reference, whence
from nearorbit.report.tables.base import given, number, with_error
from nearorbit.study import files
from nearorbit.study.catalogue import entries
from nearorbit.study.study import Study

HERE = Path(__file__)
VERDICT = "verdict"  # the table that findings without a truth are of
SMOOTHED = "nearorbit.training.mending"  # the module that says what `smoothings` does
COMMON = {  # settings that methods share, of which their own documentation says nothing
    "segment": "the length of the segments, in samples; that of the study if the method has none of its own",
    "last_segment": "the length of the segments in the last 15 % of the steps, if it is another",
    "join": "how the gradients of the two losses are joined: by their sum, or by config, so that both fall",
    "smoothings": "how many times orbits are smoothed through the network while it learns",
    "draw_errors": "whether segments then start at states by a flow whose errors are drawn",
}
FORMULA = 'class="formula"'


def page(study: Study, results: Results, folder: Path, *, asked: Sequence[Path] = (), note: str = "") -> str:
    """Make the page of a study.

    Arguments:
        study: The study.
        results: Its results.
        folder: Where its ``tables/`` and ``figures/`` lie.
        asked: The files of the study, of which the first comment says what is asked.
        note: What stands above all, e.g. that the study has not ended.

    Returns:
        The page. The same results give the same page.
    """
    style, script = (HERE.with_suffix(kind).read_text() for kind in (".css", ".js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "words": _words}
    asks, *more = origins.question(asked) or [_question(study)]
    question, context = _opening(asks)
    verdicts = list(_verdicts(study, results, folder / "tables"))
    origin, known = origins.origin(results)
    references = {label: reference(study, label) for label in study.data}
    networks = {label: _network(study, label) for label in study.methods}
    tables, figures = shown.tables(folder / "tables", study.tables), shown.figures(folder / "figures", study.figures)
    return environment.from_string(HERE.with_suffix(".html").read_text()).render(
        study=study,
        note=note,
        question=question,
        asked=[context, *more],
        found=findings.found(results, study.data, references, networks),
        references=references,
        whence={label: whence(study, label) for label in study.data},
        meanings=_meanings(results),
        verdicts=verdicts,
        unknown=bool(verdicts) and findings.headlines(results.table("scores.csv"))[:1] != [findings.METRICS[0]],
        declared=list(_declared(study, results)),
        given=given(results),
        enough=FEWEST,
        tests=fewest,
        methods=list(_methods(study, results)),
        truths=list(_systems(study, results)),
        observed={label: words.observed(line, results.remarks.get(label, "")) for label, line in study.data.items()},
        costs=_costs(results),
        keys=definitions.keys(study),
        defined=list(definitions.measures(results)),
        failures=definitions.failures(),
        segments={label: line["segment"] for label, line in study.methods.items() if line.get("segment")},
        origin=origin,
        known=known,
        trained=origins.trained(results),
        citation=origins.citation(),
        gaps=list(_gaps(study, results, {"table": tables, "figure": figures})),
        tables=tables,
        figures=figures,
        style=Markup(style),
        script=Markup(script),
        digest=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _question(study: Study) -> str:
    """Say what is asked by a study that does not say so itself."""
    systems, data, methods = (", ".join(getattr(study, axis)) for axis in ("systems", "data", "methods"))
    return f"What do {methods} learn of the dynamics of {systems} from {data} data?"


def _opening(paragraph: str) -> tuple[str, str]:
    """Part what a study asks from what follows: its first sentence, which ends with a question mark if there is one."""
    end = re.match(r".*?[?](?= |$)", paragraph) or re.match(r".*?[.](?= [A-Z]|$)", paragraph)
    return (end[0], paragraph[end.end() :].strip()) if end else (paragraph, "")


def _meanings(results: Results) -> dict[str, str]:
    """Say what the headline metrics are, in the first sentence of each."""
    metrics = map(effects.entry, findings.headlines(results.table("scores.csv")))
    return {metric.label: documentation.opening(inspect.getmodule(metric.compute)) for metric in metrics}


def _lines(study: Study, table: str) -> Iterator[str]:
    """List the labels of the tables of a study that are of an entry."""
    return (label for label, line in study.tables.items() if line.get("table", label) == table)


def _declared(study: Study, results: Results) -> Iterator[dict[str, Any]]:
    """Tell the comparisons that the study declares, and what came of each."""
    for label in _lines(study, DECLARED):
        comparison = study.entry("tables", label)
        (method, data), (reference, reference_data) = comparison.sides(results)
        yield {
            "label": label,
            "method": method,
            "reference": reference,
            "data": data,
            "reference_data": reference_data,
            "without": list(comparison.without),
            "effects": findings.declared(results, comparison),
            "valued": findings.declared(results, comparison, valued=True),
        }


def _verdicts(study: Study, results: Results, folder: Path) -> Iterator[dict[str, Any]]:
    """Tell what the data say without a truth: the best method of each system and data, where there is such a table."""
    for path in (path for label in _lines(study, VERDICT) if (path := folder / f"{label}.csv").exists()):
        records = files.table(path)
        first, costs = records[records["index"].isna() | (records["index"] == 1)], results.table("costs.csv")
        for (system, data), rows in first.groupby(["system", "data"], sort=False):
            series, methods = (rows[rows["kind"] == kind] for kind in ("series", "method"))
            sound = methods[methods["failed"] == 0].sort_values("rank", kind="stable")
            paid = costs[(costs["system"] == system) & (costs["data"] == data)]
            yield {
                "system": system,
                "data": data,
                "series": series.iloc[0].to_dict() if len(series) else None,
                "word": WORDS.get(str(series["verdict"].iloc[0])) if len(series) else None,
                "best": sound.iloc[0].to_dict() if len(sound) else None,
                "others": list(sound["method"].iloc[1:]),
                "failed": list(methods.loc[methods["failed"] > 0, "method"]),
                "words": words.observed(study.data[str(data)], results.remarks.get(str(data), "")),
                "cost": words.cost(paid, sound["method"].iloc[0], reference(study)) if len(sound) else "",
            }


def _methods(study: Study, results: Results) -> Iterator[dict[str, Any]]:
    """Describe the methods: what they are given, their settings, and what their source says of them."""
    known, told = given(results), {}
    for label, line in study.methods.items():
        entry = entries("methods")[line["method"]]
        if line["method"] not in told:
            told[line["method"]] = documentation.described(entry), documentation.arguments(entry)
        described, meanings = told[line["method"]]
        values = {"segment": study.training["segment"], **line}
        same = next((other for other, its in study.methods.items() if its["method"] == line["method"]), label)
        opening, ends, rest = described.get("", "").partition("</div>" if FORMULA in described.get("", "") else "</p>")
        parameters = inspect.signature(entry).parameters.values()
        yield {
            "label": label,
            "entry": line["method"],
            "given": known.get(label, "not known, it was not trained"),
            "network": _network(study, label),
            "same": same if same != label else "",
            "chosen": {name: value for name, value in line.items() if name != "method"},
            "opening": Markup(opening + ends),  # as far as the first formula
            "described": Markup(rest),
            "references": Markup(documentation.linked(described.get("References", ""))),
            "smoothing": Markup(documentation.module(SMOOTHED)) if line.get("smoothings") else "",
            "settings": [
                {"name": p.name, "value": values.get(p.name, p.default), "set": p.name in line,
                 "means": Markup((COMMON | meanings).get(p.name, ""))}
                for p in parameters
            ],
        }  # fmt: skip


def _network(study: Study, method: str) -> str:
    """Say which network a method trains, and its settings."""
    label = study.networks_of[method]
    told = {name: value for name, value in study.network(method).items() if (name, value) != ("network", label)}
    return f"{label} ({_words(told)})" if told else label


def _systems(study: Study, results: Results) -> Iterator[dict[str, Any]]:
    """List the systems with their parameters, and the truth of each as far as it is known."""
    truth = results.table("truth.csv")
    for label, line in study.systems.items():
        rows = truth[truth["system"] == label]
        known = rows.iloc[0].to_dict() if len(rows) else dict.fromkeys(truth.columns)
        told = [with_error(*pair, digits=1) for pair in zip(rows["exponent"], rows["stderr"], strict=True)]
        exponents = ", ".join(told if len(told) <= 4 else [*told[:2], "…", told[-1]])
        settings = {name: value for name, value in line.items() if name != "system"}
        yield {"label": label, "entry": line["system"], "settings": settings, "truth": known, "exponents": exponents}


def _costs(results: Results) -> dict[str, Any]:
    """Sum up what all trainings took, on what, and how many cells there are of each kind."""
    costs, scores = results.table("costs.csv"), results.table("scores.csv")
    cells, trained, scored = ({tuple(row) for row in table[["system", "data", "method"]].drop_duplicates().to_numpy()}
                              for table in (pd.DataFrame(results.cells()), costs, scores))  # fmt: skip
    methods = {cell for cell in cells if cell[2] in results.methods}
    return {
        "hours": costs["seconds"].sum() / 3600 if costs["seconds"].notna().any() else None,
        "methods": len(methods),
        "truths": len(cells - methods),
        "trained": len(methods & trained),
        "scored": len(methods & scored),
        "unscored": len(methods & trained - scored),
        "devices": costs["device"].dropna().astype(str).value_counts().to_dict(),
    }


def _gaps(study: Study, results: Results, parts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Say what is missing, and what failed: how much, and where."""
    scores, cells = results.table("scores.csv"), pd.DataFrame(results.cells())[["system", "data", "method"]]
    marked = cells.merge(scores[list(cells)].drop_duplicates(), how="left", indicator=True)
    if len(missing := marked[marked["_merge"] == "left_only"]):
        of = missing.groupby(["data", "method"], sort=False).size()
        places = [f"{method} on {data}: {count} of {len(study.systems)}" for (data, method), count in of.items()]
        yield f"{len(missing)} of {len(cells)} cells have no scores.", "; ".join(places)
    for kind, part in parts.items():
        if gone := [label for label, one in part.items() if one is None]:
            yield f"{len(gone)} of {len(part)} {kind}s are not there.", ", ".join(gone)
    seeds = scores[scores["method"].isin(results.methods)].drop_duplicates([*cells, "seed"])
    failed = seeds[seeds["status"] != "ok"].groupby(["data", "method"], sort=False)["status"].value_counts()
    if len(failed):
        places = [f"{method} on {data}: {count} {word}" for (data, method, word), count in failed.items()]
        yield (
            f"{failed.sum()} of {len(seeds)} seeds failed: each counts as worse than any that did not.",
            "; ".join(places),
        )


def _words(value: Any) -> str:
    """Write a setting as a study file has it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
