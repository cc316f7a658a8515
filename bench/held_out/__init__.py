"""Rows that took no part: what holds on a style of writing that was not taught, what embeddings are worth there, and
what stages are worth one behind another.

A measurement a file, each a command of its own. Folds are of train and dev, whole families at a time; a test file is
never read, and nothing is chosen on the rows held out.
"""
