"""Train rows that a larger model writes: asked for, held against all rows there are, checked by a second answer.

Owns the verb ``synthesize``: what is asked, what of the answers is a row, and the file of rows that the comparison's
``synthetic-NAME`` candidates learn. What a model says is data here: never a template, a command or markup. It never
shows a model a row of dev, calib or test, and no row that it keeps goes there.
"""
