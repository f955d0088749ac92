"""Datasets, few-shot samples, images as tensors, and their features. Nothing in here encodes text or learns.

dataset defines a dataset, and datasets loads one by name: iconnet, or paper, paper_places, paper_splits and imagenet;
split_file reads the authors' format, own your images.  few_shot draws the k-shot samples.  images, batches, features
and feature_cache lead from a file to features; contents hashes files, and labels checks that data and classifier mean
the same classes.
"""
