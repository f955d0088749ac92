"""`make site`: the pages are whole, their links lead somewhere, and they ask no other host for anything."""

import json
import re
import shutil

import nbformat
import pytest

import coop_edu
from coop_edu import load_clip, plots

from small_site import MODULES, WHOLE, needs_the_extra
from test_repository import PROJECT, ROOT, read, rooms
from test_words import glossary


def on_the_site(test):
    """For a test of the pages, or of what makes them."""
    return needs_the_extra(pytest.mark.slow(test))


def page(site, name):
    return (site / f"{name}.html").read_text(encoding="utf-8")


def test_the_extra_is_what_the_test_looks_for(scripts):
    listed = {re.split("[><=]", entry)[0] for entry in PROJECT["project"]["optional-dependencies"]["site"]}
    assert listed == {name.replace("_", "-") for name in MODULES} and set(scripts.build.MODULES) == MODULES


@on_the_site
def test_readme_is_the_first_page_and_leads_to_the_rest(site):
    first = page(site, "index")
    assert "<title>" in first and read("README.md").splitlines()[0].removeprefix("# ") in first
    alts = re.findall(r"!\[([^\]]*)\]", read("README.md"))
    assert len(alts) == 2
    assert all(" ".join(alt.split()) in first for alt in alts)  # Sphinx would join its lines without a space
    for target in ("docs/glossary", "CONTRIBUTING", *(f"notebooks/{name}" for name, *_ in plots.NOTEBOOKS)):
        assert f'href="{target}.html"' in first and (site / f"{target}.html").is_file()


