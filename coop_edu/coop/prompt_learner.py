"""CoOp: the words around the class name become vectors, and the vectors are learned.

The paper's Section 3.2.  A prompt is M context vectors v and the tokens of the class name:

    t = [v_1] ... [v_M] [CLASS] .                                        Eq. 2

The text encoder g turns each prompt into w_i = g(t_i).  Eq. 1 with these w_i is Eq. 3.  All classes share the context
("unified", UC) or each class has its own ("class-specific", CSC).  Training changes the M x D (or K x M x D) numbers of
`ctx` and nothing else.

For a method of your own, subclass this and override `objective` (the loss) or `context` (if it depends on the image).
Every way of training calls both.  Store each hyperparameter as an attribute of the same name: it is saved with the
prompt.

plain.py is the same in 60 lines, with torch.cat and CLIP's own text encoder.  Here the prompts are an index into one
table of vectors (prompt_layout.py), so that g computes what they share once (clip/prompt_encoder.py).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coop_edu.clip.fingerprint import tensor_digest
from coop_edu.clip.models import Clip
from coop_edu.clip.probability import class_logits, normalize
from coop_edu.clip.templates import class_rows, clean_classnames, several_names
from coop_edu.clip.text_encoding import classes_that_fit, text_encoder, text_tower
from coop_edu.coop.context import initial_context, nearest_words
from coop_edu.coop.prompt_layout import PromptConfig, slots_of, token_layout, words_of
from coop_edu.records import whole_number

NOT_KEPT = ("clip", "classnames", "config", "init", "seed")  # passed explicitly, or used only to initialise ctx


class PromptLearner(nn.Module):
    """A classifier with a learned context (paper's Section 3.2).

    clip: from load_clip, stays frozen; classnames: K names; n_ctx: the context length M; class_specific: a context for
    each class; position: of the class name, "end", "middle" or "front"; init: words to start from, such as
    "a photo of a" (their number of tokens then replaces n_ctx), else random vectors drawn with `seed`; config: these
    five as a PromptConfig.  max_classes_at_once: encode classes in groups of this size to save memory; None: all at
    once; "auto": by the free memory.

    ctx: (M, D), or (K, M, D) if class-specific, the only parameter.
    Raises ValueError for an unknown position, empty or repeated names, a single text for names, an init that is a
    template with {} or a full stop, and a prompt that does not fit; later, if learner and CLIP are on different devices
    or have different dtypes.

        learner = PromptLearner(load_clip("mini"), ["cat", "rocket"], n_ctx=4)
        learner.prompts()                                  # ["X X X X cat.", "X X X X rocket."]
        learner.loss(image_features, labels).backward()    # learner.ctx.grad
    """

    # Images per pass in logits() if each image has its own context; None: all at once.
    images_at_once: int | None = None
    words: Float[Tensor, "W D"]  # the embeddings of the tokens in use
    encoders: nn.ModuleList

    def __init__(
        self,
        clip: Clip,
        classnames: Sequence[str],
        config: PromptConfig | None = None,
        *,
        n_ctx: int = 16,
        class_specific: bool = False,
        position: str = "end",
        init: str | None = None,
        seed: int = 0,
        max_classes_at_once: int | str | None = "auto",
    ) -> None:
        super().__init__()
        fields = PromptConfig(n_ctx, class_specific, position, init, seed)
        if config is not None and fields != PromptConfig():
            raise TypeError(f"give either config or its fields, not both: got {config} and {fields}")
        config = config or fields
        if max_classes_at_once not in ("auto", None):
            otherwise = 'None for all, or "auto"'
            max_classes_at_once = whole_number(
                max_classes_at_once, "max_classes_at_once", at_least=1, otherwise=otherwise
            )
        self.clip = clip  # not a torch module: its weights are not this module's parameters
        self.classnames = several_names(classnames)
        start = initial_context(clip, len(self.classnames) if config.class_specific else 1, config)
        self.config = replace(config, n_ctx=start.shape[1])
        self.ctx = nn.Parameter(start if config.class_specific else start[0])  # v
        self.mark_start()

        # Prompts are row numbers into one table [ctx; words in use]: the encoder then sees which positions are equal.
        layout = token_layout(clip, self.classnames, self.config)
        words = words_of(layout)
        embedding = text_tower(clip.model).token_embedding.weight.detach()  # (vocabulary, D)
        # persistent=False: these are CLIP's own vectors, not worth saving with the prompt.
        self.register_buffer("words", embedding[words.to(embedding.device)], persistent=False)
        slots, lengths = slots_of(layout, words, self.config, clip.tokenizer.context_length)
        encoders = [text_encoder(clip.model, slots, lengths)]
        if isinstance(max_classes_at_once, str):  # "auto"
            max_classes_at_once = classes_that_fit(encoders[0], clip.model, self.images_at_once or 1)
        self.max_classes_at_once = max_classes_at_once
        if max_classes_at_once is not None:
            groups = zip(slots.split(max_classes_at_once), lengths.split(max_classes_at_once))
            encoders = [text_encoder(clip.model, *group) for group in groups]
        self.encoders = nn.ModuleList(encoders).to(embedding.device)

    @property
    def n_ctx(self) -> int:
        return self.config.n_ctx

    @property
    def class_specific(self) -> bool:
        return self.config.class_specific

    @property
    def position(self) -> str:
        return self.config.position

    # ---------------------------------------------------------------------------------------------- the prompts

    def prompts(self) -> list[str]:
        """How each prompt is laid out, with an X for each context vector.

        K strings: "X X X X cat." (end), "X X cat X X." (middle), "cat X X X X." (front).
        """
        before, after = self.config.before_and_after()
        left, right = "X " * before, " X" * after
        return [f"{left}{name}{right}." for name in clean_classnames(self.classnames)]

    # ---------------------------------------------------------------------------------------------- the classifier

    def context(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "... M D"]:
        """The context for these images: ctx itself, or, in a method that overrides this, (B, *ctx.shape)."""
        return self.ctx

    def table(self, ctx: Float[Tensor, "... M D"] | None = None) -> Float[Tensor, "... rows D"]:
        """What the prompts are made of: the context vectors, then the word embeddings in use."""
        ctx = self.ctx if ctx is None else ctx
        weight = text_tower(self.clip.model).token_embedding.weight
        if (ctx.device, self.ctx.dtype) != (weight.device, weight.dtype):
            raise ValueError(
                f"the learner is {self.ctx.dtype} on {ctx.device}, its CLIP {weight.dtype} on {weight.device}: one of "
                f"them was moved without the other. learner.to(...) moves the learner, learner.clip.to(...) the CLIP, "
                "which all learners on it share."
            )
        # Class-specific: K contexts of M vectors become K x M rows, in the order that slots_of counts.
        rows = ctx.flatten(-3, -2) if self.class_specific else ctx  # (..., M, D) or (..., K x M, D)
        return torch.cat([rows, self.words.expand(*rows.shape[:-2], *self.words.shape)], dim=-2)

    def forward(self, ctx: Float[Tensor, "... M D"] | None = None) -> Float[Tensor, "... K E"]:
        """Text features w_i = g(t_i) of all classes, (K, E), not normalised, with their graph.

        ctx: used instead of self.ctx, of shape (..., *ctx.shape); the result is then (..., K, E).
        """
        table = self.table(ctx)
        return torch.cat([encoder(table) for encoder in self.encoders], dim=-2)

    @torch.no_grad()
    def text_features(self) -> Float[Tensor, "K E"]:
        """Normalised text features (K, E), without a graph: for evaluation, once for a whole dataset."""
        return normalize(self())

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """Logits whose softmax is Eq. 3's p(y = i | x).  The features may be normalised or not."""
        parts = image_features.split(self.images_at_once or max(1, len(image_features)))
        scale = self.clip.logit_scale
        return torch.cat([class_logits(part, self(self.context(part)), scale) for part in parts])

    def objective(
        self,
        image_features: Float[Tensor, "B E"],
        text_features: Float[Tensor, "... K E"],
        labels: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B K"]]:
        """What training minimises, here cross entropy, -log p(y | x) of Eq. 3, averaged; and the logits.

        text_features are (K, E), or (B, K, E) where each image has prompts of its own; nothing is normalised.
        """
        logits = class_logits(image_features, text_features, self.clip.logit_scale)
        return nn.functional.cross_entropy(logits, labels), logits

    def loss(self, image_features: Float[Tensor, "B E"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The objective, with its graph back to the parameters."""
        return self.objective(image_features, self(self.context(image_features)), labels)[0]

    def backward_in_chunks(
        self,
        image_features: Float[Tensor, "B E"],
        labels: Int[Tensor, " B"],
        scale: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B K"]]:
        """loss(...).backward() with the memory of one group of classes: the same gradient, for 1.5 times the work.

        The logits need all K text features at once, their gradients do not.  So: encode all groups without a graph;
        take the gradient with respect to the features; encode group by group again, with a graph, and push it back.
        `scale` is applied to the loss first (GradScaler.scale).  Returns the loss and the logits, detached.
        Raises TypeError where a subclass has a forward of its own.
        """
        self.check_groups()
        with torch.no_grad():
            # to(...): autocast may give bfloat16, and the loss needs full precision.
            features = self(self.context(image_features)).to(self.ctx.dtype)  # (K, E), or (B, K, E)
        with torch.autocast(features.device.type, enabled=False):  # Eq. 3 in full precision
            # features is a leaf here: backward() stops at it and leaves d loss / d features in .grad.
            loss, logits = self.objective(image_features, features.requires_grad_(), labels)
            (loss if scale is None else scale(loss)).backward()
        sizes = [encoder.n_classes for encoder in self.encoders]
        # Chain rule, group by group: encode again with a graph, and push d loss / d w_group back to ctx.
        for encoder, part in zip(self.encoders, features.grad.split(sizes, dim=-2)):
            encoder(self.table(self.context(image_features))).to(part.dtype).backward(part)
        return loss.detach(), logits.detach()

    def check_groups(self) -> None:
        """TypeError where a subclass has a forward of its own: groups of classes are encoded without it."""
        if type(self).forward is not PromptLearner.forward:
            raise TypeError(
                f"{type(self).__name__} overrides forward, and training in groups of classes calls the text encoder "
                "without it. Override context or objective instead, or train with max_classes_at_once=None."
            )

    # ---------------------------------------------------------------------------------------------- what was learned

    def with_classnames(self, classnames: Sequence[str]) -> PromptLearner:
        """The learned context with other classes; ValueError if a class-specific one has no context for one of them."""
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
        copy = type(self)(self.clip, classnames, **self.options())
        learned = {**dict(self.named_parameters()), "ctx": ctx}
        for name, parameter in copy.named_parameters():
            parameter.data = learned[name].detach().clone()
        copy.mark_start()
        return copy

    def mark_start(self) -> None:
        """Set `start`, a hash of the initial parameters, so that a checkpoint of another start is not resumed.

        A subclass that learns more than ctx calls it after creating the rest.
        """
        digests = [tensor_digest(parameter) for parameter in self.parameters()]
        joined = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]
        self.start = digests[0] if len(digests) == 1 else joined  # of ctx alone in files of CoOp

    def options(self) -> dict[str, Any]:
        """The keyword arguments that make another learner like this one.

        For a subclass, each parameter of `__init__` is read from the attribute of the same name.  Raises TypeError if
        there is no such attribute, because a file without it would load with the default.
        """
        options = {name: getattr(self, name) for name in ("n_ctx", "class_specific", "position", "max_classes_at_once")}
        # Classes below PromptLearner only: their hyperparameters are not in PromptConfig.
        below = type(self).__mro__[: type(self).__mro__.index(PromptLearner)]
        for kind in (kind for kind in below if "__init__" in vars(kind)):
            for name, parameter in inspect.signature(kind).parameters.items():
                if name in NOT_KEPT or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    continue
                if not hasattr(self, name):
                    raise TypeError(
                        f"{kind.__name__}.__init__ takes {name!r}, and the learner has no attribute of that name: "
                        f"write self.{name} = {name} there, so that files and copies keep its value."
                    )
                options[name] = getattr(self, name)
        return options

    def nearest_words(self, k: int = 1) -> list:
        """The k words whose embeddings are nearest to each context vector (the paper's Section 4.3, Table 4).

        M lists of k pairs (BPE token, distance); if class-specific, K such lists.  The paper: mostly not meaningful.
        """
        words, M = nearest_words(self.clip, self.ctx.detach().flatten(0, -2), k), self.n_ctx
        return [words[i : i + M] for i in range(0, len(words), M)] if self.class_specific else words
