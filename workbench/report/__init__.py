"""The comparison as people read it: report.json, report.md, report.html and the leaderboard on the terminal.

Owns how numbers and names are worded and laid out. The comparison calls it when all candidates are scored. It never
measures or decides: what it shows, the leaderboard and the verdict have found.
"""
