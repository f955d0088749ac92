"""Context vectors and words: a context that starts from words, or at random, and the words nearest to a learned one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.clip.templates import check_marks
from coop_edu.clip.text_encoding import text_tower
from coop_edu.coop.prompt_layout import PromptConfig
from coop_edu.records import whole_number


def initial_context(clip: Clip, contexts: int, config: PromptConfig) -> Float[Tensor, "contexts M D"]:
    """The embeddings of the words of init, or random vectors N(0, 0.02^2) as the authors start.

    Raises ValueError for an init that is not text, or that is a template with {} or a full stop; for an n_ctx below 1.
    """
    embedding, init = text_tower(clip.model).token_embedding.weight.detach(), config.init  # (vocabulary, D)
    if init is not None and not isinstance(init, str):
        raise ValueError(f"expected init as one text, got {init!r} ({type(init).__name__})")
    if init:
        if "{" in init or "}" in init or init.rstrip().endswith("."):
            words = init.split("{")[0].strip(" .")
            raise ValueError(
                f"init must hold context words only, got {init!r}: use {words or 'a photo of a'!r}. Class name and "
                "full stop are added for you."
            )
        check_marks(init)
        tokens = clip.tokenizer.encode(init.replace("_", " "))
        if not tokens:
            raise ValueError(f'expected init to hold words, such as "a photo of a", got {init!r}')
        return embedding[tokens].repeat(contexts, 1, 1)
    n_ctx = whole_number(config.n_ctx, "n_ctx", at_least=1)  # a prompt without context is ZeroShot's
    positions = getattr(clip.tokenizer, "context_length", n_ctx)
    if n_ctx > positions:  # fail before allocating; token_layout checks the exact length
        raise ValueError(
            f"n_ctx={n_ctx:,} is more than the {positions} positions of {clip.name!r}: the paper has 4 and 16"
        )
    # On the CPU: a seed means the same on every device.
    generator = torch.Generator().manual_seed(whole_number(config.seed, "seed"))
    # 0.02 is the authors' nn.init.normal_(ctx, std=0.02).
    return 0.02 * torch.randn(contexts, n_ctx, embedding.shape[1], generator=generator).to(embedding)


@torch.no_grad()
def nearest_words(clip: Clip, vectors: Float[Tensor, "V D"], k: int) -> list[list[tuple[str, float]]]:
    """For each vector the k words whose embeddings are nearest: pairs (BPE token, Euclidean distance)."""
    words = text_tower(clip.model).token_embedding.weight.to(vectors)
    words_of_vectors = []
    for part in vectors.split(64):
        # cdist would use a matrix product, which is inexact for close vectors; those are the ones we want.
        distance = torch.cdist(part, words, compute_mode="donot_use_mm_for_euclid_dist")  # (64, vocabulary)
        nearest = distance.topk(k, largest=False)
        for distances, tokens in zip(nearest.values.tolist(), nearest.indices.tolist()):
            words_of_vectors.append([(clip.tokenizer.decode([t]).strip(), d) for t, d in zip(tokens, distances)])
    return words_of_vectors
