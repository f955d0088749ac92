"""The graphs that the page computes with: features, loss and gradient are the library's."""

import numpy as np
import pytest
import torch

from coop_edu import PromptLearner, load_clip, normalize

from small_site import needs_the_extra

pytestmark = [needs_the_extra, pytest.mark.slow]
NAMES = ("cat", "hot air balloon", "dog", "fire truck", *(f"thing number {i}" for i in range(16)))
# Classes, context length, and whether each class has a context of its own.
SIZES = [(2, 16, False), (6, 4, True), (20, 16, False), (20, 1, True)]


@pytest.fixture(scope="module")
def clip():
    return load_clip("mini", device="cpu")


def vectors_of(learner, table):
    """{input of the graphs: value} of a learner, and a function that takes its gradient out of theirs."""
    clip, M = learner.clip, learner.n_ctx
    start, ctx = table[[clip.tokenizer.sot_token_id]], learner.ctx.detach()
    names = [table[[*clip.tokenizer.encode(f"{name}."), clip.tokenizer.eot_token_id]] for name in learner.classnames]
    lengths = torch.tensor([len(name) for name in names])
    own = torch.nn.utils.rnn.pad_sequence(names, batch_first=True)  # (K, S, D)
    shared = torch.cat([start, ctx]) if ctx.ndim == 2 else start
    if ctx.ndim == 3:
        own, lengths = torch.cat([ctx, own], dim=1), lengths + M
    ends = len(shared) + torch.arange(len(own)) * own.shape[1] + lengths - 1
    given = {"shared": shared.numpy(), "own": own.numpy(), "ends": ends.numpy()}
    return given, lambda d_shared, d_own: d_shared[1:] if ctx.ndim == 2 else d_own[:, :M]


@pytest.fixture(scope="module")
def graphs(scripts, clip):
    from onnx.reference import ReferenceEvaluator

    both = scripts.tower.text_tower(clip.model), scripts.gradient.gradient_graph(clip.model)
    return tuple(map(ReferenceEvaluator, both))


@pytest.mark.parametrize(("K", "M", "class_specific"), SIZES)
def test_loss_and_gradient_are_the_librarys(graphs, clip, K, M, class_specific):
    learner = PromptLearner(clip, NAMES[:K], n_ctx=M, class_specific=class_specific, seed=K)
    images, labels = torch.randn(32, 256, generator=torch.Generator().manual_seed(K)), torch.arange(32) % K
    loss = learner.loss(images, labels)
    loss.backward()
    given, of_ctx = vectors_of(learner, clip.model.token_embedding.weight.detach())
    batch = {"images": normalize(images).numpy(), "labels": labels.numpy()}
    forward, backward = graphs
    found, d_shared, d_own, features = backward.run(None, {**given, **batch})
    assert abs(found - loss.item()) < 1e-4
    torch.testing.assert_close(torch.tensor(of_ctx(d_shared, d_own)), learner.ctx.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.tensor(features), learner.text_features(), atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(forward.run(None, given)[0], features, atol=1e-6)


def test_the_image_tower_is_the_librarys(scripts, clip):
    from onnx.reference import ReferenceEvaluator

    to_normal = clip.preprocess.transforms[-1]
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    graph = ReferenceEvaluator(scripts.image_tower.image_tower(clip.model, to_normal.mean, to_normal.std))
    (features,) = graph.run(None, {"pixels": pixels.numpy()})
    expected = normalize(clip.encode_image(to_normal(pixels)))
    torch.testing.assert_close(torch.tensor(features), expected, atol=1e-5, rtol=1e-4)


def test_no_graph_holds_the_words(scripts, clip):
    graphs = scripts.tower.text_tower, scripts.gradient.gradient_graph
    sizes = [len(graph(clip.model).SerializeToString()) for graph in graphs]
    assert max(sizes) < 2.5e6 < clip.model.token_embedding.weight.numel()
