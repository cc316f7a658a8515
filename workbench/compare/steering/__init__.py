"""Rows that ask for a label: what a sentence at a row's end makes of a candidate's answer.

Owns the endings, which label each row asks for, and the shares that the report shows. A candidate's process and
``bench.persuasion`` call it. It trains nothing, and compares no candidates.
"""
