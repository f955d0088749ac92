"""The widgets under a learner's hand: JupyterLab, a real browser, a keyboard and a mouse.

Nothing here waits for a time, only for what a reader would wait for. Screenshots are left in `runs/screenshots/`.
"""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager

import nbformat
import pytest

from coop_edu import load_clip
from coop_edu.teaching.widgets.drawing import READY

import browser
from test_repository import ROOT

if not browser.missing():
    from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())]
PATIENCE = 120_000  # milliseconds: of a machine that does other things
SCREENSHOTS = ROOT / "runs" / "screenshots"
CELLS = {
    "imports": """
from coop_edu import *
clip, source = load_clip("mini"), load_dataset("IconNet")
val = extract_features(clip, source.val, progress=False)
shots, watched = sample_train_val(source, k=1, seed=1)
data = extract_features(clip, shots, progress=False)""",
    "explorer": """
gallery = {e.classname: e for e in source.val[:: len(source.val) // 6]}
explorer = PromptExplorer(clip, gallery, source.classnames, validation=val)
explorer""",
    "live": """
live = LiveTraining(ZeroShot(clip, source.classnames, "an icon of a {}."), watched, epochs=100_000)
live""",
    "drawing": """
page = DrawingExplorer(clip, source.classnames)
page""",
    "bars": """
from coop_edu.bars import progress_bar
print(sum(progress_bar(range(10_000), leave=False)), sum(progress_bar(range(10_000))))""",
    "training": """
learner = PromptLearner(clip, source.classnames, n_ctx=4)
history = Trainer(learner, Recipe(epochs=100_000, views=None), callback=live, progress=False).fit(data)
print(f"epochs: {len(history)} measured: {max(live.measured)}, all told")""",
}


