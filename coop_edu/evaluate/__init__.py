"""How good a classifier is, and the linear probe to compare it with. Nothing in here knows how a prompt was learned.

accuracy measures a classifier on a dataset's test images, and domains on other datasets; tables has its predictions
and what it mixes up; seeds takes means over runs.
linear_probe is the paper's baseline.
"""
