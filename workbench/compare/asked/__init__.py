"""Rows of which several points are asked: what the comparison says of them beside its numbers of single answers.

The leaderboard calls it where a task has such rows. Statistics only, on what candidates answered to the test rows; it
scores nothing, ranks nobody, and makes no words.
"""
