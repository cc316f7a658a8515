"""A classifier as files: the bundle's type, its writing and reading, its card, its golden rows.

Owns the format on disk and its version. Stages hand bundles on, the workbench keeps and exports them, the classifier
and the command line open them. Loading one never runs code from it and never loads a model: engines are opened by
who asks for scores.
"""
