"""Arms of a measurement: trainings that are alike but for what is measured, each with rows that take no part.

Owns what a training is taught and which rows it holds out (``run``), and who is trained: the recipe's model, or a head
on MiniLM (``trainers``). The measurements of ``bench.training`` and ``bench.held_out`` say which arms there are, keep
what came of them and print it. Nothing is chosen or compared here.
"""
