"""Asks: the task as a DSPy program, an engine as the language model that answers it, and larger models in their words.

Owns the signature, and the way between program and prompt, which the prompt stage optimizes; and ``asking``, questions
to a larger model with its answers on disk, for who has it write or judge rows. Programs never write model text of their
own: every row goes through ``labelwright.prompt``.
"""
