"""One format of rows a file: CSV, JSON, Parquet and Arrow, Excel; and what text and packed files have in common.

Owns what is particular to a format: delimiters, quotes, encodings, sheets, compression. ``labelwright.data.records``
and ``labelwright.data.sources`` call it. It never decides what a column means, and never repairs a row.
"""
