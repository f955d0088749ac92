"""coop_edu: Context Optimization (CoOp, Zhou et al., IJCV 2022) for CLIP, in readable parts.

The whole public surface stands below, room by room in reading order; what lives in a room, and what never does, its own
first sentence says.  A name is imported when it is first used, so that `import coop_edu` is instant.

>>> import coop_edu
>>> coop_edu.choose_scale.__module__
'coop_edu.scales'
"""

import os
from importlib import import_module

# Threads that wait for each other do so asleep, where nobody has said otherwise: awake, they keep the cores busy, and
# with other work on the machine a small step took eight times its processor time.  torch reads it when imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.2.0"

PUBLIC = {
    "clip.probability": ("normalize", "class_logits", "class_probabilities"),  # Eq. 1
    "clip.models": ("Clip", "load_clip"),
    "clip.prompt_encoder": ("PromptEncoder",),
    "clip.templates": ("fill", "clean_classnames"),
    "clip.zero_shot": ("ZeroShot",),
    "data.dataset": ("Dataset", "Example"),
    "data.datasets": ("DATASETS", "load_dataset"),
    "data.own": ("from_folder", "from_split_file"),
    "data.few_shot": ("sample_few_shot", "sample_train_val"),
    "data.images": ("load_image",),
    "data.features": ("FeatureBank", "Features", "extract_features"),
    "coop.prompt_config": ("PromptConfig",),
    "coop.prompt_learner": ("PromptLearner",),  # Eqs. 2-4
    "coop.kgcoop": ("KgCoOp",),
    "coop.cocoop": ("CoCoOp",),
    "coop.recipe": ("Recipe",),
    "coop.history": ("History", "StopTraining"),
    "coop.trainer": ("Trainer",),
    "coop.together": ("train_together",),
    "coop.checkpoints": ("load_prompt", "save_prompt"),
    "coop.authors_files": ("export_authors", "import_authors"),
    "evaluate.accuracy": ("accuracy", "macro_f1", "per_class_accuracy", "predict"),
    "evaluate.domains": ("domain_generalisation",),
    "evaluate.seeds": ("mean_and_std",),
    "evaluate.linear_probe": ("LinearProbe",),
    "scales": ("Scale", "choose_scale"),  # the dial
    "grid.frame": ("read_results",),
    "grid.parallel": ("side_by_side",),
    "teaching.environment": ("check_environment",),
    "teaching.source": ("show_source",),
    "teaching.widgets": (
        "DomainExplorer",
        "DrawingExplorer",
        "KgCoOpExplorer",
        "LiveTraining",
        "PromptExplorer",
        "SeedExplorer",
        "TemperatureExplorer",
    ),
}
MODULES = {"plots": "plots", "checks": "teaching.checks", "widgets": "teaching.widgets"}  # to be had whole

_HOME = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, *MODULES, "__version__"])


def __getattr__(name: str) -> object:
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
