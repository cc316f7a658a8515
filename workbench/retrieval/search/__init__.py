"""Searches: a score for every document, the best of each category, and what a ranking is worth.

Owns BM25, embeddings and their fusion, what a label does to scores, and the metrics of rankings;
``workbench.retrieval.measure`` calls it. It never sees a classifier, only labels and their probabilities.
"""
