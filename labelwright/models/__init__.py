"""From a model's name to its files: which names are allowed, where files come from, what form they take.

Owns fetching, the cache folder, merging of adapters and the conversion to GGUF. Engines, sentence encoders and the
weight stages load through it. It never scores a row, and never runs code that comes with a model.
"""
