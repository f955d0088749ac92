"""CoOp: the words around the class name become vectors, and the vectors are learned.

The paper's Section 3.2.  A prompt is M context vectors v and the tokens of the class name:

    end      t = [v_1] ... [v_M] [CLASS] .                               Eq. 2
    middle   t = [v_1] ... [v_M/2] [CLASS] [v_M/2+1] ... [v_M] .         Eq. 4
    front    t = [CLASS] [v_1] ... [v_M] .                               in the authors' code only

The text encoder g makes of each prompt a class's weight, w_i = g(t_i), and with it Eq. 1 becomes Eq. 3.  The context is
shared by all classes ("unified", UC) or each class has its own ("class-specific", CSC).  The M x D (or K x M x D)
numbers of `ctx` are all that is ever trained.

A method of your own is a subclass, and there are two things to override: `objective`, what training minimises, and
`context`, where the context depends on the image.  Every way of training calls both: the Trainer at once or in groups
of classes, several trainings in one pass, several processes.

Leaves out: how g is computed fast (clip/prompt_encoder.py), the training loop (trainer.py), files (checkpoints.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from coop_edu.clip.memory import classes_that_fit
from coop_edu.clip.models import Clip
from coop_edu.clip.probability import class_logits, normalize
from coop_edu.clip.templates import check_marks, class_rows, clean_classnames, several_names
from coop_edu.clip.text_encoding import text_encoder
from coop_edu.clip.text_towers import text_tower
from coop_edu.records import whole_number

POSITIONS = ("end", "middle", "front")


class PromptLearner(nn.Module):
    """A classifier with a learned context (paper's Section 3.2).

    clip: from load_clip, stays frozen; classnames: K names; n_ctx: M; class_specific: one context per class;
    position: of the class name; init: words to start from, such as "a photo of a", whose number of BPE tokens then is
    M, or None for random vectors N(0, 0.02^2) drawn with `seed`; max_classes_at_once: encode in groups, so that
    backward_in_chunks needs memory for one group only; None is all at once, "auto" is None if that fits into half of
    the free memory, else as many as do.

    ctx: (M, D), or (K, M, D) if class-specific, the only parameter.
    Raises ValueError for an unknown position, empty or repeated names, a single text for names, an init that is a
    template with {} or a full stop, a prompt that does not fit, and, when it is used, where learner and CLIP were moved
    apart.

        learner = PromptLearner(load_clip("mini"), ["cat", "rocket"], n_ctx=4)
        learner.prompts()                                  # ["X X X X cat.", "X X X X rocket."]
        learner.loss(image_features, labels).backward()    # learner.ctx.grad
    """

    # How many contexts logits() encodes at once, where images have their own; None: as many as there are images.
    images_at_once: int | None = None

    def __init__(
        self,
        clip: Clip,
        classnames: Sequence[str],
        *,
        n_ctx: int = 16,
        class_specific: bool = False,
        position: str = "end",
        init: str | None = None,
        seed: int = 0,
        max_classes_at_once: int | str | None = "auto",
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f"unknown position {position!r} of the class name: choose one of {POSITIONS}")
        if max_classes_at_once not in ("auto", None):
            name = 'max_classes_at_once as None for all, "auto", or'
            max_classes_at_once = whole_number(max_classes_at_once, name, at_least=1)
        self.clip = clip  # not a torch module: its weights are not this module's parameters
        self.classnames = several_names(classnames)
        self.class_specific = class_specific
        self.position = position

        embedding = text_tower(clip.model).token_embedding.weight.detach()  # (vocabulary, D)
        contexts = len(self.classnames) if class_specific else 1
        start = _initial_context(clip, embedding, contexts, n_ctx, init, seed)  # (contexts, M, D)
        self.n_ctx = start.shape[1]
        self.ctx = nn.Parameter(start if class_specific else start[0])  # v
        self.mark_start()

        layout = self._layout()
        used = torch.tensor(sorted({0} | {token for prompt in layout for token in prompt if token >= 0}))  # (W,)
        self.register_buffer("words", embedding[used.to(embedding.device)], persistent=False)  # (W, D)
        slots, lengths = self._slots(layout, used)
        encoders = [text_encoder(clip.model, slots, lengths)]
        if max_classes_at_once == "auto":
            max_classes_at_once = classes_that_fit(encoders[0], clip.model)
        self.max_classes_at_once = max_classes_at_once
        if max_classes_at_once is not None:
            groups = zip(slots.split(max_classes_at_once), lengths.split(max_classes_at_once))
            encoders = [text_encoder(clip.model, *group) for group in groups]
        self.encoders = nn.ModuleList(encoders).to(embedding.device)

    # ---------------------------------------------------------------------------------------------- the prompts

    def prompts(self) -> list[str]:
        """How each prompt is laid out, with an X for each context vector.

        K strings: "X X X X cat." (end), "X X cat X X." (middle), "cat X X X X." (front).
        """
        before, after = self._split()
        left, right = "X " * before, " X" * after
        return [f"{left}{name}{right}." for name in clean_classnames(self.classnames)]

    def _split(self) -> tuple[int, int]:
        """How many context vectors stand before and after the name; of an odd M the longer part stands after."""
        before = {"end": self.n_ctx, "middle": self.n_ctx // 2, "front": 0}[self.position]
        return before, self.n_ctx - before

    def _layout(self) -> list[list[int]]:
        """Each prompt as a list: token numbers, and -1, -2, ..., -M where the context vectors stand."""
        tokenizer = self.clip.tokenizer
        if not hasattr(tokenizer, "sot_token_id"):
            raise ValueError(
                f"learned prompts need CLIP's own BPE tokenizer, and {self.clip.name!r} has a "
                f"{type(tokenizer).__name__}: where its words begin and end is not known here"
            )
        sot, eot = tokenizer.sot_token_id, tokenizer.eot_token_id
        before, after = self._split()
        left = [-1 - m for m in range(before)]
        right = [-1 - before - m for m in range(after)]
        layout = []
        for name in clean_classnames(self.classnames):
            length = len(tokenizer.encode(name))
            tokens = tokenizer.encode(name + ".")  # together: "kite (bird of prey)." ends in the token ")."
            layout.append([sot, *left, *tokens[:length], *right, *tokens[length:], eot])
        longest = max(range(len(layout)), key=lambda k: len(layout[k]))
        if len(layout[longest]) > tokenizer.context_length:
            over = len(layout[longest]) - tokenizer.context_length
            raise ValueError(
                f"the prompt of class {self.classnames[longest]!r} needs {len(layout[longest])} positions and the text "
                f"encoder of {self.clip.name!r} has {tokenizer.context_length}: use n_ctx={self.n_ctx - over} or less "
                f"(now {self.n_ctx}), or a shorter name"
                if self.n_ctx > over
                else f"the name of class {self.classnames[longest]!r} alone is too long for the "
                f"{tokenizer.context_length} positions of {self.clip.name!r}: shorten it"
            )
        return layout

    def _slots(self, layout: list[list[int]], used: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Each prompt as rows of the table [ctx; words], (K, L), and its length up to the EOT, (K,)."""
        first_word = self.ctx.numel() // self.ctx.shape[-1]
        row_of = {token: first_word + row for row, token in enumerate(used.tolist())}
        L = self.clip.tokenizer.context_length
        slots = torch.full((len(layout), L), row_of[0])  # after the EOT stands token 0, as in CLIP's own texts
        for k, prompt in enumerate(layout):
            own = self.n_ctx * k if self.class_specific else 0
            slots[k, : len(prompt)] = torch.tensor([row_of[t] if t >= 0 else own - 1 - t for t in prompt])
        return slots, torch.tensor([len(prompt) for prompt in layout])

    # ---------------------------------------------------------------------------------------------- the classifier

    def context(self, image_features: torch.Tensor) -> torch.Tensor:
        """The context for images (B, E): ctx itself, or, in a method that overrides this, (B, *ctx.shape)."""
        return self.ctx

    def table(self, ctx: torch.Tensor | None = None) -> torch.Tensor:
        """What the prompts are made of: the context vectors, then the word embeddings in use, (..., rows, D)."""
        ctx = self.ctx if ctx is None else ctx
        weight = text_tower(self.clip.model).token_embedding.weight
        if (ctx.device, self.ctx.dtype) != (weight.device, weight.dtype):
            raise ValueError(
                f"the learner is {self.ctx.dtype} on {ctx.device}, its CLIP {weight.dtype} on {weight.device}: one of "
                f"them was moved without the other. learner.to(...) moves the learner, learner.clip.to(...) the CLIP, "
                "which all learners on it share."
            )
        rows = ctx.flatten(-3, -2) if self.class_specific else ctx  # (..., M, D) or (..., K x M, D)
        return torch.cat([rows, self.words.expand(*rows.shape[:-2], *self.words.shape)], dim=-2)

    def forward(self, ctx: torch.Tensor | None = None) -> torch.Tensor:
        """Text features w_i = g(t_i) of all classes, (K, E), not normalised, with their graph.

        With another ctx in place of the learner's own, of shape (..., *ctx.shape): (..., K, E), for each of the contexts.
        """
        table = self.table(ctx)
        return torch.cat([encoder(table) for encoder in self.encoders], dim=-2)

    @torch.no_grad()
    def text_features(self) -> torch.Tensor:
        """Normalised text features (K, E), without a graph: for evaluation, once for a whole data set."""
        return normalize(self())

    def logits(self, image_features: torch.Tensor) -> torch.Tensor:
        """(B, E), normalised or not -> (B, K); their softmax is Eq. 3's p(y = i | x)."""
        parts = image_features.split(self.images_at_once or max(1, len(image_features)))
        scale = self.clip.logit_scale
        return torch.cat([class_logits(some, self(self.context(some)), scale) for some in parts])

    def objective(
        self, image_features: torch.Tensor, text_features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What training minimises, here cross entropy, -log p(y | x) of Eq. 3, averaged; and the logits.

        image_features (B, E), text_features (K, E) or (B, K, E), not normalised, labels (B,) -> loss (), logits (B, K).
        """
        logits = class_logits(image_features, text_features, self.clip.logit_scale)
        return nn.functional.cross_entropy(logits, labels), logits

    def loss(self, image_features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The objective of (B, E) features and (B,) labels, with its graph back to the parameters."""
        return self.objective(image_features, self(self.context(image_features)), labels)[0]

    def backward_in_chunks(
        self,
        image_features: torch.Tensor,
        labels: torch.Tensor,
        scale: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """loss(...).backward() in memory for one group of classes: the same gradient, for about 1.5 times the work.

        The logits need all K text features at once, their gradients do not.  So: encode all groups without a graph;
        take the gradient with respect to the features; encode group by group again, with a graph, and push it back.
        `scale` is applied to the loss first (GradScaler.scale).  Returns the loss () and the logits (B, K), detached.
        Raises TypeError where a subclass has a forward of its own.
        """
        self.check_groups()
        with torch.no_grad():
            features = self(self.context(image_features)).to(self.ctx.dtype)  # (K, E), or (B, K, E)
        with torch.autocast(features.device.type, enabled=False):  # Eq. 3 in full precision
            loss, logits = self.objective(image_features, features.requires_grad_(), labels)
            (loss if scale is None else scale(loss)).backward()
        sizes = [encoder.n_classes for encoder in self.encoders]
        for encoder, part in zip(self.encoders, features.grad.split(sizes, dim=-2)):
            encoder(self.table(self.context(image_features))).to(part.dtype).backward(part)
        return loss.detach(), logits.detach()

    def check_groups(self) -> None:
        """TypeError where a subclass has a forward of its own: groups of classes are encoded without it."""
        if type(self).forward is not PromptLearner.forward:
            raise TypeError(
                f"{type(self).__name__} overrides forward, which training in groups of classes (max_classes_at_once) "
                "and in several processes cannot honour: they call the text encoder group by group. Override context "
                "or objective instead, or train at once, in one process, with max_classes_at_once=None."
            )

    # ---------------------------------------------------------------------------------------------- what was learned

    def with_classnames(self, classnames: Sequence[str]) -> PromptLearner:
        """The learned context with other classes.

        A unified context goes with any names.  A class-specific one has a context for the classes it was trained on
        and for no others, so there the names must be among them, else ValueError.
        """
        ctx, classnames = self.ctx.detach(), several_names(classnames)
        if self.class_specific:
            rows = class_rows(self.classnames, classnames)
            if None in rows:
                raise ValueError(
                    f"no context for class {classnames[rows.index(None)]!r}: a class-specific prompt has one context "
                    f"for each of the {len(self.classnames)} classes it was trained on and none for others. Train with "
                    "class_specific=False for a context that goes with any class."
                )
            ctx = ctx[rows]
        other = type(self)(self.clip, classnames, **self.options())
        learned = {**dict(self.named_parameters()), "ctx": ctx}
        for name, parameter in other.named_parameters():
            parameter.data = learned[name].detach().clone()
        other.mark_start()
        return other

    def mark_start(self) -> None:
        """Take the values of now as the start of a training: its digest, `start`, tells trainings from other starts apart.

        A subclass that learns more than ctx calls it when it has made the rest.
        """
        digests = [tensor_digest(parameter) for parameter in self.parameters()]
        whole = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]
        self.start = digests[0] if len(digests) == 1 else whole  # CoOp's is that of ctx

    def options(self) -> dict[str, Any]:
        """The keyword arguments that make another learner like this one.  A subclass adds its own."""
        return {
            "n_ctx": self.n_ctx,
            "class_specific": self.class_specific,
            "position": self.position,
            "max_classes_at_once": self.max_classes_at_once,
        }

    @torch.no_grad()
    def nearest_words(self, k: int = 1) -> list:
        """The k words whose embeddings are nearest to each context vector (the paper's Section 4.3, Table 4).

        M lists of k pairs (BPE token, Euclidean distance); if class-specific, K lists of M such lists.  The paper's
        own reading: they are mostly not meaningful.
        """
        tower, tokenizer = text_tower(self.clip.model), self.clip.tokenizer
        vectors = self.ctx.flatten(0, -2)
        words = tower.token_embedding.weight.to(vectors)
        found = []
        for some in vectors.split(64):
            distance = torch.cdist(some, words, compute_mode="donot_use_mm_for_euclid_dist")  # (64, vocabulary)
            nearest = distance.topk(k, largest=False)
            for distances, tokens in zip(nearest.values.tolist(), nearest.indices.tolist()):
                found.append([(tokenizer.decode([t]).strip(), d) for t, d in zip(tokens, distances)])
        M = self.n_ctx
        return [found[i : i + M] for i in range(0, len(found), M)] if self.class_specific else found


def tensor_digest(tensor: torch.Tensor) -> str:
    """A checksum of the shape and the values, in float32: 16 hexadecimal digits."""
    values = tensor.detach().cpu().float().contiguous()
    return hashlib.sha256(str(tuple(values.shape)).encode() + values.numpy().tobytes()).hexdigest()[:16]


def _initial_context(
    clip: Clip, embedding: torch.Tensor, contexts: int, n_ctx: int, init: str | None, seed: int
) -> torch.Tensor:
    """(contexts, M, D): the embeddings of the words of init, or random vectors N(0, 0.02^2) as the authors start."""
    if init is not None and not isinstance(init, str):
        raise ValueError(f"expected init as one text, got {init!r} ({type(init).__name__})")
    if init:
        if "{" in init or "}" in init or init.rstrip().endswith("."):
            words = init.split("{")[0].strip(" .")
            raise ValueError(
                f"expected init to be the words of the context alone, got {init!r}: the place of the class name and the "
                f"full stop would be learned as words. Take {words or 'a photo of a'!r}; `position` says where the name "
                "stands, and the full stop comes by itself."
            )
        check_marks(init)
        tokens = clip.tokenizer.encode(init.replace("_", " "))
        if not tokens:
            raise ValueError(f'expected init to hold words, such as "a photo of a", got {init!r}')
        return embedding[tokens].repeat(contexts, 1, 1)
    if isinstance(n_ctx, int) and n_ctx < 1:
        raise ValueError(f"expected n_ctx of at least 1, got {n_ctx}: for prompts without context see ZeroShot")
    n_ctx = whole_number(n_ctx, "n_ctx", at_least=1)
    positions = getattr(clip.tokenizer, "context_length", n_ctx)
    if n_ctx > positions:  # before any memory is taken; what else does not fit, the prompts will show
        raise ValueError(
            f"n_ctx={n_ctx:,} is more than the {positions} positions of {clip.name!r}: the paper has 4 and 16"
        )
    # on the CPU: a seed means the same on every device
    generator = torch.Generator().manual_seed(whole_number(seed, "seed"))
    return 0.02 * torch.randn(contexts, n_ctx, embedding.shape[1], generator=generator).to(embedding)
