"""Many rows in several workers, against the plain command: what sharing them out costs.

Owns the commands that are compared and how their processes are watched. ``python -m bench --only bulk_overhead`` calls
it. It opens no test split: rows are those of train and dev, over and over, which is what speed needs.
"""
