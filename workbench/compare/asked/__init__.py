"""What the comparison says beside its numbers of single answers: of whole rows, of levels in order, of trees.

The leaderboard, and who makes its report, call it where a task has such labels or rows. Statistics only, on what
candidates answered to the test rows; it scores nothing, ranks nobody, and makes no words.
"""
