"""Data sets, few-shot samples, images as tensors, and their features. Nothing in here knows what a prompt is.

dataset says what a data set is, datasets loads one by name: iconnet, or paper, paper_places, paper_splits and imagenet,
with split_file for the authors' format; own makes one of your images.  few_shot samples; images, batches, features and
feature_cache lead from a file to features, and labels says whether data and classifier mean the same classes.
"""
