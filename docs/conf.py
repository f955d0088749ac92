"""How Sphinx makes the site from the folder that scripts/build_site.py lays out; `make site` calls both.

Nothing is executed, and a page asks no other host for anything: formulas become MathML while the site is built, which
browsers draw themselves (so there is no MathJax), the theme brings its fonts and scripts along, and the search runs
in the page.
"""

import re
from html import escape

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.util import logging

import coop_edu

logger = logging.getLogger(__name__)

project = "coop_edu"
author = "the coop_edu authors"
release = coop_edu.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "index"

html_theme = "furo"
html_title = f"coop_edu {release}"
html_favicon = "favicon.svg"
html_static_path = ["site.css", "walkthrough.png"]
html_css_files = ["site.css"]
PREVIEW = "walkthrough.png"  # of a page that is sent to somebody
DESCRIPTION = (
    "Learn to prompt CLIP: write a sentence, learn its words from a few images, draw. All of it runs in the page."
)
DESCRIPTIONS = {  # of pages that say more of themselves
    "docs/five_minutes": "From a sentence to a learned prompt in five steps, which you try in the page: how CLIP "
    "classifies with sentences, and how CoOp learns their words from a few labelled images.",
}
html_show_sphinx = False
html_show_copyright = False  # LICENSE and CITATION.cff say it
html_copy_source = False
html_math_renderer = "mathml"

nb_execution_mode = "off"  # the stored outputs are shown
nb_ipywidgets_js = {}  # widgets would come from another host; no widget is stored
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # README's #without-make

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_display_short_literal_types = True
maximum_signature_line_length = 100
default_role = "code"
smartquotes = False  # a quotation mark in a docstring is often code


def mathml(node, latex, display):
    """The formula as MathML; a command that the converter does not know is a warning, and so an error."""
    found = convert(latex.replace(r"\arg\max", r"\operatorname{arg\,max}"), display=display)
    found = re.sub(r"(<mi>(?:log|exp|cos|max|min)</mi>)(?=<mi>)", r'\1<mspace width="0.167em" />', found)  # log p
    unknown = re.findall(r">(\\\w+)<", found)
    if unknown:
        logger.warning("latex2mathml does not know %s", ", ".join(unknown), location=node)
    return found


def visit_math(translator, node):
    translator.body.append(mathml(node, node.astext(), "inline"))
    raise SkipNode


def visit_math_block(translator, node):
    translator.body.append(f'<div class="math">{mathml(node, node.astext(), "block")}</div>')
    raise SkipNode


def as_rst(app, what, name, obj, options, lines):
    """A docstring of the library as reStructuredText: `code` is code, and indented lines stand as they are."""
    if what == "data":  # of its type, not its own
        lines.clear()
    text, code, example = [], False, False
    for line in lines:
        indented = line.startswith("    ")
        example = bool(line.strip()) and (example or line.startswith(">>>"))  # with what it prints
        if indented and not code and text and not text[-1].strip():
            text += ["::", ""]
            code = True
        elif line.strip() and not indented:
            code = False
        text.append(line if code or example else escaped(line))
    lines[:] = text


def escaped(line):
    """Stars, bars and low lines mean nothing in our docstrings, but for a star that begins a list."""
    parts = line.split("`")
    plain = [re.sub(r"(?<!^)([*|_])", r"\\\1", part) for part in parts[::2]]
    parts[::2] = plain
    return "``".join(parts) if len(parts) % 2 else line


def as_python(app, what, name, obj, options, signature, returns):
    """A dataclass's `<factory>` is no Python, and Sphinx would show the whole signature as it stands."""
    return signature and signature.replace("<factory>", "..."), returns


def add_card(app, page, template, context, doctree):
    """What a search engine, or a chat into which the address is put, shows of a page."""
    description = DESCRIPTIONS.get(page, DESCRIPTION)
    title = f"{re.sub('<[^>]*>', '', context.get('title') or '')} · {project}"
    known = {
        "og:title": title,
        "og:description": description,
        "og:type": "website",
        "twitter:card": "summary_large_image",
    }
    known["og:image"] = context["pathto"](f"_static/{PREVIEW}", resource=True)
    tags = [f'<meta property="{name}" content="{escape(value)}">' for name, value in known.items()]
    tags.append(f'<meta name="description" content="{escape(description)}">')
    context["metatags"] = "\n".join([context.get("metatags") or "", *tags])


def setup(app):
    app.connect("html-page-context", add_card)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-process-signature", as_python)
