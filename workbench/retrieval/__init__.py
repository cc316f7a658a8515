"""What a label is for: is a search better for knowing the category of a query?

Owns what a corpus is, how it is searched with a label and without, what a wrong label costs and how accurate labels
must be; the verb ``retrieval`` calls it. It never trains a classifier, never chooses a setting on the queries that it
measures, and never says that a label helps where the interval holds 0.
"""
