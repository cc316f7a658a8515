"""What was found, as one value, and the faces of it: Markdown, JSON, a picture.

Owns their form and their words; ``workbench.retrieval.run`` calls it. It computes nothing that the result does not
hold, and makes no text of a user's into markup.
"""
