"""Exercise checkers: pass your function to one, and it answers *not attempted*, *wrong, because ...* or *right*.

A checker calls the function on small inputs from a fixed seed and compares with the right answer.  If they differ, it
compares with the answers of common mistakes, so that it can name yours.  A function that still raises
NotImplementedError counts as not attempted.  With the environment variable COOP_EDU_STRICT=1 everything but *right* is
an error; the test run solves all exercises that way.  The solutions are in the notebooks; `finished` has those on which
later cells build.
"""

from coop_edu.teaching.checks.building import (
    check_class_specific,
    check_encoding,
    check_group_gradient,
    check_prompt_learner,
)
from coop_edu.teaching.checks.larger import check_gradient_in_groups, check_search
from coop_edu.teaching.checks.later import (
    check_control,
    check_domain,
    check_entropy_method,
    check_image_context,
    check_most_confused,
    check_split_move,
    check_tied,
)
from coop_edu.teaching.checks.loop import check_kg_loss, check_loss, check_step, check_training_loop
from coop_edu.teaching.checks.prompts import (
    check_class_probabilities,
    check_cosine_gap,
    check_leave_one_out,
    check_or_none,
    check_prompt_assembly,
    check_prompts,
    check_weight_matrix,
)
from coop_edu.teaching.checks.results import (
    check_average,
    check_honest_report,
    check_images_needed,
    check_two_ways,
)
from coop_edu.teaching.checks.solutions import finished
from coop_edu.teaching.checks.training import check_learning_rate, check_sampler

__all__ = [
    "check_average",
    "check_class_probabilities",
    "check_class_specific",
    "check_control",
    "check_cosine_gap",
    "check_domain",
    "check_encoding",
    "check_entropy_method",
    "check_gradient_in_groups",
    "check_group_gradient",
    "check_honest_report",
    "check_image_context",
    "check_images_needed",
    "check_kg_loss",
    "check_learning_rate",
    "check_leave_one_out",
    "check_loss",
    "check_most_confused",
    "check_or_none",
    "check_prompt_assembly",
    "check_prompt_learner",
    "check_prompts",
    "check_sampler",
    "check_search",
    "check_split_move",
    "check_step",
    "check_tied",
    "check_training_loop",
    "check_two_ways",
    "check_weight_matrix",
    "finished",
]
