"""Documents with categories, queries with the documents that are relevant to each: read, checked, and told apart.

Owns what is wrong with such files, which queries may choose a setting, and which texts the bundle was taught;
``workbench.retrieval.run`` calls it. It never searches, and never leaves a query or a document out by itself.
"""
