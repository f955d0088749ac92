"""A progress bar in a notebook is an output of its own, which goes when the bar goes."""

import pytest

from coop_edu import bars


class Handle:
    def __init__(self):
        self.shown = []

    def update(self, data, raw):
        self.shown.append(data)


@pytest.fixture
def handle(monkeypatch):
    """What a kernel would show."""
    handle = Handle()

    def display(data, raw, display_id):
        handle.update(data, raw)
        return handle

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(bars, "in_a_notebook", lambda: True)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return handle


@pytest.mark.parametrize("leave", [True, False])
def test_a_bar_that_is_not_left_leaves_nothing(handle, leave, capsys):
    assert list(bars.progress_bar(range(3), desc="counting", leave=leave, mininterval=0)) == [0, 1, 2]
    assert handle.shown[0]["text/plain"].startswith("counting:   0%|")
    last = handle.shown[-1]
    assert ("3/3" in last["text/plain"]) if leave else last == {"text/html": "", "text/plain": ""}
    assert capsys.readouterr() == ("", "")


def test_a_bar_that_never_came_leaves_nothing(handle):
    list(bars.progress_bar(range(3), delay=60, leave=False))
    list(bars.progress_bar(range(3), show=False))
    assert handle.shown == []


def test_one_bar_within_another(handle):
    for _ in bars.progress_bar(range(2), desc="outer", mininterval=0):
        list(bars.progress_bar(range(2), desc="inner", mininterval=0, leave=False))
    texts = [data["text/plain"] for data in handle.shown]
    assert not any("\n" in text or "\x1b" in text for text in texts)
    assert texts[-1].startswith("outer: 100%")


def test_elsewhere_it_is_tqdms(capsys):
    assert not bars.in_a_notebook()
    list(bars.progress_bar(range(3), desc="counting"))
    assert "counting: 100%" in capsys.readouterr().err
