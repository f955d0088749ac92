"""coop_edu: Context Optimization (CoOp, Zhou et al., IJCV 2022) for CLIP, in readable parts.

The whole public surface stands below, file by file in reading order. A name is imported when it is first used,
so that `import coop_edu` is instant; a module can be had by name too (`coop_edu.plots`).

>>> import coop_edu
>>> coop_edu.choose_scale.__module__
'coop_edu.scales'
"""

from importlib import import_module

__version__ = "0.1.0"

PUBLIC = {
    "probability": ("normalize", "class_logits", "class_probabilities"),  # Eq. 1
    "clip_models": ("Clip", "load_clip"),
    "templates": ("TEMPLATES", "ZeroShot", "fill", "clean_classnames"),
    "datasets": ("DATASETS", "Dataset", "Example", "from_folder", "load_dataset"),
    "prompt_encoder": ("PromptEncoder",),
    "prompt_learner": ("PromptLearner",),  # Eqs. 2-4
    "few_shot": ("sample_few_shot", "sample_train_val"),
    "pictures": ("load_image",),
    "features": ("FeatureBank", "Features", "extract_features"),
    "recipe": ("Recipe",),
    "trainer": ("History", "Trainer"),
    "parallel": ("side_by_side", "train_together"),
    "evaluation": ("accuracy", "domain_generalisation", "mean_and_std", "per_class_accuracy", "predict"),
    "linear_probe": ("LinearProbe",),
    "checkpoints": ("load_prompt", "save_prompt"),
    "scales": ("Scale", "choose_scale"),  # the dial
    "environment": ("check_environment",),
    "plots": (),  # every figure
    "widgets": ("LiveTraining", "PromptExplorer", "TemperatureExplorer"),
    "checks": (),  # exercise checkers
}

_HOME = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, *PUBLIC, "__version__"])


def __getattr__(name: str) -> object:
    """Import the module that owns `name` on first use (PEP 562)."""
    if name in PUBLIC:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; dir({__name__}) lists what it has"
        )
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
