"""Sentence encoders: text to vector, by a transformer or by static embeddings.

Owns opening them by name, one of each a process, and what becomes of texts that are longer than they read. Predictors,
baselines and the look-up of neighbours call ``sentence_encoder.open_encoder``. They never train, and know no labels.
"""
