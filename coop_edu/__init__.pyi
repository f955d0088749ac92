"""The public names, for type checkers and editors; __init__.py imports each on first use."""

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
from coop_edu.coop.prompt_layout import PromptConfig as PromptConfig
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
from coop_edu.evaluate.seeds import both_errors as both_errors, mean_and_interval as mean_and_interval
from coop_edu.evaluate.tables import confusion_matrix as confusion_matrix, predict_table as predict_table
from coop_edu.grid.frame import read_results as read_results
from coop_edu.grid.parallel import side_by_side as side_by_side
from coop_edu.scales import Scale as Scale, choose_scale as choose_scale
from coop_edu.teaching import checks as checks, widgets as widgets
from coop_edu.teaching.environment import check_environment as check_environment
from coop_edu.teaching.source import show_source as show_source
from coop_edu.teaching.widgets import (
    DrawingExplorer as DrawingExplorer,
    LiveTraining as LiveTraining,
    PromptExplorer as PromptExplorer,
)

__version__: str
PUBLIC: dict[str, tuple[str, ...]]
MODULES: dict[str, str]
