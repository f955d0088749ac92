"""The benchmarks still run, on a tiny CLIP, and count what they say they count."""

import itertools
import json
from dataclasses import replace

import open_clip
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as bench
from benchmarks import flops, library, measure
from benchmarks.measure import Setting
from benchmarks.reference import Reference
from coop_edu.coop.prompt_layout import POSITIONS
from coop_edu.coop.prompt_learner import PromptLearner

from tiny_clip import tiny_clip, tiny_config

pytestmark = pytest.mark.slow  # notebooks and processes


SMALL = Setting(K=7, M=4, reference_classes=7, repeats=1, threads=1)


def counted(step):
    """Operations that torch itself counts; its plain attention is taken apart into products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("at_once", [None, 3])
def test_operations_are_what_torch_counts(position, class_specific, at_once):
    options = {"class_specific": class_specific, "position": position, "max_classes_at_once": at_once}
    learner = PromptLearner(tiny_clip(layers=3), open_clip.IMAGENET_CLASSNAMES[:7], n_ctx=4, **options)
    images, labels = torch.randn(5, 16), torch.randint(7, (5,))
    logits = 2 * 5 * 7 * 16  # a product that flops.py leaves out: once forward, once or twice backward
    ours = counted(lambda: measure.our_step(learner, images, labels, "float32"))
    assert ours - 2 * logits == flops.learner_step(learner)
    reference = Reference(learner, classes=7)
    theirs = counted(lambda: reference.features(0, 7).sum().backward())
    assert theirs == flops.reference_step(learner.clip.model, 7)


@pytest.mark.parametrize(
    "setting",
    [
        SMALL,
        replace(SMALL, class_specific=True, position="middle"),
        replace(SMALL, position="front", max_classes_at_once=2),
        replace(SMALL, reference_classes=3),
        replace(SMALL, reference_classes=3, class_specific=True),
        replace(SMALL, image_encoder=True),
        replace(SMALL, precision="bfloat16"),
    ],
)
def test_a_measurement_agrees_with_the_reference_first(setting):
    found = measure.measure(setting, tiny_config())
    assert found["seconds"] > 0 and found["reference_seconds"] > 0 and found["share_of_peak"] > 0
    assert found["tokens"] < found["reference_tokens"] == 7 * 77 and found["flops"] < found["reference_flops"]
    assert found["logit_error"] < 1e-5 and found["gradient_error"] < 1e-4
    assert ("rough_logit_error" in found) == (setting.precision == "bfloat16")
    json.dumps(found)
    assert str(setting.position) in bench.row(found)


@pytest.mark.parametrize("change", ["logits", "gradient"])
def test_a_difference_ends_the_measurement(change, monkeypatch):
    if change == "logits":
        right = measure.our_step
        monkeypatch.setattr(measure, "our_step", lambda *options: 1.01 * right(*options))
    else:
        monkeypatch.setattr(measure, "text_gradient", lambda learner, *rest: torch.randn(7, 16))
    with pytest.raises(ValueError, match="the two ways differ"):
        measure.measure(SMALL, tiny_config())


def test_more_classes_than_the_reference_has_in_memory(monkeypatch):
    monkeypatch.setattr(measure, "AT_ONCE", 3)
    assert measure.measure(SMALL, tiny_config())["gradient_error"] < 1e-4


def test_the_peak_of_memory_is_seen():
    before = measure.peak_memory(torch.device("cpu"), reset=True)
    held = torch.zeros(50_000_000, dtype=torch.uint8) + 1
    assert 45e6 < measure.peak_memory(torch.device("cpu")) - before < 200e6 and held[0]


def test_table_figure_and_settings(tmp_path):
    asked = set(itertools.product((37, 100, 397, 1000), (4, 16), (False, True), POSITIONS))
    assert {(s.K, s.M, s.class_specific, s.position) for s in bench.whole_matrix("bfloat16")} >= asked
    assert all(s.reference_classes == s.K for s in bench.whole_matrix(None) if s.max_classes_at_once == "auto")
    assert {s.precision for s in bench.selection("bfloat16")} == {"float32", "bfloat16"}
    found = measure.measure(SMALL, tiny_config())
    bench.draw([{**found, "M": 16}, {**found, "M": 16, "K": 100}], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_the_machine_is_described_and_the_library_timed():
    here = bench.machine(threads=1, device="cpu")
    assert here["cpu"] and here["cores"] and here["torch"] == torch.__version__
    assert min(here["product_flops_per_second"].values()) > 0
    found = bench.in_a_process("library", "import", "1")
    assert found["seconds"] > 0 and set(library.TARGETS) >= {"import"}


def speed(file):
    """The lines of the table on the page about speed, and the measurements they are of."""
    results = json.loads((bench.ROOT / "benchmarks" / file).read_text(encoding="utf-8"))
    page = (bench.ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    section = page.split("On a GPU")[file == "results_gpu.json"]
    return results, [line for line in section.splitlines() if line.startswith(("| 1", "| 3"))]


def test_the_page_on_speed_has_the_figures_of_a_gpu():
    """Of benchmarks/results_gpu.json, the settings that both tables have."""
    results, shown = speed("results_gpu.json")
    assert shown == [
        f"| {r['K']} | {r['reference_seconds']:.3f} | {r['seconds']:.3f} | {r['times_faster']:.1f} "
        f"| {r['memory_bytes'] / 1e9:.2f} | {r['reference_memory_bytes'] / 1e9:.2f} |"
        for r in results["steps"]
        if (r["M"], r["position"], r["precision"]) == (16, "end", "float32")
    ]


def test_the_page_on_speed_has_the_figures_that_were_measured():
    """Every line of its table is one of benchmarks/results.json, rounded, and every measurement has its line."""
    results, shown = speed("results.json")
    assert shown == [
        f"| {r['K']} | {r['M']} | {'class-specific' if r['class_specific'] else 'unified'} | {r['position']} "
        f"| {r['precision']} | {r['reference_seconds']:.2f} | {r['seconds']:.2f} | {r['times_faster']:.1f} "
        f"| {100 * r['share_of_peak']:.0f} % | {r['memory_bytes'] / 1e9:.2f} | "
        + ("whole step " if r["image_encoder"] else "")
        + (f"{r['max_classes_at_once']} classes at once " if r["max_classes_at_once"] else "")
        + ("not exact " if r["precision"] != "float32" else "")
        + "|"
        for r in results["steps"]
    ]
