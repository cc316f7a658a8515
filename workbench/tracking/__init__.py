"""Where runs are recorded: the only imports of MLflow, and a journal for when its store is away.

Owns the store, the parent run of a recipe's run and one child a stage. The session and the export report here. A store
that is slow, fails, hangs or is locked never stops the work: what it did not take is recorded by the next command.
"""

import os

# MLflow reads these when it is imported, and all of this package's modules come after them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
