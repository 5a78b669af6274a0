"""Training a skill prior: from a dataset to an exported SavedModel."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from typing import Any, Mapping, Optional

import gin
import numpy as np
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import provenance
from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.prior import checkpoints as checkpoints_lib
from safer_tf.prior import embedded
from safer_tf.prior import export
from safer_tf.prior import journal as journal_lib
from safer_tf.prior import learner as learner_lib
from safer_tf.prior import likelihoods
from safer_tf.prior import objective
from safer_tf.prior import protocols
from safer_tf.prior import settings as settings_lib
from safer_tf.prior import skill_prior

_FAILED_BATCH = 'failed_batch.npz'
# Whose observations tell a mean and a standard deviation.
_ADAPT_EPISODES = 1_000


@gin.configurable(denylist=['root_dir', 'seed'])
def train_prior(
    root_dir: str,
    seed: int = 0,
    prior: str = gin.REQUIRED,
    protocol: str = protocols.SEEN,
    num_steps: int = gin.REQUIRED,
    positives: str = store_lib.SAFE_SUCCESS,
    safe_runs: int = 20,
    unsafe_runs: int = 20,
    run_length: int = 24,
    window: int = 16,
    optimizer: str = 'adam',
    learning_rate: float = 2e-3,
    final_learning_rate: float = 1e-5,
    momentum: float = 0.9,
    max_gradient_norm: float = 10.0,
    unsafe_weight: float = 0.5,
    kl_weight: float = 0.01,
    unsafe_floor: Optional[float] = None,
    freeze_below: float = -1000.0,
    sample_context: bool = True,
    validation_interval: int = 500,
    validation_episodes: int = 200,
    checkpoint_interval: int = 500,
    summary_interval: int = 50,
    export_which: str = 'best',
    anchor_weight: float = 0.0,
    features_of: Optional[str] = None,
) -> str:
  """Trains a prior and exports it (Algorithm 2), or resumes doing so.

  A prior that is finished with the same settings, seed and data is left as it
  is. Batches, samples of the safety variable and initial weights are functions
  of the seed and the step: a resumed training equals an uninterrupted one.

  Args:
    root_dir: run directory; reads `<root_dir>/data`, writes
      `<root_dir>/priors/<protocol>/<prior>`.
    seed: of everything random.
    prior: id of the prior, e.g. `safer`; its directory's name.
    protocol: `seen` trains on all tasks, `held_out` leaves out the evaluated
      ones, or those of `held_out_tasks`.
    num_steps: gradient steps.
    positives: kind of steps that are made likely, one of
      `store.POSITIVE_KINDS`.
    safe_runs: runs of a batch drawn to hold positives.
    unsafe_runs: runs of a batch drawn to hold unsafe steps; 0 for none.
    run_length: L, consecutive steps in a run.
    window: W, states that the safety variable is inferred from.
    optimizer: `adam` or `sgd`.
    learning_rate: at the first step.
    final_learning_rate: at the last step, reached on a half cosine.
    momentum: of `sgd`.
    max_gradient_norm: gradients are clipped to this global norm.
    unsafe_weight: lambda of Eq. 4.
    kl_weight: weight of the KL terms; 1 is Eq. 4.
    unsafe_floor: an unsafe step below this log-likelihood, in nats, is left
      alone. None: -8 for 6 actions, and as far below the uniform density for
      others (`objective.default_unsafe_floor`).
    freeze_below: the unsafe term is frozen while its batch mean is below this,
      in nats.
    sample_context: whether c is drawn from its posterior or is its mean.
    validation_interval: steps between validations.
    validation_episodes: at most so many episodes of the validation split.
    checkpoint_interval: steps between checkpoints.
    summary_interval: steps between TensorBoard's training scalars.
    export_which: `best` (by the validation objective) or `last`.
    anchor_weight: weight, beside Eq. 4, of the squared distance between
      safe actions and those that z = 0 decodes to.
    features_of: id of a finished prior of the same protocol whose encoder and
      posterior are taken over and left as they are; only the flow is trained,
      from new weights (after decoupled training, Kang et al., 2020), on
      embeddings that are held in memory. None trains everything.

  Returns:
    Directory of the exported prior.

  Raises:
    UserError: a value is wrong, data are missing or damaged, the directory
      holds another prior, another process trains it, `features_of` is missing
      or of other parts, or the loss is not finite.
  """
  settings = dict(locals())
  del settings['root_dir']
  settings_lib.check(settings)
  directory = layout.prior_dir(root_dir, protocol, prior)
  data_dir = layout.data_dir(root_dir)
  store = protocols.training_store(data_dir, protocol)
  if unsafe_floor is None:
    settings['unsafe_floor'] = objective.default_unsafe_floor(
        store.spec.action_size
    )
  settings['held_out_tasks'] = protocols.own_tasks(protocol)
  inputs = {layout.DATA_INDEX: os.path.join(data_dir, layout.DATA_INDEX)}
  new_store = protocols.new_store(store, data_dir, protocol)
  # Data that are too few are told before hours are spent.
  for split in ('validation', 'test'):
    store.split(split)
  if new_store is not None:
    new_store.split('test')
  tf.keras.utils.set_random_seed(seed)
  model = skill_prior.SkillPrior(
      store.spec.observation_shape, store.spec.action_size, window
  )
  source, of_features = None, {}
  if features_of is not None:
    source = layout.export_dir(root_dir, protocol, features_of)
    inputs[layout.PRIOR_SPEC] = settings_lib.card_of_features(source)
  hashes = provenance.hashes(inputs)
  identity = settings_lib.identity(settings, model, store, hashes)
  if settings_lib.is_finished(directory, identity):
    export.read_spec(layout.export_dir(root_dir, protocol, prior))
    print(f'{directory} is finished with these settings; nothing to do.')
    return layout.export_dir(root_dir, protocol, prior)
  if source is not None:
    card = export.take_features(model, source, store.spec.observation_dtype)
    protocols.check_left_out(card.provenance, protocol, source)
    of_features = {'features_data': export.trained_on(card)}
  elif model.standardises:
    model.adapt(np.concatenate([
        store.read(number).observation for number in pipeline.episodes_of(
            store, 'train', _ADAPT_EPISODES
        )
    ]))
  learner = learner_lib.Learner(
      model if source is None else model.on_embeddings(),
      learner_lib.make_optimizer(
          optimizer, learning_rate, final_learning_rate, momentum, num_steps
      ),
      _chosen(learner_lib.Settings, settings),
      flow_only=source is not None,
  )
  with files.locked(os.path.join(directory, layout.LOCK)):
    if settings_lib.is_finished(directory, identity):  # By another, meanwhile.
      return layout.export_dir(root_dir, protocol, prior)
    files.write_json(os.path.join(directory, layout.SETTINGS), identity)
    run = _Run(directory, model, learner, store, settings)
    run.train()
    run.finish(
        provenance.record(
            seed, hashes, protocol=protocol, settings=identity,
            wall_seconds=round(run.seconds, 1), **of_features,
        ), new_store,
    )
  return layout.export_dir(root_dir, protocol, prior)


class _Run:
  """One training run: its directory and everything that is open in it."""

  def __init__(
      self, directory: str, model: skill_prior.SkillPrior,
      learner: learner_lib.Learner, store: store_lib.EpisodeStore,
      settings: Mapping[str, Any],
  ):
    """Opens the run, where its last checkpoint stands.

    Args:
      directory: of the prior.
      model: the prior.
      learner: of `model`, or of `model.on_embeddings()`.
      store: dataset.
      settings: of `train_prior`.
    """
    self._directory = directory
    self._model = model
    self._learner = learner
    self._store = store
    self._settings = settings
    self._sampler = self._sampler_of(store)
    self._checkpoints = checkpoints_lib.Checkpoints(
        learner, os.path.join(directory, layout.CHECKPOINTS_DIR),
        num_best=math.ceil(
            settings['checkpoint_interval'] / settings['validation_interval']
        ),
    )
    self._checkpoints.restore_latest()
    self._start = time.monotonic() - self._checkpoints.seconds
    self._journal = journal_lib.Journal(directory, int(learner.step))
    self._measure = likelihoods.measurer(learner.prior)

  @property
  def seconds(self) -> float:
    """Time spent so far, with that of interrupted processes."""
    return time.monotonic() - self._start

  @property
  def _idle_terms(self) -> tuple[str, ...]:
    """Terms of the objective that have no weight here: 0 throughout."""
    idle = () if self._settings['anchor_weight'] else ('anchor',)
    return idle if self._settings['unsafe_weight'] else (
        *idle, 'unsafe_log_prob', 'unsafe_kl', 'unsafe_frozen',
        'unsafe_floored',
    )

  def _sampler_of(self, store: store_lib.EpisodeStore) -> pipeline.RunSampler:
    settings = self._settings
    kinds = [(settings['positives'], settings['safe_runs'])]
    if settings['unsafe_runs']:
      kinds.append((store_lib.UNSAFE, settings['unsafe_runs']))
    return pipeline.RunSampler(
        store, 'train', kinds, settings['window'], settings['run_length'],
        settings['seed'],
    )

  def train(self) -> None:
    """Takes the steps that are left."""
    settings, first = self._settings, int(self._learner.step)
    store = self._store
    if self._learner.prior is not self._model and (
        first < settings['num_steps']
    ):
      store = embedded.embedded(store, self._model, np.union1d(
          self._sampler.episodes, pipeline.episodes_of(
              store, 'validation', settings['validation_episodes']
          )
      ))
      self._sampler = self._sampler_of(store)
    name = f'Training {settings["prior"]} prior'
    with contextlib.closing(
        pipeline.training_batches(self._sampler, first)
    ) as batches, progress.bar(
        settings['num_steps'], name, 'step', first
    ) as bar:
      for step in range(first + 1, settings['num_steps'] + 1):
        batch = next(batches)
        metrics = self._learner.train_step(batch)
        if not learner_lib.is_finite(metrics):
          self._fail(step, batch, metrics)
        bar.update()
        self._after(step, metrics, store, bar)
    self._journal.close()

  def finish(
      self, record: Mapping[str, Any],
      new_tasks: Optional[store_lib.EpisodeStore],
  ) -> None:
    """Exports the prior and writes what the report needs.

    Args:
      record: provenance.
      new_tasks: episodes of tasks that the prior was not trained on.
    """
    step = self._settings['num_steps']
    if self._settings['export_which'] == 'best':
      self._checkpoints.restore_best()
      if self._checkpoints.best_step:
        step = self._checkpoints.best_step
      else:
        print(
            'No validation had an objective that is a number (are there safe '
            'steps of successful episodes among the validation episodes?): '
            'exported is the last step, not the best.'
        )
    measure = likelihoods.measurer(self._model)
    found = measure(pipeline.sweep(self._store, 'test'))
    self._write(found, layout.LIKELIHOODS)
    if new_tasks is not None:
      self._write(
          measure(pipeline.sweep(new_tasks, 'test')),
          layout.LIKELIHOODS_NEW_TASKS,
      )
    measured = self._statistics(found)
    record = {
        **record, 'exported_step': step, 'test': {
            # Of no steps of a kind there is none, and JSON knows no NaN.
            name: None if np.isnan(value) else value
            for name, value in measured.items()
        },
    }
    export.export_prior(
        self._model, os.path.join(self._directory, layout.EXPORT_DIR),
        self._settings['prior'], self._store.spec.observation_dtype, record,
    )
    files.write_json(os.path.join(self._directory, layout.STAGE), record)
    print(
        f'{self._directory}: exported step {step:,}; on the test split ' + (
            ', '.join(
                f'{name} {measured[name]:.3f}'
                for name in ('safe_log_prob', 'unsafe_log_prob', 'auc')
                if not np.isnan(measured[name])
            ) or 'nothing could be measured'
        ) + '.'
    )

  def _write(self, found: likelihoods.Likelihoods, name: str) -> None:
    path = os.path.join(self._directory, name)
    with files.replacing(path) as beside:
      with open(beside, 'wb') as file:
        np.savez_compressed(file, safe=found.safe, **found._asdict())

  def _after(
      self, step: int, metrics: Mapping[str, tf.Tensor],
      store: store_lib.EpisodeStore, bar: Any,
  ) -> None:
    """Records, validates and saves, where a step is due for it."""
    settings = self._settings
    last = step == settings['num_steps']
    if step % settings['summary_interval'] == 0 or last:
      self._journal.train_step(step, {
          name: value for name, value in metrics.items()
          if name not in self._idle_terms
      })
      shown = bar.format_dict
      rate = (shown['n'] - shown['initial']) / max(shown['elapsed'], 1e-9)
      bar.set_postfix({
          'tuples/s': f'{rate * float(metrics["tuples"]):.0f}',
          'loss': f'{float(metrics["loss"]):.3f}',
      }, refresh=False)
    if step % settings['validation_interval'] == 0 or last:
      found = self._measure(pipeline.sweep(
          store, 'validation',
          max_episodes=settings['validation_episodes'],
      ))
      statistics = self._statistics(found)
      self._journal.validation(step, statistics, found)
      self._checkpoints.keep_if_best(statistics['objective'])
    if step % settings['checkpoint_interval'] == 0 or last:
      self._checkpoints.save(self.seconds)
      self._journal.commit()

  def _statistics(self, found: likelihoods.Likelihoods) -> dict[str, float]:
    return likelihoods.statistics(
        found, **{
            name: self._settings[name]
            for name in (
                'unsafe_weight', 'kl_weight', 'unsafe_floor', 'positives'
            )
        }
    )

  def _fail(
      self, step: int, batch: pipeline.TupleBatch,
      metrics: Mapping[str, tf.Tensor],
  ) -> None:
    self._journal.commit()  # What led there is what one wants to see.
    path = os.path.join(self._directory, _FAILED_BATCH)
    np.savez_compressed(path, **batch._asdict())
    raise errors.UserError(
        f'Training the {self._settings["prior"]} prior diverged at step '
        f'{step}: loss {float(metrics["loss"])}, gradient norm '
        f'{float(metrics["gradient_norm"])}. The batch (seed '
        f'{self._settings["seed"]}, step {step - 1}) is in {path}; the last '
        f'good checkpoint is {self._checkpoints.latest or "none yet"}. Lower '
        'train_prior.learning_rate, unsafe_weight or anchor_weight, delete '
        f'{self._directory} and train anew.'
    )


def _chosen(settings_type: Any, settings: Mapping[str, Any]) -> Any:
  """A dataclass of those of the settings that it has fields for."""
  return settings_type(**{
      field.name: settings[field.name]
      for field in dataclasses.fields(settings_type)
  })
