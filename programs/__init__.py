"""Asks: the task as a DSPy program, and an engine as the language model that answers it.

Owns the signature, and the way between program and prompt. The prompt stage optimizes these programs. They never
write model text of their own: every row goes through ``labelwright.prompt``.
"""
