"""Several classifiers that answer as one: a weighted mean of them, the cheapest first, or both.

Owns the plan that says who is asked and what is made of the answers, its file, and the engine over the members'
engines. ``labelwright.engines.opening`` opens it, ``workbench.compare.together`` chooses plans with the same
functions. It never trains or calibrates a member, and a member never is several.
"""
