"""What is asked of a row where it is more than one label of a list: questions, and how a row's answers are read.

``labelwright.data.task`` builds tasks of it; who reads rows in and gives answers out (recipes, predict, the wires) puts
points behind rows and takes them off again. Nothing here scores, or knows what a model is.
"""
