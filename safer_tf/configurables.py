"""Imports every module that registers gin configurables.

`safer_tf.common.config.parse` imports this first, so that every gin file suits
every binary and a misspelt name is always an error.
"""

from safer_tf.assurance import compute  # noqa: F401
from safer_tf.assurance import confirm  # noqa: F401
from safer_tf.benchmark import sizes  # noqa: F401
from safer_tf.data import collect  # noqa: F401
from safer_tf.evaluation import calibrate  # noqa: F401
from safer_tf.evaluation import evaluate  # noqa: F401
from safer_tf.evaluation import prior_rollouts  # noqa: F401
from safer_tf.evaluation import report  # noqa: F401
from safer_tf.experiments import matrix  # noqa: F401
from safer_tf.prior import training  # noqa: F401
from safer_tf.rl import agent  # noqa: F401
from safer_tf.rl import networks  # noqa: F401
from safer_tf.rl import train_agent  # noqa: F401
