"""Sphinx: the pages of this directory, in Markdown, as `make docs` builds them."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import bagpipe

project = "bagpipe"
author = "the bagpipe authors"
version = release = bagpipe.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["performance/*", "reflectors/*.conf"]
html_theme = "furo"
html_title = "bagpipe"
myst_heading_anchors = 3
# Blocks are commands, configuration and what programs say: nothing is coloured by guess.
highlight_language = "text"

_DOCS = Path(__file__).parent


class FilesOfTheRepository(SphinxTransform):
    """A link to a file of the repository that is no page becomes that file's name: pages may be read without it."""

    default_priority = 1

    def apply(self) -> None:
        """Called once for each page."""
        here = _DOCS / self.env.docname
        for node in list(self.document.findall(nodes.Element)):
            target = node.get("refuri") or node.get("reftarget") or ""
            if not target or "://" in target or target.startswith("#"):
                continue
            path = (here.parent / target.partition("#")[0]).resolve()
            page = path.with_name(path.name.removesuffix(".md") + ".md")  # MyST has taken the suffix off already
            if (path.exists() or page.exists()) and not (page.exists() and page.is_relative_to(_DOCS)):
                node.replace_self(nodes.inline("", "", *node.children))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_transform(FilesOfTheRepository)
    return {"parallel_read_safe": True}
