"""Formulas as MathML, which browsers show without a script: pages need no network."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from nearorbit.report.mathml import mathml

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


def _inline(writer, node) -> None:
    writer.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def _block(writer, node) -> None:
    writer.body.append(f'<div class="formula">{_mathml(node, block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node, *, block: bool) -> str:
    try:
        return mathml(node.astext().strip(), block=block)
    except ValueError as error:
        log.warning(f"formula: {error}", location=node)
        return ""
