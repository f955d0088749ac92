"""The benchmark: every measurement in a process of its own, then a table, a figure and a JSON file.

    make bench                                  # a selection: about 11 minutes on two free cores
    python -m benchmarks --full                 # K x M x position x precision, nothing extrapolated: some hours
    python -m benchmarks --device cuda          # the same on a GPU, with fp16

The reference never has more than 100 classes in memory.  In the selection, it is timed on the first 100 classes and
multiplied; its work is the same for each class.  A measurement fails if the reference does not give the same logits
and gradients.

Leaves out: how a step is measured (measure.py), the authors' way (reference.py), the operations (flops.py).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import torch

from benchmarks.library import TARGETS
from benchmarks.measure import Setting, timed
from coop_edu.plots.style import BLUE, VERMILION, new_figure, tidy

ROOT = Path(__file__).resolve().parents[1]
GROUPS = 50  # classes at once where memory is to stay small
SMALL = 5  # classes that are enough for a precision that this machine is slow at
CLASSES, CONTEXTS, POSITIONS = (37, 100, 397, 1000), (4, 16), ("end", "middle", "front")


def selection(rough: str | None) -> list[Setting]:
    """The settings that the figures to reach are about, and enough of the others for the curves."""
    settings = [Setting(K=K) for K in CLASSES]
    settings += [Setting(M=4), Setting(position="middle"), Setting(position="front")]
    settings += [Setting(class_specific=True, M=M, repeats=2) for M in CONTEXTS]
    settings += [Setting(K=37, class_specific=True, repeats=2), Setting(image_encoder=True, repeats=2)]
    settings += [Setting(K=1000, max_classes_at_once=GROUPS, repeats=1)]
    if rough:
        settings.append(Setting(precision=rough))
    return settings


def whole_matrix(rough: str | None) -> list[Setting]:
    """Every combination, every class of the reference computed."""
    settings = [
        Setting(K=K, M=M, class_specific=specific, position=position, reference_classes=K)
        for specific, position, K, M in product((False, True), POSITIONS, CLASSES, CONTEXTS)
    ]
    settings += [Setting(image_encoder=True)]
    settings += [Setting(K=1000, max_classes_at_once=GROUPS, class_specific=specific) for specific in (False, True)]
    if rough:
        settings += [Setting(K=K, M=M, precision=rough) for K, M in product(CLASSES, CONTEXTS)]
    return settings


WAIT_POLICY = "PASSIVE"  # of threads that have nothing to do, as in coop_edu/__init__.py


def machine(threads: int, device: str) -> dict:
    """What the figures depend on, and how busy it was."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", WAIT_POLICY),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "product_flops_per_second": {
            precision: product_rate(getattr(torch, precision), device)
            for precision in ("float32", "bfloat16", *(["float16"] if device == "cuda" else []))
        },
    }


def product_rate(dtype: torch.dtype, device: str) -> float:
    """Operations a second in a product of the MLP's shape; a quarter of a second is enough to tell fast from slow."""
    a, b = torch.randn(512, 512).to(device, dtype), torch.randn(512, 2048).to(device, dtype)
    timed(lambda: a @ b, a.device)
    seconds, n = 0.0, 0
    while seconds < 0.25:
        seconds, n = seconds + timed(lambda: a @ b, a.device)[0], n + 1
    return 2 * a.numel() * b.shape[1] * n / seconds


