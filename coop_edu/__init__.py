"""coop_edu: Context Optimization (CoOp, Zhou et al., IJCV 2022) for CLIP, in readable parts.

All public names stand below, by sub-package in reading order.  The first sentence of each sub-package says what is in
it.  A name is imported when it is first used, so that `import coop_edu` is instant.  __init__.pyi has the same names
for type checkers and editors, which run nothing.

>>> import coop_edu
>>> coop_edu.choose_scale.__module__
'coop_edu.scales'
"""

import os
from importlib import import_module
from typing import Any

# Waiting OpenMP threads sleep instead of spin.  On a busy machine, spinning cost a small step eight times its processor
# time.  torch reads this when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.3.0"

PUBLIC = {
    "clip.probability": ("normalize", "class_logits", "class_probabilities"),  # Eq. 1
    "clip.models": ("Clip", "load_clip"),
    "clip.prompt_encoder": ("PromptEncoder",),
    "clip.templates": ("fill", "clean_classnames"),
    "clip.zero_shot": ("ZeroShot",),
    "data.dataset": ("Dataset", "Example"),
    "data.datasets": ("DATASETS", "load_dataset"),
    "data.own": ("from_folder", "from_pairs", "from_split_file", "suggest_names"),
    "data.few_shot": ("sample_few_shot", "sample_train_val"),
    "data.images": ("load_image",),
    "data.features": ("FeatureBank", "Features", "extract_features"),
    "coop.prompt_layout": ("PromptConfig",),
    "coop.plain": ("PlainPromptLearner",),  # Eqs. 2-4, as the paper writes them
    "coop.prompt_learner": ("PromptLearner",),  # the same, fast
    "coop.kgcoop": ("KgCoOp",),
    "coop.cocoop": ("CoCoOp",),
    "coop.recipe": ("Recipe",),
    "coop.history": ("History", "StopTraining"),
    "coop.trainer": ("Trainer",),
    "coop.together": ("train_together",),
    "coop.checkpoints": ("load_prompt", "save_prompt"),
    "coop.authors_files": ("export_authors", "import_authors"),
    "evaluate.accuracy": ("accuracy", "macro_f1", "per_class_accuracy", "predict"),
    "evaluate.tables": ("confusion_matrix", "predict_table"),
    "evaluate.domains": ("domain_generalisation",),
    "evaluate.seeds": ("both_errors", "mean_and_interval"),
    "evaluate.linear_probe": ("LinearProbe",),
    "scales": ("Scale", "choose_scale"),  # the dial
    "grid.frame": ("read_results",),
    "grid.parallel": ("side_by_side",),
    "teaching.environment": ("check_environment",),
    "teaching.source": ("show_source",),
    "teaching.widgets": (
        "DrawingExplorer",
        "LiveTraining",
        "PromptExplorer",
    ),
}
MODULES = {"plots": "plots", "checks": "teaching.checks", "widgets": "teaching.widgets"}  # to be had whole

_HOME = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, *MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import the module that owns `name` on first use (PEP 562)."""
    if name in MODULES:
        return import_module(f"{__name__}.{MODULES[name]}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; dir({__name__}) lists what it has")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
