"""The report's pictures: what the candidates reach, what they cost, how they learn, where they are wrong.

Owns colours, markers and the places of names. The report asks for them as files, PNG and SVG. They never compute what
the leaderboard should know.
"""
