"""The comparison: every candidate trained, calibrated, scored on the same rows; the leaderboard and the verdict.

Owns the one function that reads the test split, the jobs of a candidate and where their results are kept. The verb
``compare`` calls it; the report shows what it found. It never words a number and never picks a candidate that the rows
do not show to be as good.
"""
