"""Measurements that are comparisons of the house's own, of rows that are dealt for a question.

A measurement a file, each a command of its own: it writes rows and a recipe into a folder, has `make compare` do the
rest there, and prints a table of what the report and its kept answers say. Made again in the same folder it goes on.
"""
