"""Formulas as MathML, which browsers show without a script: pages need no network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

SPELT = {  # what docutils spells otherwise
    r"\\(big|Big|bigg|Bigg)(?![A-Za-z])": r"\\\1l",
    r"\\dots(?![A-Za-z])": r"\\ldots",
    # An accent with an index, which would come to stand below it.
    r"(\\(?:hat|bar|tilde|dot|ddot)\s*(?:\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]))(?=[_^])": r"{{}\1}",
}
log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


def _inline(writer, node) -> None:
    writer.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _block(writer, node) -> None:
    writer.body.append(f'<div class="formula">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node, *, as_block: bool) -> str:
    text = node.astext().strip()
    for written, known in SPELT.items():
        text = re.sub(written, known, text)
    if "&" in text and r"\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    try:
        return tex2mathml(text, as_block=as_block)
    except MathError as error:
        log.warning(f"formula {node.astext()!r}: {error}", location=node)
        return ""
