"""Docstrings as HTML: what a method is, in the words and with the formulas of its source."""

import importlib
import inspect
import re
import textwrap
from functools import partial
from io import StringIO
from typing import Any

from docutils import nodes
from docutils.core import publish_parts
from docutils.writers import html5_polyglot

from nearorbit.report.mathml import mathml

SECTIONS = re.compile(r"^(References|Arguments|Attributes|Returns|Raises):\n", re.MULTILINE)
ROLES = re.compile(r":(?:mod|class|func|data|meth|attr):`~?([^`]*)`")  # of Sphinx, which docutils does not know
SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,  # what is wrong in a docstring is shown as it stands there
    "halt_level": 5,
    "smart_quotes": False,
    "embed_stylesheet": False,
    "doctitle_xform": False,
    "initial_header_level": 4,
}


def opening(entry: Any) -> str:
    """Give the first paragraph of the docstring of an entry, or of a module, as plain text, without symbols."""
    entry = entry.func if isinstance(entry, partial) else entry
    return " ".join(re.sub(r":math:`[^`]*`", "", (inspect.getdoc(entry) or "").split("\n\n")[0]).split()).replace(
        " :", ":"
    )


def described(entry: Any) -> dict[str, str]:
    """Describe an entry of a catalogue by its docstring.

    Arguments:
        entry: The factory: a class or a function.

    Returns:
        HTML by section: what stands first is in ``""``, the others are ``"References"``, ``"Arguments"``...; a section
        that is not there has no key.
    """
    entry = entry.func if isinstance(entry, partial) else entry
    opening, *sections = SECTIONS.split(inspect.getdoc(entry) or "")
    named = dict(zip(sections[::2], map(textwrap.dedent, sections[1::2]), strict=True))
    return {name: html(text) for name, text in {"": opening, **named}.items() if text.strip()}


def arguments(entry: Any) -> dict[str, str]:
    """Describe the settings of an entry, each as HTML, from the section ``Arguments`` of its docstring."""
    entry = entry.func if isinstance(entry, partial) else entry
    *_, text = re.split(r"^Arguments:\n", inspect.getdoc(entry) or "", maxsplit=1, flags=re.MULTILINE)
    told = re.split(r"^(\w+): ", textwrap.dedent(SECTIONS.split(text)[0]), flags=re.MULTILINE)
    return {name: html(" ".join(text.split())) for name, text in zip(told[1::2], told[2::2], strict=True)}


def module(name: str) -> str:
    """Describe a module by its docstring, without the references, as HTML."""
    return html(SECTIONS.split(inspect.getdoc(importlib.import_module(name)) or "")[0])


def sentences(name: str, *phrases: str) -> list[str]:
    """Find the sentences of the docstring of a module that hold one of these phrases."""
    text = " ".join((inspect.getdoc(importlib.import_module(name)) or "").split())
    return [one for one in re.split(r"(?<=[.]) (?=[*A-Z])", text) if any(phrase in one for phrase in phrases)]


def linked(html: str) -> str:
    """Link the numbers of preprints and the DOIs in HTML that names papers."""
    html = re.sub(r"\barXiv:?\s+(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>', html)
    return re.sub(r"\bdoi:?\s*(10\.\d{4,}/[\w./()-]*\w)", r'<a href="https://doi.org/\1">doi \1</a>', html)


def html(text: str) -> str:
    """Translate reStructuredText into HTML, its formulas into MathML."""
    source = ROLES.sub(r"``\1``", text)
    return publish_parts(source, writer=_Writer(), settings_overrides={**SETTINGS, "warning_stream": StringIO()})[
        "body"
    ]


class _Translator(html5_polyglot.HTMLTranslator):
    """Leaves formulas to :mod:`nearorbit.report.mathml`; one that it refuses is shown as LaTeX."""

    def visit_math(self, node: nodes.Element) -> None:
        self._formula(node, block=False)

    def visit_math_block(self, node: nodes.Element) -> None:
        self._formula(node, block=True)

    def _formula(self, node: nodes.Element, *, block: bool) -> None:
        try:
            formula = mathml(node.astext(), block=block)
        except ValueError:
            formula = f"<code>{self.encode(node.astext())}</code>"
        self.body.append(f'<div class="formula">{formula}</div>' if block else formula)
        raise nodes.SkipNode


class _Writer(html5_polyglot.Writer):
    def __init__(self) -> None:
        super().__init__()
        self.translator_class = _Translator
