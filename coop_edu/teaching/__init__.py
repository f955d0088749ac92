"""What only the notebooks need: live explorers, exercise checkers, the environment check. No other room imports it.

widgets has the explorers; checks has a checker for each exercise, built from verdicts; environment checks the machine;
source shows the code of a class; first_drawing finds the drawings that the notebooks show; stored has measured results;
memory counts what the backward pass keeps.
"""
