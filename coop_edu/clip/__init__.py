"""CLIP, frozen: images and texts to features, features to probabilities, hand-written prompts. Nothing in here learns.

probability is Eq. 1; models loads a CLIP, with weights and transforms; templates and zero_shot are the hand-written
prompts.  prompt_encoder encodes many prompts at once, exactly; text_encoding fits it to each CLIP.  weights reads files
of weights, tensor_file those of torch, without running them; transforms crops images.  fingerprint tells one CLIP from
another of the same name.
"""
