"""The page "CoOp in five minutes": its parts, its figures with their sentences, and how it is read without a mouse."""

import re
from html import unescape
from types import SimpleNamespace

import pytest

from coop_edu.files import read_asset
from coop_edu.grid.frame import shipped_results
from coop_edu.grid.report import average, curves

from small_site import needs_the_extra
from test_browser import SCREENSHOTS
from test_explorer import EXPLORER, a_browser_is_missing, address, chromium  # noqa: F401 (fixtures)
from test_repository import read

PARTS = ["sentence", "probability", "learned", "images", "transfer"]  # a word of each heading, in their order
PATIENCE = 240_000  # milliseconds: of a machine that does other things
needs_a_browser = pytest.mark.skipif(bool(a_browser_is_missing()), reason=a_browser_is_missing())


def test_it_takes_five_minutes():
    text = read("docs/five_minutes.md")
    headings = re.findall(r"(?m)^## \d\. (.*)$", text)
    assert len(headings) == len(PARTS) and all(word in heading for word, heading in zip(PARTS, headings))
    prose = re.sub(r"(?s)\$\$.*?\$\$|\]\(.*?\)", " ", text)
    assert 600 < len(prose.split()) < 900
    assert "(docs/five_minutes.md)" in read("README.md").split("![")[0]  # in its first screen


def test_no_number_is_typed():
    """Numbers of notebooks, images and years; no per cent, no points."""
    prose = re.sub(r"\[[^\]]*\]\([^)]*\)|\$.*?\$|(?m:^## \d)", "", read("docs/five_minutes.md"))
    assert set(re.findall(r"\d+", prose)) <= {"00", "01", "03", "04", "1", "2022"}


@needs_the_extra
def test_the_numbers_are_those_of_the_results_and_of_the_paper(scripts):
    """The sentence under the two averages, from the stored results and the paper's table."""
    _, _, said = scripts.five.stored_figure("07_eleven_tasks", "paper_mean}")
    results = shipped_results()
    ours = average(curves(results[results["scale"] == "mini"]))
    few_shot = read_asset("paper_results.json")["few_shot"]
    tasks = [name for name in few_shot["zero_shot"] if name != "Average"]
    for k, words in ((2, "two shots"), (16, "sixteen")):
        gain = sum(ours["CoOp"][k]) / len(ours["CoOp"][k]) - ours["hand-written"][0][0]
        theirs = sum(few_shot["M16_end"][str(k)][name] - few_shot["zero_shot"][name] for name in tasks) / len(tasks)
        number = r"([+-][\d.]+)"
        here, there = re.search(rf"{number} (?:points )?with {words} \({number}", said).groups()
        assert float(here) == pytest.approx(gain, abs=0.06) and float(there) == pytest.approx(theirs, abs=0.06)


@needs_the_extra
@pytest.mark.parametrize("live", [None, EXPLORER])
def test_live_parts_stand_where_they_can_be_used(scripts, tmp_path, live):
    scripts.five.lay_out(tmp_path, live)
    text = (tmp_path / "docs" / "five_minutes.md").read_text(encoding="utf-8")
    parts = [text.find(f'id="{name}"') for name in ("explorer", "learn")]
    assert parts == [-1, -1] if live is None else 0 < parts[0] < parts[1]
    assert ("Write your best sentence" in text) == (live is not None) and "<!--" not in text


def figures(text):
    found = re.findall(r'(?s)<figure class="align-default".*?</figure>', text)
    return [
        SimpleNamespace(
            file=re.search(r'<img [^>]*src="([^"]*)"', each)[1],
            alt=unescape(re.search(r'<img alt="([^"]*)"', each)[1]),
            sentence=" ".join(unescape(re.search(r'(?s)"caption-text">(.*?)</span><a', each)[1]).split()),
        )
        for each in found
    ]


@needs_the_extra
@pytest.mark.slow
def test_each_part_has_a_figure_with_its_sentence_and_a_text_for_those_who_do_not_see_it(site, scripts):
    text = (site / "docs" / "five_minutes.html").read_text(encoding="utf-8")
    sections = re.split(r"<h2>", text)[1:6]
    assert all(word in section.partition("</h2>")[0] for word, section in zip(PARTS, sections))
    assert all(figures(section) and 'href="../notebooks/' in section for section in sections)
    links = scripts.five.FIGURE.findall(read("docs/five_minutes.md"))
    stored = [" ".join(scripts.five.stored_figure(name, word)[2].split()) for _, name, word in links]
    shown = figures(text)
    assert len(shown) == len(links) and {alt for alt, *_ in links} == {each.alt for each in shown}
    assert set(stored) == {each.sentence for each in shown}
    for each in shown:
        assert (site / "docs" / each.file).is_file() and len(each.alt.split()) > 8


@needs_the_extra
@pytest.mark.slow
def test_it_says_of_itself_what_it_is(site):
    text = (site / "docs" / "five_minutes.html").read_text(encoding="utf-8")
    assert "<title>CoOp in five minutes" in text and 'og:title" content="CoOp in five minutes' in text
    descriptions = re.findall(r'<meta (?:name="|property="og:)description" content="([^"]*)"', text)
    assert len(descriptions) == 2 and len(set(descriptions)) == 1 and "five steps" in descriptions[0]
    (image,) = re.findall(r'og:image" content="([^"]*)"', text)
    assert (site / "docs" / image).resolve().is_file()


@pytest.fixture
def page(chromium, address):  # noqa: F811
    """The page; it may have asked nobody else for anything, and nothing in it may have failed."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{address}docs/five_minutes.html")
    page.wait_for_selector("#explorer table[aria-busy=false]")
    page.wait_for_selector("#learn-task option", state="attached")
    yield page
    page.close()
    assert [url for url in asked if not url.startswith(address)] == [] and errors == []


@needs_a_browser
@pytest.mark.slow
def test_the_live_parts_work_here_too(page):
    page.fill("#explorer-template", "the {}")
    page.wait_for_function("document.querySelector('#explorer-answer').textContent.includes('“the ')")
    page.select_option("#learn-shots", "1")
    page.focus("#learn-sentence")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "document.querySelector('#learn-status').textContent.includes('50 steps took')", timeout=240_000
    )
    assert page.locator("#learn svg.map circle").count() > 50


@needs_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_can_be_read_on_any_screen_and_by_a_screen_reader(page, theme, width):
    page.evaluate(f"document.body.dataset.theme = '{theme}'")
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for figure in page.locator("figure.align-default > a").all():  # a link, so that keys can move what is wider
        box = figure.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 100
    page.add_script_tag(path=EXPLORER / "node_modules" / "axe-core" / "axe.min.js")
    found = page.evaluate("axe.run({ include: ['[role=main]'] })")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert len(found["passes"]) > 10
    assert serious == [], [(each["help"], each["nodes"][0]["html"]) for each in serious]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"five-minutes-{theme}-{width}.png", full_page=True)


@needs_a_browser
@pytest.mark.slow
def test_without_javascript_the_figures_are_left(chromium, address):  # noqa: F811
    page = chromium.new_page(java_script_enabled=False)
    page.goto(f"{address}docs/five_minutes.html")
    assert all(figure.is_visible() for figure in page.locator("figure.align-default img").all())
    assert page.locator("#learn-status").is_visible() and "needs JavaScript" in page.text_content("#learn-status")
    assert not page.locator("#learn [type=submit]").is_visible() and not page.locator("#explorer-template").is_visible()
    page.close()
