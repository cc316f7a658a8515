"""Rows with several answers: what candidates are worth where a message asks about more than one thing.

A measurement a file, each a command of its own, over rows that it makes of what is at hand. What is made is written to
a folder that is named, and is no part of the project.
"""
