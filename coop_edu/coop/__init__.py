"""Prompt learning: the learner, its recipe, its training, its files on disk. Nothing in here looks at a test image.

prompt_learner is Eqs. 2 to 4; recipe and trainer are Section 3.1; together trains several small prompts in one pass,
distributed one on several GPUs.  kgcoop and cocoop are two methods that came after.  checkpoints keeps prompts on disk,
in the file of prompt_file; parameters puts values into a learner; authors_files reads the authors'.
"""
