"""Prompt learning: the learner, its recipe, its training, its files on disk. Nothing in here looks at a test image.

plain is Eqs. 2 to 4 as the paper writes them; prompt_learner is the same and fast, with its options and the order of
its tokens in prompt_layout, and its start in context.  recipe is Section 4.1 and trainer Section 3.2: training_data is
what they learn from, history what happened.  together trains several small prompts at once.  kgcoop and cocoop are two
methods that came after.  checkpoints keeps prompts on disk, in the file of prompt_file; authors_files reads the
authors'.
"""
