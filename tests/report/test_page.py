"""The page of a study: whole, the same each time, and in a real browser."""

import copy
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
import synthetic
import yaml
from chromium import PROGRAM, Chromium
from repository import REPOSITORY

from nearorbit.evaluation.scores import Results
from nearorbit.report import records, shown
from nearorbit.report.figures import base as drawing
from nearorbit.report.page import page
from nearorbit.report.tables import base as tabulation
from nearorbit.report.tables.base import Table, save
from nearorbit.study.catalogue import build, names
from nearorbit.study.study import Study, parse

CONFIG = yaml.safe_load((REPOSITORY / "tests/example.yaml").read_text())
PAPERS = {"https://arxiv.org/", "https://doi.org/"}  # where links may lead to
HOSTILE = "<script>document.title='caught'</script><img src=x onerror=alert(1)>\"'`${1}`{{ 7 * 7 }}"
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed, in which pages are looked at")


def asked(**sections: object) -> Study:
    """The default study with the axes of the synthetic one, and other sections in the place of its own."""
    config = copy.deepcopy(CONFIG)
    del config["methods"]["homotopy"], config["systems"]["Rossler"]
    config["figures"] = {name: {} for name in ("jacobian_error", "overview")}
    primary = {"table": "signed_rank", "method": "neighborhood", "data": "noisy"}
    config["tables"] = {
        "primary": primary,
        **{name: {} for name in ("overview", "comparison", "costs", "jacobian_error")},
    }
    return parse(config | sections)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a study with its tables, figures and page."""
    study, folder = asked(), tmp_path_factory.mktemp("page")
    results = Results.of(synthetic.study().folder, study.drawn)
    tabulation.save_all(results, folder / "tables", study.tables)
    drawing.save_all(results, folder / "figures", study.figures)
    (folder / "study.yaml").write_text("# What is asked? More.\n#\n# Declared: much.\n\nstudy: quick # no\n")
    (folder / "report.html").write_text(page(study, results, folder, asked=[folder / "study.yaml"]))
    return folder


def text(html: str) -> str:
    """What a reader sees of it, or could."""
    return " ".join(unescape(re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)).split())


@pytest.mark.parametrize("name", names("tables"))
def test_a_table_is_read_back_as_it_was_written(name, tmp_path):
    table = build("tables", name, {}).table(synthetic.study())
    save(table, *(tmp_path / f"{name}.{kind}" for kind in ("csv", "md", "tex")))
    read = shown.tables(tmp_path, [name])[name]
    assert read.caption == table.caption and set(read.files) == {"CSV", "LaTeX"}
    cells = table.cells.reset_index()
    assert read.head == tuple(map(str, cells.columns))
    assert [["".join(cell.pieces) for cell in row] for row in read.rows] == cells.astype(str).to_numpy().tolist()
    best = [[cell.best for cell in row[-table.best.shape[1] :]] for row in read.rows]
    assert best == table.best.to_numpy().tolist()


def test_the_page_says_what_was_asked_found_given_and_paid(made):
    shown = text((made / "report.html").read_text())
    for words in (
        "What is asked?", "Declared: much.", "Declared: primary neighborhood on noisy against",
        "given: true J", "12.5 s for 3 seeds", "All trainings together took",
        "learning_rate 0.005 The peak of the rate.",
        "Network: mlp (width: 64, depth: 3, activation: silu).", "@software{nearorbit", "seeds failed",
        "horizon 25 The length of a forecast in validation. In samples.", "A member has collapsed if", "has diverged :",
        "what a constant field would make", "12 cells of methods, 3 seeds each, and 4 of the truth", "12 were trained",
    ):  # fmt: skip
        assert words in shown, f"{words}\n{shown[:3000]}"
    told = r"Jacobian error: ratio [\d.]+ \([\d.]+ to [\d.∞]+\), better on 2 of 2 systems: not decided"
    assert re.search(told, shown), shown[:3000]
    assert "decide nothing: it takes 6" in shown
    assert re.search(r"\bsegment 5 \b", shown) and shown.count("steps 400") == 1, "methods have steps of their own"


def test_the_question_of_the_study_is_the_title(made):
    html = (made / "report.html").read_text()
    assert "<title>quick: What is asked?</title>" in html and "<h1>What is asked?</h1>" in html
    assert '<p class="asked">More.</p>' in html


def test_the_same_results_make_the_same_page(made):
    results = Results.of(synthetic.study().folder, asked().drawn)
    again = page(asked(), results, made, asked=[made / "study.yaml"])
    assert again == (made / "report.html").read_text()


def many(folder: Path, better: int) -> str:
    """What the page shows where a method has half the error of the baseline on so many of seven systems."""
    systems = [f"s{number}" for number in range(7)]
    study = asked(systems={label: {"system": "Lorenz"} for label in systems}, data={"noisy": CONFIG["data"]["noisy"]})
    rows = [
        {"system": system, "data": "noisy", "noise": 0.05, "method": method, "seed": seed, "metric": "jacobian_error",
         "unit": "1", "value": factor * (1 + number), "stderr": 0.1, "status": "ok", "converged": 1.0}
        for number, system in enumerate(systems) for seed in range(2)
        for method, factor in {"baseline": 1, "neighborhood": 0.5 if number < better else 3}.items()
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    costs = {"data": "noisy", "noise": 0.05, "method": ["baseline", "neighborhood"] * 7, "given": "data", "seeds": 2}
    costs = pd.DataFrame({"system": sorted(systems * 2), "seconds": 10.0, "device": "a processor", **costs})
    costs.to_csv(folder / "costs.csv", index=False)
    return text(page(study, Results.of(folder, study.drawn), folder))


def test_a_finding_names_its_reference_and_is_probable_where_the_test_does_not_agree(tmp_path):
    sure = many(tmp_path, 7)
    assert "neighborhood beats baseline on 7 of 7 systems, p = 0.016; exploratory" in sure, sure[:3000]
    assert "the corrected test agrees" in sure and "Take" not in sure
    likely = many(tmp_path, 6)
    assert "Probably neighborhood (p = 0.28), better than baseline on 6 of 7 systems; exploratory" in likely
    assert "the corrected test does not agree" in likely and "beats baseline" not in likely


def test_links_of_the_page_resolve_and_nothing_is_fetched(made):
    html = (made / "report.html").read_text()
    anchors, places = re.findall(r'href="#([^"]*)"', html), re.findall(r'\bid="([^"]*)"', html)
    assert set(anchors) <= set(places) and len(places) == len(set(places)) and anchors
    others = {link[:32] for link in re.findall(r'(?:href|src)="([^"]*)"', html) if link[:1] != "#"}
    assert all(link.startswith(("data:", *PAPERS)) for link in others), others
    assert all(link.startswith("data:") for link in re.findall(r'\bsrc="([^"]*)"', html)), "links alone lead elsewhere"
    assert set(re.findall(r"https?://[^/]*/", html)) <= PAPERS


def test_what_is_not_there_is_told(tmp_path):
    study = asked()
    results = Results.of(synthetic.odd_study("nothing").folder, study.drawn)
    shown = text(page(study, results, tmp_path, note="Partial: 0 of 16 cells."))
    for words in (
        "Partial: 0 of 16 cells.", "16 of 16 cells have no scores", "5 of 5 tables are not there",
        "Nothing was run yet", "2 of 2 figures are not there", "one side has not been run",
        "What do baseline, jacobian, neighborhood learn",
    ):  # fmt: skip
        assert words in shown, f"{words}\n{shown}"


@pytest.mark.parametrize("name", ["one", "all collapsed", "all diverged", "regular", "truth alone"])
def test_there_is_a_page_of_whatever_there_is(name, tmp_path):
    odd, study = synthetic.odd_study(name), asked()
    tabulation.save_all(odd, tmp_path / "tables", {name: {} for name in ("overview", "jacobian_error")})
    assert "Findings" in text(page(study, Results.of(odd.folder, study.drawn, odd.gathered), tmp_path))


def test_measured_data_are_led_by_the_verdict(tmp_path):
    line = {"system": "measured", "file": "workflow/series/lorenz.csv", "time": "t", "components": ["x", "y", "z"]}
    data = {"clean": {"noise": 0.0, "held_out": 0.2}, "noisy": {"noise": 0.0, "held_out": 0.2}}
    methods = {"baseline": {}, "neighborhood": {}}
    study = asked(systems={"Lorenz": line}, data=data, methods=methods, tables={"verdict": {}}, figures={})
    results = Results.of(synthetic.study().folder, study.drawn)
    tabulation.save_all(results, tmp_path / "tables", study.tables)
    shown = text(page(study, results, tmp_path))
    findings = shown[shown.index("Findings", shown.index("Figures")) :]
    assert re.match(r"Findings Lorenz, clean .* Take neighborhood ; the verdict: ", findings), findings[:500]
    assert (
        "Forecasts of held-out observations are valid for" in findings
        and "Leading exponent" in findings
        and "Costs 12.5 s" in findings
    )


def hostile(folder: Path) -> Path:
    """A page in which what comes from a study would run, if it were not escaped."""
    study = asked(figures={"overview": {}}, tables={"costs": {}})
    cells = pd.DataFrame({HOSTILE: ["**", HOSTILE]}, pd.Index(["a", "b"], name=f"{HOSTILE}!"))
    (folder / "tables").mkdir(parents=True)
    (folder / "figures").mkdir()
    files = [folder / f"tables/costs.{kind}" for kind in ("csv", "md", "tex")]
    save(Table("costs", HOSTILE, cells, cells, cells.map(lambda _: False)), *files)
    figure, _ = drawing.panels(1, 1, height=1)
    drawing.save(figure, folder / "figures/overview.png")
    (folder / "figures/overview.txt").write_text(HOSTILE)
    (folder / "study.yaml").write_text(f"# {HOSTILE}\nstudy: x\n")
    results = Results.of(synthetic.study().folder, study.drawn)
    html = page(study, results, folder, asked=[folder / "study.yaml"], note=HOSTILE)
    (folder / "report.html").write_text(html)
    return folder / "report.html"


def test_what_comes_from_a_study_is_text(tmp_path):
    html = hostile(tmp_path).read_text()
    assert html.count("<script") == 1 and "<img src=x" not in html and "{{ 7 * 7 }}" in html


def test_a_record_has_a_page_that_says_what_made_it_and_what_was_asked(made, tmp_path):
    study = asked()
    results = Results.of(synthetic.study().folder, study.drawn)
    records.keep(results, tmp_path / "record", study.content, asked=[made / "study.yaml"])
    kept = Results.of(tmp_path / "record", study.drawn)
    shown = text(page(study, kept, tmp_path, asked=[tmp_path / "record/study.yaml"]))
    assert (
        "What is asked?" in shown and "The record was made on this machine" in shown and "trained is not kept" in shown
    )
    assert parse(yaml.safe_load((tmp_path / "record/study.yaml").read_text())).systems == study.systems
    made_of = json.loads((tmp_path / "record/made.json").read_text())
    others = [{**made_of, "machine": {"processor": "another one"}}]
    (tmp_path / "record/made.json").write_text(json.dumps(made_of | {"others": others}))
    assert "another one" in text(page(study, kept, tmp_path, asked=[tmp_path / "record/study.yaml"]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


@needs_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_a_browser_shows_the_page_without_complaint_or_network(made, browser, width):
    browser.logged.clear()
    browser.asked.clear()
    browser.open(made / "report.html", width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    browser.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "the unfolded page scrolls sideways"
    hidden = "[...document.querySelectorAll('table, img, math')].filter(part => !part.getClientRects().length).length"
    assert browser.evaluate(hidden) == 0
    images = "[...document.images].map(image => [image.naturalWidth > 0, image.clientWidth <= innerWidth])"
    assert browser.evaluate(images) == [[True, True]] * 2
    assert browser.logged == []
    assert [address for address in browser.asked if not address.startswith(("file:", "data:"))] == []


@needs_browser
def test_the_cards_of_findings_show_all_columns_and_on_a_phone_the_first_one_stays(made, browser):
    browser.open(made / "report.html", width=1400)
    parts = "[...document.querySelectorAll('#findings .card .scroll')]"
    assert browser.evaluate(f"{parts}.length") > 1
    assert browser.evaluate(f"{parts}.filter(part => part.scrollWidth > part.clientWidth).length") == 0
    browser.open(made / "report.html", width=390)
    moved = "(part => { part.scrollLeft = 99; const left = part.querySelector('tbody th').getBoundingClientRect().left;"
    moved += " return [part.scrollLeft > 0, Math.round(left - part.getBoundingClientRect().left)]; })"
    assert browser.evaluate(f"{moved}({parts}[0])") == [True, 0]


@needs_browser
def test_the_findings_are_on_the_first_screen(made, browser):
    browser.open(made / "report.html")
    below = (
        "[...document.querySelectorAll('#findings .take')].filter(e => e.getBoundingClientRect().bottom > innerHeight)"
    )
    assert browser.evaluate("document.querySelectorAll('#findings .take').length") > 1
    assert browser.evaluate(f"{below}.length") == 0


@needs_browser
def test_a_click_on_a_head_sorts_by_the_numbers_in_its_column(made, browser):
    browser.open(made / "report.html")
    table = "document.querySelector('#table-jacobian_error table')"
    column = f"[...{table}.tBodies[0].rows].map(row => parseFloat(row.cells[3].textContent))"
    click = f"{table}.querySelectorAll('thead button')[3].click()"
    before = browser.evaluate(column)
    assert before != sorted(before) and len(before) == 4
    for expected in (sorted(before), sorted(before, reverse=True), before):
        browser.evaluate(click)
        assert browser.evaluate(column) == expected
    assert browser.evaluate("document.querySelectorAll('[aria-sort]').length") == 0


@needs_browser
def test_a_figure_opens_in_full_and_can_be_kept(made, browser):
    browser.open(made / "report.html", width=390)
    browser.evaluate("document.querySelector('#figures button').click()")
    shown = "(dialog => [dialog.open, dialog.querySelector('img').clientWidth])(document.querySelector('dialog'))"
    natural = browser.evaluate("document.querySelector('#figures img').naturalWidth")
    assert browser.evaluate(shown) == [True, natural]
    browser.evaluate("document.querySelector('dialog img').click()")
    assert browser.evaluate("document.querySelector('dialog').open") is False
    assert browser.evaluate("document.querySelector('#figures a').href.startsWith('data:image/png')")


@needs_browser
def test_nothing_that_comes_from_a_study_runs(tmp_path, browser):
    browser.logged.clear()
    browser.open(hostile(tmp_path))
    assert browser.evaluate("document.title").startswith("quick: <script>") and browser.logged == []
