"""Searches of candidates' settings: trials on dev, and what was found, kept beside the candidates' results.

Called by ``workbench.compare.score`` before a ``searched-NAME`` candidate is trained, which then is a candidate as any.
A trial is a job of a candidate's process; it never looks at test rows. Optuna is imported in ``study`` alone.
"""
