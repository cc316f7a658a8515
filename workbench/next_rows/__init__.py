"""Which rows to label next: a pool in, a sheet for people out, and their labels back as rows that are taught.

Owns how a pool is read, which rows are chosen and why, what was asked and what came back; the verb ``next-rows`` calls
it. It never shows people the classifier's guess, never changes a file of the data, and never reads the test split: what
it says of accuracy comes from rows that were drawn by chance.
"""
