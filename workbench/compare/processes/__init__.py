"""A candidate's process: what is asked of it, what it says, and that it is warm.

Called by ``workbench.compare.score``. Decides nothing about numbers (``workbench.compare.measure``) nor about which
jobs there are (``workbench.compare.jobs``).
"""
