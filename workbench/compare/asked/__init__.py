"""What a comparison measures besides where more is asked than one label of a plain list.

Called once the leaderboard stands, by who makes the report of it; the statistics are ``labelwright.statistics``'. It
changes no verdict: candidates are ranked by what all tasks have.
"""
