"""A first recipe for a person's own rows: what a file holds is found out, said, and written down.

Owns what columns are taken for, what is worth saying of the rows, and what a recipe proposes for so many of them. The
verb ``new`` calls it. It never decides anything that the recipe does not say, reads rows by no other way than a run
does, and never writes over a file that it did not make.
"""
