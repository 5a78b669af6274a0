"""What each method of the matrix is made of, and its variants."""

from __future__ import annotations

from typing import NamedTuple

from safer_tf.evaluation import style
from safer_tf.evaluation import variants


class Method(NamedTuple):
  """What a method's agent is made of.

  Attributes:
    prior: id of the prior it acts through or sees by, which is the id of the
      method whose gin file trains it.
    bound_prior: prior whose assurance bounds its latents; None without one.
    prior_seed: added to the run's seed where its prior is trained.
    features_of: prior whose encoder and posterior its prior is trained on;
      None where it trains its own.
  """

  prior: str
  bound_prior: str | None
  prior_seed: int = 0
  features_of: str | None = None


METHODS = {
    'sac': Method('safer', None),
    'parrot': Method('parrot', 'safer'),
    'context_parrot': Method('context_parrot', 'safer'),
    'prior_explore': Method('safer', 'safer'),
    'safer': Method('safer', 'safer'),
    'safer_prior_zero': Method('safer', 'safer'),
    'safer_prior_random': Method('safer', 'safer'),
    'safer_no_context': Method('safer_no_context', 'safer'),
    'safer_deterministic': Method('safer_deterministic', 'safer'),
    'parrot_unsafe': Method('parrot_unsafe', 'safer'),
    'safer_unbounded': Method('safer', None),
    'safer_lambda': Method('safer_lambda', 'safer_lambda'),
    'safer_second': Method('safer_second', 'safer_second', prior_seed=1),
    'parrot_second': Method('parrot_second', 'safer', prior_seed=1),
    'safer_refit': Method('safer_refit', 'safer_refit', features_of='safer'),
    'safer_refit_prior_zero': Method('safer_refit', 'safer_refit'),
    'safer_refit_prior_random': Method('safer_refit', 'safer_refit'),
    'safer_second_refit': Method(
        'safer_second_refit', 'safer_second_refit', prior_seed=1,
        features_of='safer_second',
    ),
    'parrot_refit': Method(
        'parrot_refit', 'safer_refit', features_of='parrot'
    ),
    'parrot_second_refit': Method(
        'parrot_second_refit', 'safer_refit', prior_seed=1,
        features_of='parrot_second',
    ),
    'context_parrot_refit': Method(
        'context_parrot_refit', 'safer_refit', features_of='context_parrot'
    ),
}
# Baselines whose priors have no bound of their own: run in another's box and in
# a stated range, of which the better is quoted.
_OF_OWN_RANGE = (
    'parrot', 'context_parrot', 'parrot_refit', 'context_parrot_refit'
)
# Those that a prior is trained for, which has their name.
TRAINED = tuple(name for name, parts in METHODS.items() if parts.prior == name)
# Those whose prior has an assurance of its own.
CERTIFIED = tuple(
    name for name in TRAINED if METHODS[name].bound_prior == name
)
# Those whose agents act in a bounded latent.
IN_BOXES = tuple(
    name for name, parts in METHODS.items()
    if parts.bound_prior is not None and name not in style.NO_LEARNING
)


def variants_of(
    method: str, own_range: float | None
) -> dict[str, tuple[str, ...]]:
  """The variants in which a method is run.

  Args:
    method: its id.
    own_range: latent bound of the priors without an assurance of their own;
      None leaves this and Prior-Explore's `unbounded` out.

  Returns:
    Gin bindings by the variant's name.
  """
  found: dict[str, tuple[str, ...]] = {variants.USUAL: ()}
  if own_range is None:
    return found
  if method in _OF_OWN_RANGE:
    found[variants.OWN_RANGE] = (f'train_agent.latent_bound = {own_range}',)
  if method == 'prior_explore':
    found[variants.UNBOUNDED] = ("train_agent.latent_bound = 'unbounded'",)
  return found
