"""One measurement, in a process of its own: a step of the authors' way against a step of ours, same classes, same seed.

    python -m benchmarks.measure '{"K": 100, "M": 16}'        # prints one line of JSON

A step is forward and backward with respect to the context, on features of 32 images.  First both must give equal
logits and gradients; then they take turns with a plain matrix product, so that what else the machine does falls on all
three alike; medians are kept.  The weights are random: neither time nor exactness depends on them.

Leaves out: which settings there are, and the table (__main__.py).
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import open_clip
import torch

from benchmarks import flops
from benchmarks.reference import Reference
from coop_edu import PromptLearner, class_logits
from coop_edu.clip.models import Clip, frozen_clip
from coop_edu.clip.text_encoding import text_tower

BATCH = 32  # images
AT_ONCE = 100  # classes that the reference has in memory; with 77 positions each, more soon do not fit
TOLERANCE = 1e-4  # relative, in float32: two ways of rounding through twelve layers


@dataclass(frozen=True)
class Setting:
    """What is measured; K classes, M context vectors.  `repeats`: how often the three take turns."""

    K: int = 100
    M: int = 16
    class_specific: bool = False
    position: str = "end"
    precision: str = "float32"  # of ours; the reference is in float32
    max_classes_at_once: int | str | None = "auto"
    image_encoder: bool = False  # the whole step: the authors' encodes 32 images too, ours has their features
    reference_classes: int = 100  # the reference is timed on so many, and multiplied: its time is linear in K
    repeats: int = 3
    threads: int = 2
    device: str = "cpu"


def measure(setting: Setting, config: dict | None = None) -> dict:
    """The figures of one setting; ValueError if the two ways disagree.  config: of another CLIP than ViT-B/16."""
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    clip = random_clip(config, setting)
    learner = PromptLearner(
        clip,
        open_clip.IMAGENET_CLASSNAMES[: setting.K],
        n_ctx=setting.M,
        class_specific=setting.class_specific,
        position=setting.position,
        max_classes_at_once=setting.max_classes_at_once,
    )
    device, tower = clip.device, text_tower(clip.model)
    image_features = torch.randn(BATCH, tower.text_projection.shape[1], device=device)  # (B, E)
    labels = torch.randint(setting.K, (BATCH,), device=device)

    before = peak_memory(device, reset=True)
    logits = our_step(learner, image_features, labels, setting.precision)
    our_memory = peak_memory(device) - before
    gradient = learner.ctx.grad.clone()
    if setting.precision != "float32":
        rough, rough_gradient = logits, gradient
        logits = our_step(learner, image_features, labels, "float32")
        gradient = learner.ctx.grad.clone()

    wanted = text_gradient(learner, image_features, labels)  # (K, E): what the loss sends back into the text encoder
    classes = min(setting.K, setting.reference_classes)
    reference = Reference(learner, classes)
    images = torch.randn(BATCH, 3, *_pair(clip.model.visual.image_size), device=device)

    def reference_step() -> torch.Tensor:
        if setting.image_encoder:
            clip.encode_image(images)
        reference.ctx.grad, parts = None, []
        for first in range(0, classes, AT_ONCE):
            last = min(first + AT_ONCE, classes)
            parts.append(reference.features(first, last))
            parts[-1].backward(wanted[first:last])
        return torch.cat([part.detach() for part in parts])  # (classes, E)

    peak_memory(device, reset=True)
    features = reference_step()
    reference_memory = peak_memory(device) - before
    if classes < setting.K and not setting.class_specific:  # the gradient that these classes alone give
        learner.ctx.grad = None
        learner()[:classes].backward(wanted[:classes])
        gradient = learner.ctx.grad.clone()
    logit_error = relative(logits[:, :classes], class_logits(image_features, features, clip.logit_scale))
    gradient_error = relative(gradient[:classes] if setting.class_specific else gradient, reference.ctx.grad)
    if not max(logit_error, gradient_error) < TOLERANCE:
        raise ValueError(f"{setting}: the two ways differ by {logit_error} (logits), {gradient_error} (gradient)")

    own = {"device": device, "dtype": getattr(torch, setting.precision)}  # the peak is that of our precision
    left, right = torch.randn(4096, 512, **own), torch.randn(512, 2048, **own)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: our_step(learner, image_features, labels, setting.precision),
        "reference": reference_step,
        "product": lambda: left @ right,
    }
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(setting.repeats):
        for way, step in ways.items():
            times[way] += [timed(step, device) for _ in range({"ours": 2, "reference": 1, "product": 5}[way])]
    clock, processor = ({way: median(t[i] for t in times[way]) for way in ways} for i in (0, 1))
    for taken in (clock, processor):
        taken["reference"] *= setting.K / classes
    ours, theirs, product = clock.values()
    product_flops = 2 * left.numel() * right.shape[1]
    peak = product_flops / product  # operations a second
    our_flops = flops.learner_step(learner)
    reference_flops = flops.reference_step(tower, setting.K)
    result = {
        **asdict(setting),
        "max_classes_at_once": learner.max_classes_at_once,
        "reference_classes": classes,
        "seconds": ours,
        "reference_seconds": theirs,
        "times_faster": theirs / ours,
        "times_faster_cpu": processor["reference"] / processor["ours"],
        "memory_bytes": our_memory,
        "reference_memory_bytes": reference_memory,
        "tokens": sum(encoder.tokens_computed for encoder in learner.encoders),
        "reference_tokens": sum(encoder.tokens_reference for encoder in learner.encoders),
        "flops": our_flops,
        "reference_flops": reference_flops,
        "product_flops_per_second": peak,
        "share_of_peak": our_flops / ours / peak,
        "share_of_peak_cpu": our_flops / processor["ours"] * processor["product"] / product_flops,
        "logit_error": logit_error,
        "gradient_error": gradient_error,
        "all_seconds": times,
    }
    if setting.precision != "float32":
        result["rough_logit_error"] = relative(rough, logits)
        result["rough_gradient_error"] = relative(rough_gradient, gradient)
    return result


def our_step(
    learner: PromptLearner, image_features: torch.Tensor, labels: torch.Tensor, precision: str
) -> torch.Tensor:
    """A step as coop/trainer.py makes it, without the optimiser; the logits (B, K)."""
    learner.ctx.grad = None
    with torch.autocast(image_features.device.type, getattr(torch, precision), enabled=precision != "float32"):
        if learner.max_classes_at_once is not None:
            return learner.backward_in_chunks(image_features, labels)[1]
        features = learner()
    logits = class_logits(image_features, features.float(), learner.clip.logit_scale)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    return logits.detach()


def text_gradient(learner: PromptLearner, image_features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient of the loss with respect to the text features, (K, E)."""
    with torch.no_grad():
        features = learner()
    logits = class_logits(image_features, features.requires_grad_(), learner.clip.logit_scale)
    return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), features)[0]


def random_clip(config: dict | None, setting: Setting) -> Clip:
    """ViT-B/16's sizes without its weights; where no image is encoded, with a small image encoder in its place."""
    config = config or open_clip.get_model_config("ViT-B-16-quickgelu")
    if not setting.image_encoder:
        small = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64}
        config = {**config, "vision_cfg": small}
    model = open_clip.CLIP(**config).to(setting.device)
    return frozen_clip("random", model, open_clip.SimpleTokenizer(context_length=model.context_length))


def timed(step: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds on the clock, and seconds of processor time: on one thread, what others do is not in the latter."""
    start, start_cpu = time.perf_counter(), time.process_time()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, time.process_time() - start_cpu


def peak_memory(device: torch.device, reset: bool = False) -> int:
    """The most bytes that this process has held since the last reset (on Linux or CUDA; elsewhere since its start)."""
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.float() - b.float()).abs().max() / b.float().abs().max()).item()


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


if __name__ == "__main__":
    print(json.dumps(measure(replace(Setting(), **json.loads(sys.argv[1])))))
