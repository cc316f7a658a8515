"""What an entry becomes in MLflow: a file a kind of thing, each a function of the opened store and the entry.

Called by ``workbench.tracking.delivery`` in a thread of its own, while the work goes on, and again where a call was
given up: whatever is written twice must leave what writing it once leaves. Nothing here waits, retries, tells a person
or writes to the run's own state.
"""
