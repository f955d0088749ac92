"""Exercise checkers: hand one your function, and it answers *not attempted*, *wrong, because ...* or *right*.

A checker calls the function on small inputs made from a fixed seed, compares with the right answer, and, where they
differ, with the answers of common mistakes, so that it can name the one that was made. tests/test_checks.py holds each
checker against a zoo of wrong solutions. A function that returns None or raises NotImplementedError was not attempted.
With the environment variable COOP_EDU_STRICT=1 everything but *right* is an error; the test run solves all exercises
that way.

Leaves out: the checkers (check_prompts.py, check_training.py), how a verdict comes about (verdicts.py), and the
solutions. They stand in the notebooks, and the library has each of them.
"""

from coop_edu.teaching.check_prompts import (
    check_class_probabilities,
    check_ensemble,
    check_parameter_count,
    check_prompt_assembly,
    check_prompts,
)
from coop_edu.teaching.check_training import (
    check_average,
    check_learning_rate,
    check_sampler,
    check_subset_accuracy,
    check_training_steps,
)

__all__ = [
    "check_average",
    "check_class_probabilities",
    "check_ensemble",
    "check_learning_rate",
    "check_parameter_count",
    "check_prompt_assembly",
    "check_prompts",
    "check_sampler",
    "check_subset_accuracy",
    "check_training_steps",
]
