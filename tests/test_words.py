"""One word for one thing: the glossary has each once, and files use it."""

import json
import re

from test_repository import ROOT, read, tracked_files

# Not images: what a file on disk or a training caption has been called since it was made.
KEPT = (*(f'"{name}"' for name in ("emoji picture", "pictures.npy", "pictures.done", "pictures")),)


def texts():
    """{name: what people read or write in it}, of a notebook its sources."""
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        if name.endswith(".ipynb"):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            yield name, "\n".join("".join(cell["source"]) for cell in cells)
        elif path.suffix in (".py", ".md", ".toml", ".yml", ".cff") and name not in (
            "CHANGELOG.md",
            "tests/test_words.py",
        ):
            yield name, path.read_text(encoding="utf-8")


def glossary():
    return re.findall(r"(?m)^\| \*\*(.*?)\*\* \|", read("docs/glossary.md"))


def test_the_glossary_has_each_term_once_in_order():
    terms = [term for line in glossary() for term in line.split(", ")]
    assert len(terms) > 30 and len(set(terms)) == len(terms)
    assert glossary() == sorted(glossary(), key=str.lower)


def test_the_readme_leads_to_the_glossary():
    assert "(docs/glossary.md)" in read("README.md")


def test_an_image_is_called_an_image_and_numbers_are_per_class():
    wrong = []
    for name, text in texts():
        for kept in KEPT:
            text = text.replace(kept, "")
        wrong += [f"{name}: {found}" for found in re.findall(r"(?i)\w*picture\w*", text)]
        wrong += [
            f"{name}: {found}"
            for found in re.findall(r"(?:images|examples|drawings|shots|once|one) a class\b(?! of)", text)
        ]
    assert wrong == []
