"""A prompt is learned in the page, in a browser: it is the library's prompt, and the page stays usable."""

import random

import pytest
import torch

from coop_edu import PromptLearner, Recipe, Trainer, ZeroShot, accuracy, extract_features, load_prompt, sample_few_shot
from coop_edu.coop.context import nearest_words
from coop_edu.data.dataset import Example
from coop_edu.teaching.widgets.drawing import READY

from test_browser import SCREENSHOTS
from test_explorer import EXPLORER, a_browser_is_missing, address, chromium, clip, draw, drawn_image  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(a_browser_is_missing()), reason=a_browser_is_missing())]
PATIENCE = 240_000  # milliseconds: of a machine that does other things


@pytest.fixture
def page(chromium, address):  # noqa: F811
    """The first page; nothing in it may have failed, and it may have asked nobody else for anything."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    asked, errors = [], []
    page.context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("#learn-task option", state="attached")
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == [] and errors == []


@pytest.fixture(scope="module")
def tasks(scripts):
    """{name: data set}, made by the lines that the page shows."""
    return {name: task.load() for name, task in scripts.tasks.TASKS.items()}


def choose(page, **settings):
    """task, shots, contexts, n_ctx, words, sentence."""
    for name, value in settings.items():
        field = page.locator(f"#learn-{name.replace('_', '-')}")
        if name in ("words", "sentence"):
            field.fill(value)
        else:
            field.select_option(value)


def learn(page, **settings):
    """Until the training has ended: what the page says of it."""
    choose(page, **settings)
    page.click("#learn [type=submit]")
    page.wait_for_selector("#learn form[aria-busy=false]")
    return page.text_content("#learn-status")


def latest(page, code):
    """The value of JavaScript that may use `run`, the latest training, and its `last` record."""
    return page.evaluate(
        f"import('./explorer/learn.js').then(({{run}}) => {{ const last = run.records?.at(-1); return {code}; }})"
    )


def downloaded(page, folder):
    with page.expect_download() as download:
        page.click("#learn .download")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def in_library(clip, task, k, **options):  # noqa: F811
    learner = PromptLearner(clip, task.classnames, seed=1, **options)
    Trainer(learner, Recipe.mini(k), progress=False).fit(sample_few_shot(task.train, k=k, seed=1))
    return learner


@pytest.mark.parametrize(
    "case",
    [
        ("styles", {}, {"n_ctx": 16}),
        ("styles", {"contexts": "each", "n_ctx": "4"}, {"n_ctx": 4, "class_specific": True}),
        ("things", {"words": 'a "flat" icon of a'}, {"init": 'a "flat" icon of a'}),
    ],
    ids=str,
)
def test_fifty_steps_are_those_of_the_library_and_of_the_lines_of_python(page, clip, tasks, tmp_path, capsys, case):  # noqa: F811
    name, settings, options = case
    learn(page, task=name, shots="1", **settings)
    assert latest(page, "[run.steps, last.step]") == [50, 50]
    found, names = load_prompt(downloaded(page, tmp_path), clip), {}
    exec(page.text_content("#learn pre"), names)
    assert names["learner"].start == PromptLearner(clip, tasks[name].classnames, seed=1, **options).start
    torch.testing.assert_close(found.ctx, names["learner"].ctx, atol=1e-3, rtol=0)
    test = extract_features(clip, tasks[name].test, progress=False)
    printed = float(capsys.readouterr().out)
    assert accuracy(found, test) == pytest.approx(printed) == pytest.approx(latest(page, "last.accuracy"))


@pytest.mark.parametrize("name", ["styles", "things"])
def test_a_task_is_learned_as_well_as_by_the_library(page, clip, tasks, tmp_path, name):  # noqa: F811
    task = tasks[name]
    said = learn(page, task=name, shots="16", sentence="a photo of a {}.")
    test = extract_features(clip, task.test, progress=False)
    in_page = latest(page, "last.accuracy")
    by_library = accuracy(in_library(clip, task, 16, n_ctx=16), test)
    found = load_prompt(downloaded(page, tmp_path), clip)
    steps, milliseconds = latest(page, "[run.steps, run.milliseconds]")
    print(f"{name}: {in_page:.1f} % here, {by_library:.1f} % in the library; {milliseconds / steps:.0f} ms a step")
    assert abs(in_page - by_library) < 2
    assert accuracy(found, test) == pytest.approx(in_page, abs=0.5)
    by_sentence = accuracy(ZeroShot(clip, task.classnames, "a photo of a {}."), test)
    assert latest(page, "run.sentence.accuracy") == pytest.approx(by_sentence, abs=0.5)
    assert all(f"{value:.1f} %" in said for value in (in_page, latest(page, "run.sentence.accuracy")))
    words = [word for ((word, _),) in nearest_words(clip, found.ctx.detach(), 1)]
    page.click("#learn .nearest")
    page.wait_for_selector("#learn form[aria-busy=false]")
    assert page.text_content("#learn .words") == " · ".join(words)
    assert page.text_content("#learn-status") == said


def test_own_drawings_are_learned_as_by_the_library(page, clip, tmp_path):  # noqa: F811
    choose(page, task="own")
    assert "Draw at least two of “cat”, and keep them." in learn(page)
    pad, shake, kept = "#learn .learn-own .explorer-pad canvas", random.Random(0), ([], [])
    page.locator(pad).scroll_into_view_if_needed()
    for label, (name, strokes) in enumerate(READY.items()):
        page.locator(".learn-own-class input").nth(label).fill(name)
        for i in range(4):
            move = lambda x: min(0.95, max(0.05, x + shake.uniform(-0.1, 0.1)))  # noqa: E731
            moved = [[[move(x) for x in point] for point in stroke] for stroke in strokes]
            draw(page, moved, pad)
            kept[i % 2].append(Example(drawn_image(page, pad), label, name))
            page.locator(".learn-own-class > button").nth(label).click()
    page.locator(".kept").nth(1).locator("button").last.click()  # removed again
    kept[1].pop(-3)
    said = learn(page, n_ctx="4")
    learner = PromptLearner(clip, list(READY), n_ctx=4, seed=1)
    Trainer(learner, Recipe.mini(2), progress=False).fit(kept[0])
    found = load_prompt(downloaded(page, tmp_path), clip)
    torch.testing.assert_close(found.ctx, learner.ctx, atol=1e-3, rtol=0)
    assert f"Of {len(kept[1])} held-out images" in said and "probe" not in said
    assert accuracy(learner, kept[1]) == pytest.approx(latest(page, "last.accuracy"))
    for label in range(3):
        page.locator(".learn-own-class input").nth(label).fill("star")
    assert "same name" in learn(page)


def test_words_that_are_not_frequent_are_loaded(page, clip, tasks, tmp_path):  # noqa: F811
    whole = []
    page.context.on("request", lambda request: whole.append(request.url) if request.url.endswith("/words.gz") else None)
    learn(page, shots="1")
    assert not whole
    learn(page, words="a zebrafish", sentence="{} zebrafish")
    assert whole
    learner = in_library(clip, tasks["styles"], 1, init="a zebrafish")
    torch.testing.assert_close(load_prompt(downloaded(page, tmp_path), clip).ctx, learner.ctx, atol=1e-3, rtol=0)


def test_stop(page, clip, tasks, tmp_path):  # noqa: F811
    choose(page, shots="16")
    page.click("#learn [type=submit]")
    page.wait_for_selector("#learn svg.accuracy polyline")
    page.click("#learn .stop")
    page.wait_for_selector("#learn form[aria-busy=false]")
    step, steps = latest(page, "[last.step, run.steps]")
    assert step < steps and f"Stopped after {step} of {steps} steps" in page.text_content("#learn-status")
    test = extract_features(clip, tasks["styles"].test, progress=False)
    found = accuracy(load_prompt(downloaded(page, tmp_path), clip), test)
    assert found == pytest.approx(latest(page, "last.accuracy"), abs=0.5)
    assert "load_prompt" in page.text_content("#learn pre")  # the lines that learn it would not stop
    assert "Stopped" not in learn(page, shots="1")  # and it can be started again
    choose(page, shots="16")
    page.focus("#learn [type=submit]")
    page.keyboard.press("Enter")  # by keys the focus goes to Stop, and back to Learn
    page.wait_for_function("document.querySelector('#learn-status').textContent === 'Learning …'")
    page.keyboard.press("Enter")
    page.wait_for_selector("#learn form[aria-busy=false]")
    assert "Stopped" in page.text_content("#learn-status")
    assert page.evaluate("document.activeElement.textContent") == "Learn"


def test_the_page_never_freezes(page):
    """While a prompt is learned, no frame is late by more than a fifth of a second."""
    learn(page, shots="1")
    page.evaluate("""() => {
        window.longest = 0;
        let before = performance.now();
        const look = (now) => {
            longest = Math.max(longest, now - before);
            before = now;
            requestAnimationFrame(look);
        };
        look(before);
    }""")
    learn(page, shots="2")
    assert page.evaluate("longest") < 200


MISTAKES = {
    ("sentence", "a photo"): "Put {} once into the sentence",
    ("words", "a photo of a {}."): "without {} and full stop",
    ("words", "very " * 60): "MiniCLIP reads 48",
    ("words", "a <end_of_text>"): "CLIP's own mark",
}


def test_a_mistake_is_explained(page):
    for (field, text), sentence in MISTAKES.items():
        before = page.input_value(f"#learn-{field}")
        assert sentence in learn(page, **{field: text})
        choose(page, **{field: before})
    assert "50 steps took" in learn(page, shots="1")


@pytest.mark.parametrize("name", ["words_first.gz", "styles.features.gz"])
def test_a_file_that_is_gone_is_named_and_asked_for_again(chromium, address, name):  # noqa: F811
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    page.context.route(f"**/{name}", lambda route: route.fulfill(status=404))
    page.goto(address)
    page.wait_for_selector("#learn-task option", state="attached")
    assert name in learn(page, shots="1") and not page.locator(".learn-result").is_visible()
    page.context.unroute(f"**/{name}")
    assert "50 steps took" in learn(page)
    page.context.close()


def test_keys_are_enough_and_the_map_tells(page, tasks):
    choose(page, shots="1")
    page.focus("#learn-sentence")
    page.keyboard.press("Enter")
    page.wait_for_selector("#learn form[aria-busy=true]")
    page.wait_for_selector("#learn form[aria-busy=false]")
    names, labels = tasks["styles"].classnames, [e.label for e in tasks["styles"].test]
    page.focus("#learn .map")
    for i in (0, 1):
        page.keyboard.press("ArrowRight")
        answer = latest(page, f"last.answers[{i}]")
        assert f"“{names[labels[i]]}”. The prompt says “{names[answer]}”" in page.text_content(".learn-shown")
    page.focus("#learn-step")
    page.keyboard.press("Home")
    answer = latest(page, "run.records[0].answers[1]")
    assert f"The prompt says “{names[answer]}”" in page.text_content(".learn-shown")
    page.keyboard.press("End")
    page.select_option("#learn-class", label=names[2])
    before, after = latest(page, "[run.records[0], last].map(({answers}) => answers)")
    right = [{i for i, answer in enumerate(answers) if answer == labels[i] == 2} for answers in (before, after)]
    said, gained, lost = page.text_content(".learn-shown"), len(right[1] - right[0]), len(right[0] - right[1])
    assert f"{len(right[1])} are named right.Gained since the start: {gained}.Lost: {lost}." in said
    assert page.locator(".learn-shown .drawing").count() == 1 + gained + lost
    page.locator("#learn .map .mark").nth(5).dispatch_event("click")  # a name may stand over it
    assert page.input_value("#learn-class") == "5"
    page.locator("#learn .map").scroll_into_view_if_needed()
    free = page.locator("#learn .map circle").evaluate_all("""all => all.findIndex(dot => {
        const { x, y, width, height } = dot.getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, y + height / 2) === dot;
    })""")  # a dot on which nothing else stands
    page.locator("#learn .map circle").nth(free).hover()
    assert f"This image is “{names[labels[free]]}”" in page.text_content(".learn-shown")
    assert page.locator(".learn-shown .drawing").first.is_visible()


def test_it_fits(page):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    learn(page, task="styles", shots="1")
    results = "form", "svg.map", "svg.accuracy", "#learn-sentence", ".learn-buttons progress", ".learn-end pre"
    for task, places in (("styles", results), ("own", [".learn-own button", ".learn-own input"])):
        if task == "own":
            choose(page, task=task)  # which hides the results
        for theme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
            page.evaluate(f"document.body.dataset.theme = '{theme}'")
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("document.querySelector('#learn svg.map').viewBox.baseVal.width <= innerWidth")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for part in page.locator(", ".join(f"#learn {place}" for place in places)).all():
                box = part.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width, part
            heights = "all => all.map(each => each.getBoundingClientRect().height)"
            letters = page.locator("#learn svg text").evaluate_all(heights)
            assert task == "own" or min(letters) > 10
            page.locator("#learn").screenshot(path=SCREENSHOTS / f"learn-{task}-{theme}-{width}.png")


def test_nothing_stands_in_the_way_of_a_screen_reader(page):
    """axe-core finds nothing serious, before and after a training, in the light and in the dark."""
    page.add_script_tag(path=EXPLORER / "node_modules" / "axe-core" / "axe.min.js")

    def look(when):
        found = page.evaluate("axe.run({ include: ['#explorer', '#learn'] })")
        assert len(found["passes"]) > 10
        serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
        assert serious == [], (when, [(each["help"], each["nodes"][0]["html"]) for each in serious])

    look("at first")
    choose(page, task="own")
    look("with a page to draw on")
    learn(page, task="styles", shots="1")
    for theme in ("light", "dark"):
        page.evaluate(f"document.body.dataset.theme = '{theme}'")
        look(theme)
