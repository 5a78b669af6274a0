from __future__ import annotations

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.prior import encoders


@pytest.mark.parametrize('shape', [(48, 48, 3), (20, 30, 1), (9,)])
def test_default_encoder_embeds_images_and_vectors(shape):
  encoder = encoders.default_encoder(shape)
  observation = np.random.default_rng(0).random([3, *shape], 'f')
  embedding = encoder(observation).numpy()
  assert embedding.shape == (3, 128)
  assert np.abs(embedding[0] - embedding[1]).max() > 0


def test_an_observation_of_another_rank_is_told():
  with pytest.raises(errors.UserError, match=r'\[4, 5\].*make_encoder'):
    encoders.default_encoder((4, 5))
