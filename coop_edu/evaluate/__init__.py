"""How good a classifier is, and the linear probe to compare it with. Nothing in here knows how a prompt was learned.

accuracy is for a data set's own test images, domains for other ones; seeds makes a mean of several runs.  linear_probe
is the paper's baseline.
"""
