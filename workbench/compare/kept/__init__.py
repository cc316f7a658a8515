"""What a comparison keeps, read back: a candidate from the files that its jobs left, and types of what it learnt.

Called by ``workbench.compare.score`` and the leaderboard. Runs nothing and writes nothing; where files lie
``workbench.compare.jobs`` says.
"""
