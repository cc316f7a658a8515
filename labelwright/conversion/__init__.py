"""Leaving the house: a bundle as files that another runtime reads, and proof that it is still the same classifier.

Owns what targets there are, how a converted folder is written and opened, and the certificate: rows scored by the
bundle here and by the target there. The command line and the workbench call it. A target's own file knows that
target's library and nothing of the others; nothing here tunes, and nothing that is written holds code to be run.
"""