@contextmanager
def jupyter_lab(folder):
    """The address of a JupyterLab that serves `folder`/notebooks, and keeps all that is its own in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: str(folder / name) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR",
              "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}  # fmt: skip
    settings = folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=tested",
               f"--ServerApp.root_dir={folder / 'notebooks'}", "--LabApp.expose_app_in_browser=True",
               "--ServerApp.allow_root=True", "--no-browser"]  # fmt: skip
    with open(folder / "log", "w") as log:
        command = [sys.executable, "-m", "jupyter", "lab", *options]
        lab = subprocess.Popen(command, env={**os.environ, **places}, stdout=log, stderr=subprocess.STDOUT)
        try:
            while not list((folder / "JUPYTER_RUNTIME_DIR").glob("jpserver-*.json")):  # written when it listens
                assert lab.poll() is None, (folder / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            lab.terminate()
            lab.wait(60)


class Notebook:
    """A notebook in JupyterLab, and what its page says to the console."""

    def __init__(self, page, address):
        self.page, self.complaints = page, []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.goto(f"{address}/lab/tree/widgets.ipynb?token=tested")
        session = "window.jupyterapp?.shell.currentWidget?.sessionContext"
        page.wait_for_function(f"{session}?.isReady && {session}.session?.kernel?.status == 'idle'")

    def cell(self, name):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(list(CELLS).index(name))

    def run(self, name):
        """As a learner does: click into the cell, Shift+Enter."""
        self.cell(name).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def inside(self, cell, selector):
        return self.cell(cell).locator(f".jp-OutputArea {selector}")

    def see(self, cell, text):
        """Wait until the outputs of a cell have a text; all that they have then."""
        outputs = self.cell(cell).locator(".jp-Cell-outputArea")
        outputs.filter(has_text=re.compile(text)).wait_for()
        return outputs.text_content()  # also of what is off the screen

    def shoot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS.values()]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "notebooks" / "widgets.ipynb")
    with jupyter_lab(folder) as address, browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1200, "height": 1100})
        notebook = Notebook(page, address)
        notebook.run("imports")
        yield notebook
        notebook.shoot("last")


def test_a_typed_wording_changes_the_bars_and_moves_nothing(notebook):
    notebook.run("explorer")
    first = notebook.see("explorer", "rank \\d+ of 13")
    field = notebook.inside("explorer", "input[type=text]").first
    height = notebook.inside("explorer", ".widget-vbox").first.bounding_box()["height"]
    field.fill("a cheerful drawing of a {}.")
    field.press("Enter")
    assert notebook.see("explorer", "“a cheerful drawing of a .*rank \\d+ of 14") != first
    field.fill("no place for the name")
    field.press("Enter")
    notebook.see("explorer", "Put {} once into each sentence")
    assert notebook.inside("explorer", ".widget-vbox").first.bounding_box()["height"] == height
    field.fill("an icon of a {}.")
    field.press("Enter")
    notebook.see("explorer", "“an icon of a .*rank \\d+ of 13")
    assert notebook.inside("explorer", "table").evaluate(WHOLE)
    notebook.shoot("explorer")


def test_a_finished_bar_leaves_no_empty_box(notebook):
    notebook.run("bars")
    notebook.see("bars", "49995000 49995000")
    assert "10000/10000" in notebook.see("bars", "100%")
    outputs = notebook.cell("bars").locator(".jp-OutputArea-output").all()
    heights = {output.text_content().strip(): output.bounding_box()["height"] for output in outputs}
    notebook.shoot("bars")
    assert notebook.inside("bars", "[data-mime-type*=stderr]").count() == 0
    assert heights.get("", 0) < 3  # pixels


def test_field_and_answer_stand_on_one_screen(notebook):
    page = notebook.page
    for width in (1280, 900):
        page.set_viewport_size({"width": width, "height": 900})
        box = notebook.inside("explorer", ".widget-vbox").first.bounding_box()
        room = page.locator(".jp-WindowedPanel-outer:visible, .jp-Notebook:visible").first.bounding_box()
        notebook.cell("explorer").scroll_into_view_if_needed()
        notebook.shoot(f"explorer at {width}")
        assert box["height"] < room["height"]


def test_slider_and_images_obey_the_keyboard(notebook):
    before = notebook.inside("explorer", "table").text_content()
    handle = notebook.inside("explorer", ".noUi-handle")
    handle.focus()
    for _ in range(20):  # of fifty steps for a power of ten
        handle.press("ArrowRight")
    warm = 10 ** (20 / 50) / load_clip("mini").logit_scale.item()
    expect(notebook.inside("explorer", ".widget-readout")).to_have_text(f"{warm:.4f}", timeout=PATIENCE)
    expect(notebook.inside("explorer", "table")).not_to_have_text(before, timeout=PATIENCE)
    second = notebook.inside("explorer", "button").nth(1)
    name = second.inner_text().strip()
    second.focus()
    second.press("Enter")
    notebook.see("explorer", f"▸ {name} \\(true\\)")


def test_what_is_drawn_with_the_mouse_is_guessed(notebook):
    notebook.run("drawing")
    notebook.see("drawing", "Draw with the mouse")
    mouse, canvas = notebook.page.mouse, notebook.inside("drawing", "canvas")

    def draw(points):
        canvas.hover()  # waits until the page lies still
        box = canvas.bounding_box()
        places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
        mouse.move(*places[0])
        mouse.down()
        for place in places[1:]:
            mouse.move(*place, steps=5)
        mouse.up()

    for stroke in READY["envelope"]:
        draw(stroke)
    notebook.see("drawing", "CLIP says: envelope")
    draw([(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9), (0.5, 0.1)])
    notebook.see("drawing", "CLIP says: (?!envelope)")
    notebook.inside("drawing", "button").filter(has_text="clear").click()
    notebook.see("drawing", "Draw with the mouse")
    button = notebook.inside("drawing", "button").filter(has_text="house")
    button.focus()
    button.press("Enter")
    notebook.see("drawing", "CLIP says: house")
    notebook.shoot("drawing")


def test_stop_ends_a_training_and_keeps_what_was_learned(notebook):
    notebook.run("live")
    notebook.see("live", "waiting for the first epoch")
    curve = notebook.inside("live", "img").first
    before = curve.get_attribute("src")
    notebook.run("training")
    notebook.see("live", "epoch \\d+ of 100000, step \\d+ of 200000, about")
    expect(curve).not_to_have_attribute("src", before, timeout=PATIENCE)
    notebook.inside("live", "button").click()
    notebook.see("live", "epoch \\d+ of 100000, step \\d+ of 200000, stopped")
    done, measured = re.search(r"epochs: (\d+) measured: (\d+)", notebook.see("training", "all told")).groups()
    assert 0 < int(done) == int(measured) < 100_000
    notebook.shoot("live")


WHOLE = "it => it.parentElement.scrollHeight <= it.parentElement.clientHeight"  # no row is cut off
CONTRAST = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92
    : ((v / 255 + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!c.match(/, 0\\)$/)) return light(c); } return 1; };
  const found = [];
  for (const e of document.querySelectorAll(".jp-OutputArea .jupyter-widgets *")) {
    const text = [...e.childNodes].filter((n) => n.nodeType == 3 && n.data.trim()).map((n) => n.data).join(" ");
    if (!text || !e.offsetParent || e.disabled) continue;
    const [a, b] = [light(getComputedStyle(e).color), behind(e)].sort((x, y) => y - x);
    found.push([Math.round(10 * (a + 0.05) / (b + 0.05)) / 10, text]);
  }
  return found;
}"""


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_a_narrow_page_in_any_theme_can_be_read(notebook, theme):
    page = notebook.page
    page.set_viewport_size({"width": 900, "height": 1100})
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    contrasts = page.evaluate(CONTRAST)
    assert notebook.inside("explorer", "table").evaluate(WHOLE)
    assert len(contrasts) > 30 and [pair for pair in contrasts if pair[0] < 4.5] == []
    for name in ("explorer", "drawing", "live"):
        inside = notebook.cell(name).locator(".jp-Cell-outputArea").bounding_box()
        for part in notebook.inside(name, "button, input, img, canvas, tr").all():
            box = part.bounding_box()
            assert part.evaluate("it => it.scrollWidth <= it.clientWidth + 2"), (name, part.text_content())
            assert box["width"] > 20 and box["x"] + box["width"] <= inside["x"] + inside["width"] + 4, (name, box)
        notebook.cell(name).scroll_into_view_if_needed()
        notebook.shoot(f"{name}, {theme}")


def test_nothing_complains(notebook):
    assert notebook.complaints == []
