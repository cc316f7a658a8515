"""What is classified: labels, tasks, examples and splits, and how people's files become them.

Owns every format that rows come in (JSONL, CSV, Parquet, arrays of scikit-learn), what is wrong with them, and when
two spellings are one label. Everything in the house that meets rows calls it. It never sees a prompt, a model or a
probability, and never repairs a row without saying so.
"""