@on_the_site
@pytest.mark.parametrize("name", WHOLE)
def test_a_notebook_has_its_stored_outputs_and_formulas(site, name):
    assert not (site.parent / "executed").exists()
    nb = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    text = page(site, f"notebooks/{name}")
    outputs = [output for cell in nb.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert text.count("<img") == figures > 0
    assert not re.search(r'<img alt="[^"]*_images/', text)  # each says what it shows
    written = "".join(cell.source for cell in nb.cells)
    shown = "".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert text.count("<summary>") == (written + shown).count("<summary>")
    formulas = [cell.source.count("$") for cell in nb.cells if cell.cell_type == "markdown"]
    assert ("<math" in text) == any(formulas) and "merror" not in text
    folded = sum("jupyter" in cell.metadata for cell in nb.cells)
    assert text.count("tag_hide-input") == folded > 0  # the first cell, at least
    assert text.index("tag_hide-input") < text.index("choose_scale")
    (copy,) = re.findall(r'href="\.\./(_downloads/[^"]*\.ipynb)"', text)
    assert (site / copy).read_bytes() == (ROOT / "notebooks" / f"{name}.ipynb").read_bytes()


@on_the_site
def test_every_public_name_and_room_has_its_place(site):
    texts = {room: page(site, f"api/{room}") for room in {*rooms(), "scales"}}
    for module, names in coop_edu.PUBLIC.items():
        for name in names:
            assert f'id="coop_edu.{name}"' in texts[module.split(".")[0]]
    for name in plots.__all__:
        assert f'id="coop_edu.plots.{name}"' in texts["plots"]
    assert 'id="coop_edu.PromptLearner.logits"' in texts["coop"]
    assert '<span class="pre">for_images</span></code>)' in texts["coop"]  # a docstring's `code`
    assert not any("`" in re.sub("<[^>]*>", "", text) for text in texts.values())
    assert not any(part in text for text in texts.values() for part in ("factory&gt;", "~coop_edu", r"\_", r"\*"))


@on_the_site
@pytest.mark.parametrize("name", ["index", "notebooks/00_start_here"])
def test_a_page_has_an_icon_a_description_and_an_image(site, name):
    text = page(site, name)
    (icon,), (image,) = (
        re.findall(pattern, text)
        for pattern in (r'<link rel="(?:shortcut )?icon"[^>]* href="([^"]*)"', r'og:image" content="([^"]*)"')
    )
    assert all((site / name / ".." / each).resolve().is_file() for each in (icon, image))
    assert '<meta name="description"' in text and 'og:title" content="' in text


@on_the_site
def test_search_and_glossary(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "docs/glossary" in index and "temperatur" in index and "promptlearner" in index.lower()
    assert page(site, "docs/glossary").count("<strong>") >= len(glossary())


@on_the_site
def test_no_page_asks_another_host(site):
    """Looked for in the text, too, by other means than those of the check."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""\ssrc=["']?(?:https?:)?//""", text), path.name
        assert not re.search(r"<link[^>]*stylesheet[^>]*//", text), path.name
        assert not re.search(r"(?i)mathjax[.@/]|jsdelivr|cdnjs|unpkg|require\.min\.js|googleapis", text), path.name


@on_the_site
def test_a_page_that_is_gone_is_a_dead_link(site, scripts, tmp_path):
    shutil.copytree(site, tmp_path / "pages")
    assert scripts.check.problems(tmp_path / "pages") == []
    (tmp_path / "pages" / "docs" / "glossary.html").unlink()
    assert "index.html: a dead link: docs/glossary.html" in scripts.check.problems(tmp_path / "pages")


WRONG = {
    '<a href="b.html">': "a dead link: b.html",
    '<a href="#nowhere">': "has no #nowhere",
    '<a href="sub/c.html#nowhere">': "has no #nowhere",
    '<a href="../outside.html">': "a dead link: ../outside.html",
    '<img src="gone.png">': "a dead link: gone.png",
    '<script src="https://host/a.js"></script>': "asks another host: https://host/a.js",
    '<link rel="stylesheet" href="//host/a.css">': "asks another host: //host/a.css",
    '<link rel="preconnect" href="https://host">': "asks another host: https://host",
    '<img src="a.png" srcset="http://host/b.png 2x">': "asks another host: http://host/b.png",
    "<style>@import 'https://host/a.css';</style>": "asks another host: https://host/a.css",
    '<p style="background: url(https://host/a.png)">': "asks another host: https://host/a.png",
}


@pytest.mark.parametrize("html", WRONG)
def test_what_is_wrong_is_found(scripts, tmp_path, html):
    (tmp_path / "outside.html").write_text("here, but not in the site")
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").touch()
    (folder / "sub" / "c.html").write_text('<h2 id="here">')
    right = '<a href="sub/c.html#here"><a href="https://host/"><a href="a%2Epng"><a href="mailto:a@b"><a href="#">'
    (folder / "a.html").write_text(right)
    assert scripts.check.problems(folder) == []
    (folder / "a.html").write_text(right + html)
    (found,) = scripts.check.problems(folder)
    assert WRONG[html] in found


def test_a_style_sheet_is_read(scripts, tmp_path):
    (tmp_path / "a.css").write_text("@font-face { src: url('https://host/a.woff2') } p { background: url(b.png) }")
    assert scripts.check.problems(tmp_path) == ["a.css asks another host: https://host/a.woff2"]


@pytest.mark.parametrize(("status", "link", "fault"), [(1, "#", "Sphinx"), (0, "gone.html", "gone.html")])
def test_a_failed_build_leaves_the_site_as_it_was(scripts, tmp_path, monkeypatch, status, link, fault):
    def run_sphinx(sources, pages, doctrees):
        pages.mkdir()
        (pages / "index.html").write_text(f'<a href="{link}">')
        return status

    monkeypatch.setattr(scripts.build, "MODULES", ())
    monkeypatch.setattr(scripts.build, "RUNTIME", ROOT / "nowhere")
    monkeypatch.setattr(scripts.build, "run_sphinx", run_sphinx)
    (tmp_path / "index.html").write_text("old")
    (found,) = scripts.build.build(tmp_path, [])
    assert fault in found and (tmp_path / "index.html").read_text() == "old"


def test_without_the_extra_it_says_what_to_install(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts.build, "MODULES", ("json", "no_such_module"))
    (found,) = scripts.build.build(tmp_path / "site")
    assert found.startswith("no_such_module missing") and 'pip install -e ".[site]"' in found
    assert not (tmp_path / "site").exists()


def test_without_npm_the_rest_is_built(scripts, tmp_path, monkeypatch, capsys):
    def run_sphinx(sources, pages, doctrees):
        pages.mkdir()
        (pages / "index.html").write_text(
            "explorer" if "{raw} html" in (sources / "index.md").read_text() else "the rest"
        )
        return 0

    monkeypatch.setattr(scripts.build, "MODULES", ())
    monkeypatch.setattr(scripts.build, "RUNTIME", tmp_path / "nowhere")
    monkeypatch.setattr(scripts.build, "run_sphinx", run_sphinx)
    assert scripts.build.build(tmp_path / "site", []) == []
    assert 'id="explorer"' not in (tmp_path / "site" / "index.html").read_text()
    assert "get npm, and make site" in capsys.readouterr().err


@on_the_site
def test_weights_that_would_be_changed_are_refused(scripts):
    clip = load_clip("mini", device="cpu")
    clip.model.ln_final.weight.data += 1e-6
    with pytest.raises(ValueError, match="ln_w has values that half precision would change"):
        scripts.tower.text_tower(clip.model)


def test_what_comes_from_npm_is_fixed():
    package, lock = (json.loads(read(f"docs/explorer/{name}.json")) for name in ("package", "package-lock"))
    wanted = package["dependencies"] | package["devDependencies"]
    installed = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert all(entry["integrity"].startswith("sha512-") for entry in installed.values())
    assert "resolved" not in read("docs/explorer/package-lock.json")  # from whichever registry npm is told to use
    assert wanted == {name: installed[f"node_modules/{name}"]["version"] for name in wanted}
