"""Formulas are MathML that browsers set, and what is not known is refused."""

import inspect
import re
from xml.etree import ElementTree

import pytest

from nearorbit.report import documentation, page
from nearorbit.report.mathml import mathml
from nearorbit.study.catalogue import entries

METHODS = entries("methods")


def inner(latex: str) -> str:
    """The formula without the elements that every one has, and without attributes."""
    body = re.fullmatch(r"<math display=\"inline\"><mrow>(.*)</mrow></math>", mathml(latex))[1]
    return re.sub(r"<(\w+) [^>]*?(/?)>", r"<\1\2>", body)


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("x_i^2", "<msubsup><mi>x</mi><mrow><mi>i</mi></mrow><mrow><mn>2</mn></mrow></msubsup>"),
        ("x^2_i", "<msubsup><mi>x</mi><mrow><mi>i</mi></mrow><mrow><mn>2</mn></mrow></msubsup>"),
        (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        (r"\frac{a}{b} 12.5", "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac><mn>12.5</mn>"),
        (r"\hat x_i", "<msub><mover><mi>x</mi><mo>^</mo></mover><mrow><mi>i</mi></mrow></msub>"),
        (r"\sum_k", "<munder><mo>∑</mo><mrow><mi>k</mi></mrow></munder>"),
        (r"\int_0^1", "<msubsup><mo>∫</mo><mrow><mn>0</mn></mrow><mrow><mn>1</mn></mrow></msubsup>"),
        (r"|x| < \|y\|", "<mo>|</mo><mi>x</mi><mo>|</mo><mo>&lt;</mo><mo>‖</mo><mi>y</mi><mo>‖</mo>"),
        (r"L_\text{a b}", "<msub><mi>L</mi><mrow><mtext>a b</mtext></mrow></msub>"),
        (
            r"\mathrm{diag}\, \mathcal{N}_\mathbb{Z}",
            "<mi>diag</mi><mspace/><msub><mi>𝒩</mi><mrow><mi>ℤ</mi></mrow></msub>",
        ),
        (
            r"a &= 1 \\ b &\ge 2",
            "<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mo>=</mo><mn>1</mn></mtd></mtr>"
            "<mtr><mtd><mi>b</mi></mtd><mtd><mo>≥</mo><mn>2</mn></mtd></mtr></mtable>",
        ),
        (r"\left( x \right]", "<mrow><mo>(</mo><mi>x</mi><mo>]</mo></mrow>"),
    ],
)
def test_a_formula_becomes_the_elements_that_it_means(latex, expected):
    assert inner(latex) == expected


def test_lines_are_rows():
    rows = ElementTree.fromstring(mathml("a = b \\\\\n c = d", block=True)).findall(".//mtr")
    assert ["".join(row.itertext()) for row in rows] == ["a=b", "c=d"]


@pytest.mark.parametrize("latex", [r"\foo", "{x", "x}", "x_", r"\frac{1}", r"\big x", r"\left( x", "^2"])
def test_what_is_not_known_or_not_whole_is_refused(latex):
    with pytest.raises(ValueError, match=re.escape(latex)):
        mathml(latex)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_says_of_itself_is_set_whole(method):
    described = "".join(documentation.described(METHODS[method]).values())
    assert '<div class="formula"><math' in described or "math::" not in inspect.getdoc(METHODS[method])
    text = re.sub("<[^>]*>", "", described)
    assert not re.search(r"\\\w|:math:|:mod:|system-message|`", text), text


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_is_told(method):
    told = documentation.arguments(METHODS[method]).keys() | page.COMMON.keys()
    assert set(inspect.signature(METHODS[method]).parameters) <= told


def test_what_runs_when_it_is_shown_is_shown_as_it_stands():
    shown = documentation.html("<script>alert(1)</script> :math:`a < b \\foo <b>` \n\n.. raw:: html\n\n   <b>x</b>")
    assert "<script" not in shown and "<b>" not in shown


def test_preprints_and_dois_are_links():
    told = documentation.linked("(Ko et al., arXiv\n2210.01407, 2023), doi:10.1000/182.")
    assert '<a href="https://arxiv.org/abs/2210.01407">arXiv 2210.01407</a>' in told
    assert told.endswith('<a href="https://doi.org/10.1000/182">doi 10.1000/182</a>.')