def in_a_process(module: str, *arguments: str) -> dict:
    """The JSON that `python -m benchmarks.<module>` prints; its errors end everything."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    variables = {"OMP_WAIT_POLICY": WAIT_POLICY, **os.environ}  # both ways, whatever is imported first
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    return json.loads(done.stdout)


# --------------------------------------------------------------------------------------------- the table
HEADER = (
    f"{'K':>5}{'M':>4}  {'context':<15}{'name':<8}{'precision':<10}|"
    f"{'reference':>11}{'ours':>10}{'faster':>8}{'by CPU':>8} |"
    f"{'reference':>10}{'ours':>8} |{'reference':>10}{'ours':>7} |{'reference':>10}{'ours':>8} |{'ours':>6} | notes\n"
    f"{'':>42}|{'seconds a step, medians':>37} |{'memory (MB)':>18} |{'tokens':>17} |{'GFLOP':>18} |{'% peak':>6} |"
)


def row(r: dict) -> str:
    """One measurement as a line of the table; its notes say what is not as in the other lines."""
    notes = []
    if r["reference_classes"] < r["K"]:
        notes.append(f"reference: {r['reference_classes']} classes timed, multiplied")
    elif r["K"] > 100:
        notes.append("reference in chunks of 100 classes")
    if r["max_classes_at_once"]:
        notes.append(f"{r['max_classes_at_once']} classes at once")
    if r["image_encoder"]:
        notes.append("whole step: the reference encodes 32 images too")
    if "rough_logit_error" in r:
        notes.append(f"not exact: logits {r['rough_logit_error']:.0e}, gradient {r['rough_gradient_error']:.0e}")
        notes.append("reference in float32")
    context = "class-specific" if r["class_specific"] else "unified"
    return (
        f"{r['K']:>5}{r['M']:>4}  {context:<15}{r['position']:<8}{r['precision']:<10}|{r['reference_seconds']:>11.2f}"
        f"{r['seconds']:>10.3f}{r['times_faster']:>7.1f}x{r['times_faster_cpu']:>7.1f}x |"
        f"{r['reference_memory_bytes'] / 1e6:>10.0f}{r['memory_bytes'] / 1e6:>8.0f} |"
        f"{r['reference_tokens']:>10}{r['tokens']:>7} |{r['reference_flops'] / 1e9:>10.0f}{r['flops'] / 1e9:>8.0f} |"
        f"{100 * r['share_of_peak']:>6.0f} | {'; '.join(notes)}"
    )


def draw(results: list[dict], file: Path) -> None:
    """Growth with K and with M on logarithmic axes: proportional growth runs along the grey lines."""
    plain = [
        r
        for r in results
        if (r["precision"], r["position"], r["image_encoder"]) == ("float32", "end", False)
        and r["max_classes_at_once"] != GROUPS
    ]
    figure, axes = new_figure(9, 4, columns=2, sharey=True)
    for axis, letter, fixed, value in zip(axes, "KM", "MK", (16, 100)):
        for specific, name, colour, marker in (
            (False, "unified", BLUE, "o"),
            (True, "class-specific", VERMILION, "^"),
        ):
            for key, style, way in (("reference_seconds", "--", "reference"), ("seconds", "-", "ours")):
                points = sorted(
                    (r[letter], r[key]) for r in plain if r["class_specific"] == specific and r[fixed] == value
                )
                if points:
                    axis.loglog(*zip(*points), style, color=colour, marker=marker, label=f"{way}, {name}")
        left, right = axis.get_xlim()
        for start in (0.001, 0.01, 0.1, 1.0, 10.0):
            axis.plot([left, right], [start, start * right / left], color="#cccccc", linewidth=0.6, zorder=0)
        axis.set(xlim=(left, right), xlabel=f"{letter}, with {fixed} = {value}")
        ticks = sorted({r[letter] for r in plain})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        tidy(axis)
    axes[0].set_ylabel("seconds a step")
    axes[0].legend(fontsize=8)
    figure.savefig(file, dpi=120)


# --------------------------------------------------------------------------------------------- everything
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="every combination; some hours on a CPU")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench", help="folder for results.json, growth.png")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start, here = time.perf_counter(), machine(options.threads, options.device)
    rates = here["product_flops_per_second"]
    rough = "float16" if options.device == "cuda" else "bfloat16"
    fast = rates[rough] > 1.5 * rates["float32"]
    settings = (whole_matrix if options.full else selection)(rough if fast else None)
    if not fast:
        settings.append(Setting(K=SMALL, precision=rough, repeats=1))
    print(json.dumps(here, indent=1))
    if not fast:
        print(
            f"{rough} products run at {rates[rough] / rates['float32']:.2f} times the speed of float32 on this "
            f"machine: no gain is to be had from it here, and it is measured at K = {SMALL} only."
        )
    everything = {"machine": here, "library": {}, "steps": []}

    print(f"\n{'the library':<12}{'seconds':>9}{'of CPU':>9}{'wanted':>9}")
    for what, wanted in TARGETS.items():
        found = in_a_process("library", what, str(options.threads), *["whole"] * options.full)
        everything["library"][what] = found
        print(
            f"{what:<12}{found['seconds']:>9.3f}{found['cpu_seconds']:>9.3f}{wanted:>9} | {found['note']}",
            flush=True,
        )

    print(f"\nViT-B/16's text encoder, {options.threads} threads; a step is forward and backward\n{HEADER}")
    for setting in settings:
        asked = {**vars(setting), "threads": options.threads, "device": options.device}
        result = in_a_process("measure", json.dumps(asked))
        everything["steps"].append(result)
        print(row(result), flush=True)
        (options.out / "results.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    draw(everything["steps"], options.out / "growth.png")
    print(f"\n{time.perf_counter() - start:.0f} seconds; results.json and growth.png are in {options.out}")


if __name__ == "__main__":
    main()
