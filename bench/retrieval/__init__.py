"""Bench of retrieval: what a label brings to searches, on corpora that are made of labelled questions.

``python -m bench.retrieval.measure`` prints the numbers of docs/decide/retrieval.md. Queries are questions of a test
file: nothing is chosen on them but the weight of a boost, and that on some that are not measured. Nothing imports it.
"""
