"""Answering: the packed scorer against free generation, llama.cpp, vLLM and the machine's own arithmetic.

Each file holds parts that ``bench.__main__`` lists by name and calls with a ``Setting``. Both sides always answer the
same rows, and nothing here trains or writes a file of results.
"""
