"""What only the notebooks need: live explorers, exercise checkers, the environment check. No other room imports it.

widgets are the explorers; checks/ has a checker for each exercise, made of verdicts;
environment looks at the machine; source shows what a class is made of,
first_drawing finds what notebook 00 opens with.
"""
