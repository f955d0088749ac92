"""coop_edu: Context Optimization (CoOp, Zhou et al., IJCV 2022) for CLIP, in readable parts.

All public names stand below, by sub-package in reading order.  The first sentence of each sub-package says what is in
it.  A name is imported when it is first used, so that `import coop_edu` is instant.

>>> import coop_edu
>>> coop_edu.choose_scale.__module__
'coop_edu.scales'
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "coop.prompt_config": ("PromptConfig",),
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

if TYPE_CHECKING:  # the same for type checkers and editors, which run nothing; a test holds the two together
    from coop_edu import plots as plots
    from coop_edu.clip.models import Clip as Clip, load_clip as load_clip
    from coop_edu.clip.probability import (
        class_logits as class_logits,
        class_probabilities as class_probabilities,
        normalize as normalize,
    )
    from coop_edu.clip.prompt_encoder import PromptEncoder as PromptEncoder
    from coop_edu.clip.templates import clean_classnames as clean_classnames, fill as fill
    from coop_edu.clip.zero_shot import ZeroShot as ZeroShot
    from coop_edu.coop.authors_files import export_authors as export_authors, import_authors as import_authors
    from coop_edu.coop.checkpoints import load_prompt as load_prompt, save_prompt as save_prompt
    from coop_edu.coop.cocoop import CoCoOp as CoCoOp
    from coop_edu.coop.history import History as History, StopTraining as StopTraining
    from coop_edu.coop.kgcoop import KgCoOp as KgCoOp
    from coop_edu.coop.plain import PlainPromptLearner as PlainPromptLearner
    from coop_edu.coop.prompt_config import PromptConfig as PromptConfig
    from coop_edu.coop.prompt_learner import PromptLearner as PromptLearner
    from coop_edu.coop.recipe import Recipe as Recipe
    from coop_edu.coop.together import train_together as train_together
    from coop_edu.coop.trainer import Trainer as Trainer
    from coop_edu.data.dataset import Dataset as Dataset, Example as Example
    from coop_edu.data.datasets import DATASETS as DATASETS, load_dataset as load_dataset
    from coop_edu.data.features import (
        FeatureBank as FeatureBank,
        Features as Features,
        extract_features as extract_features,
    )
    from coop_edu.data.few_shot import sample_few_shot as sample_few_shot, sample_train_val as sample_train_val
    from coop_edu.data.images import load_image as load_image
    from coop_edu.data.own import (
        from_folder as from_folder,
        from_pairs as from_pairs,
        from_split_file as from_split_file,
        suggest_names as suggest_names,
    )
    from coop_edu.evaluate.accuracy import (
        accuracy as accuracy,
        macro_f1 as macro_f1,
        per_class_accuracy as per_class_accuracy,
        predict as predict,
    )
    from coop_edu.evaluate.domains import domain_generalisation as domain_generalisation
    from coop_edu.evaluate.linear_probe import LinearProbe as LinearProbe
    from coop_edu.evaluate.seeds import mean_and_std as mean_and_std
    from coop_edu.evaluate.tables import confusion_matrix as confusion_matrix, predict_table as predict_table
    from coop_edu.grid.frame import read_results as read_results
    from coop_edu.grid.parallel import side_by_side as side_by_side
    from coop_edu.scales import Scale as Scale, choose_scale as choose_scale
    from coop_edu.teaching import checks as checks, widgets as widgets
    from coop_edu.teaching.environment import check_environment as check_environment
    from coop_edu.teaching.source import show_source as show_source
    from coop_edu.teaching.widgets import (
        DomainExplorer as DomainExplorer,
        DrawingExplorer as DrawingExplorer,
        KgCoOpExplorer as KgCoOpExplorer,
        LiveTraining as LiveTraining,
        PromptExplorer as PromptExplorer,
        SeedExplorer as SeedExplorer,
        TemperatureExplorer as TemperatureExplorer,
    )
else:

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
