"""Students: candidates that learn what another one, or a model elsewhere, says of rows, without labels or train's own.

Owns who the teacher is and its answers to the pool, kept beside its results. A student itself is trained, calibrated
and measured as the baseline that it is (``workbench.compare.processes.worker``). It looks at no label of the pool.
"""
