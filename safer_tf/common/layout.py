"""Every file and directory name under a run directory, in one place."""

from __future__ import annotations

import os

from safer_tf.common import errors

DATA_DIR = 'data'
PRIORS_DIR = 'priors'
AGENTS_DIR = 'agents'
RESULTS_DIR = 'results'
# With the tables, so that results/ is whole by itself.
FIGURES_DIR = os.path.join(RESULTS_DIR, 'figures')
VIDEOS_DIR = os.path.join(RESULTS_DIR, 'videos')
RECORDED_DIR = 'recorded'  # Results of earlier runs, as this run took them.
LOGS_DIR = 'logs'
CELLS = os.path.join(LOGS_DIR, 'cells.csv')  # How each ended, the last time.
REPORT = os.path.join(RESULTS_DIR, 'report.html')

# Inside a data directory.
EPISODE_SPEC = 'episode_spec.json'
DATA_CARD = 'data_card.json'
DATA_INDEX = 'index.npz'
DATA_PARTS_DIR = 'parts'  # A record of each part that was collected by itself.

# Inside a prior's or an agent's directory.
LOCK = '.lock'  # Held by the process that trains there.
CHECKPOINTS_DIR = 'checkpoints'
TENSORBOARD_DIR = 'tensorboard'
EXPORT_DIR = 'export'
POLICIES_DIR = 'policies'
STAGE = 'stage.json'  # Provenance; its presence says the stage is finished.
SETTINGS = 'settings.json'  # What a prior or an agent is trained with.
HISTORY = 'history.csv'  # Validation history of a prior.
CALIBRATION_DIR = 'calibration'  # Rollouts inside a prior's bounds.
PRIOR_ROLLOUTS = 'rollouts.json'  # Those of a prior without an agent.
LIKELIHOODS = 'likelihoods.npz'  # Held-out log-likelihoods and latents.
# The same of tasks that the prior was not trained on.
LIKELIHOODS_NEW_TASKS = 'likelihoods_new_tasks.npz'
CURVE = 'curve.csv'  # Per-episode record of an agent's training.
RESULT = 'result.json'  # One agent's row of the results.
EVALUATION = 'evaluation.json'  # Episodes of its final policy.

# Inside an exported prior.
PRIOR_SPEC = 'prior_spec.json'
CONFIRMATION = 'confirmation.json'  # Its bounds on episodes of later.
ASSURANCE = 'assurance.json'


def data_dir(root_dir: str) -> str:
  """Directory of the offline dataset."""
  return os.path.join(root_dir, DATA_DIR)


def data_part(root_dir: str, part: int, parts: int) -> str:
  """Record that says that a part of the dataset's shards is there."""
  return os.path.join(
      data_dir(root_dir), DATA_PARTS_DIR, f'{part}-of-{parts}.json'
  )


def shard(task: str, number: int) -> str:
  """File name of one shard of a task's episodes in a data directory."""
  return f'{task}-{number:05d}.tfrecord.gz'


def prior_dir(root_dir: str, protocol: str, prior: str) -> str:
  """Directory of one trained prior, e.g. `priors/seen/safer`."""
  return os.path.join(
      root_dir, PRIORS_DIR, *_named(protocol=protocol, prior=prior)
  )


def export_dir(root_dir: str, protocol: str, prior: str) -> str:
  """Directory of one prior's SavedModel."""
  return os.path.join(prior_dir(root_dir, protocol, prior), EXPORT_DIR)


def agent_dir(
    root_dir: str, protocol: str, task: str, method: str, variant: str,
    seed: int,
) -> str:
  """Directory of one cell: one agent trained on one task with one seed."""
  return os.path.join(
      root_dir, AGENTS_DIR, *_named(
          protocol=protocol, task=task, method=method, variant=variant
      ), f'seed{seed}'
  )


def results_dir(root_dir: str) -> str:
  """Directory of the result tables."""
  return os.path.join(root_dir, RESULTS_DIR)


def prior_rollouts_file(root_dir: str, protocol: str, prior: str) -> str:
  """Rollouts of a prior without an agent."""
  return os.path.join(prior_dir(root_dir, protocol, prior), PRIOR_ROLLOUTS)


def calibration_file(
    root_dir: str, protocol: str, prior: str, task: str
) -> str:
  """Rollouts of random latents inside a prior's bounds on one task."""
  return os.path.join(
      prior_dir(root_dir, protocol, prior), CALIBRATION_DIR, f'{task}.json'
  )


def _named(**names: str) -> list[str]:
  """Names of directories, none of which may lead elsewhere."""
  for what, name in names.items():
    if not name or name.startswith('.') or os.sep in name:
      raise errors.UserError(
          f'The {what} is {name!r}: expected a name for a directory, without '
          f'{os.sep!r} and not beginning with a dot.'
      )
  return list(names.values())
