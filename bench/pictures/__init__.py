"""Pictures: how well fields and labels are read from screenshots whose values are known.

`python -m bench.pictures` renders pages in a real browser, seeded: ``pages`` says what is on them, ``rendering`` shows
them, ``fields`` compares what was extracted, ``questions`` what was classified. Nothing here reads the test split.
"""
