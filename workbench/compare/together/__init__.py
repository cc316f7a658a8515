"""Candidates made of candidates: ensembles and cascades, chosen on what their members' jobs left.

Owns which candidates are made of which, the choice of weights (on dev) and of thresholds (on calib), and the job that
measures one. ``workbench.compare.jobs`` asks for names, the candidate's process runs the job. It trains nothing, and
never reads test answers but to measure what was chosen without them.
"""
