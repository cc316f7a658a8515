"""Where runs are recorded: the only imports of MLflow, and a journal for when its store is away.

Owns the store, the parent run of a recipe's run and one child a stage. The session and the export report here. A store
that fails, hangs or is locked never stops the work: what it did not take is recorded by the next command.
"""
