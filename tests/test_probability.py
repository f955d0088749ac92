"""Eq. 1 against a plain loop, and its errors."""

import math

import pytest
import torch

from coop_edu.clip.probability import class_logits, class_probabilities, normalize


def by_the_book(image, texts, tau):
    """Eq. 1 for one image, in plain Python."""

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    weights = [math.exp(cosine(text, image) / tau) for text in texts]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0])
def test_equation_1_equals_a_plain_loop(tau):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    texts = torch.randn(3, 8, generator=generator, dtype=torch.float64) * 7
    expected = torch.tensor([by_the_book(f, texts.tolist(), tau) for f in images.tolist()], dtype=torch.float64)
    got = class_probabilities(images, texts, 1 / tau)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-300)
    torch.testing.assert_close(got.sum(dim=1), torch.ones(5, dtype=torch.float64))


def test_text_features_of_each_image():
    f, w = torch.randn(3, 8), torch.randn(3, 5, 8)
    for row, image, texts in zip(class_logits(f, w, 7.0), f, w):
        torch.testing.assert_close(row, class_logits(image[None], texts, 7.0)[0])
    with pytest.raises(ValueError, match="expected image features"):
        class_logits(f, w[:2], 7.0)


def test_lengths_do_not_matter_and_order_does_not_depend_on_temperature():
    images, texts = torch.eye(4)[:2] + 0.1, torch.eye(4)
    torch.testing.assert_close(class_logits(3 * images, 5 * texts, 10.0), class_logits(images, texts, 10.0))
    hot, cold = class_probabilities(images, texts, 1.0), class_probabilities(images, texts, 100.0)
    assert torch.equal(hot.argsort(), cold.argsort()) or torch.equal(hot.argmax(1), cold.argmax(1))
    assert cold.max() > hot.max()


def test_normalize():
    torch.testing.assert_close(
        normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]])), torch.tensor([[0.6, 0.8], [0.0, 0.0]])
    )


@pytest.mark.parametrize(
    "images, texts, scale, message",
    [
        (torch.ones(4), torch.ones(2, 4), 1.0, r"image features \(B, E\) .* got \(4,\) and \(2, 4\)"),
        (torch.ones(1, 4), torch.ones(4), 1.0, r"text features \(K, E\) or .* got"),
        (torch.ones(3, 1, 4), torch.ones(2, 4), 1.0, r"got \(3, 1, 4\)"),
        (torch.ones(1, 4), torch.ones(2, 4), 0.0, "positive logit scale"),
        (torch.ones(1, 4), torch.ones(2, 4), torch.tensor(-1.0), "positive logit scale"),
        (torch.ones(1, 4), torch.ones(2, 4), float("nan"), "positive logit scale"),
    ],
)
def test_what_would_be_silent_is_refused(images, texts, scale, message):
    with pytest.raises(ValueError, match=message):
        class_logits(images, texts, scale)
