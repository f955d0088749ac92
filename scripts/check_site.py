"""What is wrong with a folder of static pages: dead internal links, and anything that another host would be asked for.

A link to another host is fine, as it is followed by a reader; a script, a style, a font, an image or a frame of another
host is not, as a page asks for it by itself.
"""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script", "img", "iframe", "source", "video", "audio", "embed", "object", "track", "input", "image", "use"}
HARMLESS_RELS = {"canonical", "next", "prev", "search", "index", "author", "license", "alternate", "edit"}
FOREIGN = re.compile(r"(?:https?:|wss?:)?//", re.IGNORECASE)
CSS_LOADS = re.compile(r"""(?:url\(\s*|@import\s+)["']?\s*([^"')\s;]+)""", re.IGNORECASE)


class Page(HTMLParser):
    """The names that a page has, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = {"", "top"}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        self.names |= {found[key] for key in ("id", "name") if key in found}
        loading = tag in LOADS or (tag == "link" and not set(found.get("rel", "").split()) & HARMLESS_RELS)
        for key in ("href", "src", "data", "poster", "xlink:href"):
            if key in found and not (key == "data" and tag != "object"):
                (self.loads if loading else self.links).append(found[key])
        self.loads += [part.split()[0] for part in found.get("srcset", "").split(",") if part.strip()]
        self.loads += CSS_LOADS.findall(found.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.loads += CSS_LOADS.findall(data)


def problems(folder: Path) -> list[str]:
    """Sentences; none for a folder whose pages are whole and ask nobody else for anything."""
    folder = folder.resolve()

    @cache
    def page(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    found = []
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        found += [f"{name} asks another host: {target}" for target in page(path).loads if FOREIGN.match(target)]
        for target in dict.fromkeys(page(path).links + page(path).loads):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not goal.is_file() or folder not in goal.parents:
                found.append(f"{name}: a dead link: {target}")
            elif goal.suffix == ".html" and unquote(parts.fragment) not in page(goal).names:
                found.append(f"{name}: a dead link, {parts.path or 'the page'} has no #{parts.fragment}")
    for path in sorted(folder.rglob("*.css")):
        loads = CSS_LOADS.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.name} asks another host: {target}" for target in loads if FOREIGN.match(target)]
    return found
