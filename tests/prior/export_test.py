from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.common import layout
from safer_tf.prior import export
from safer_tf.prior import skill_prior

_SHAPE = (12, 12, 3)


@pytest.fixture(scope='module')
def prior():
  tf.keras.utils.set_random_seed(1)
  model = skill_prior.SkillPrior(_SHAPE, 6, window=4)
  for variable in model.trainable_variables:
    variable.assign_add(tf.random.normal(variable.shape, stddev=0.02))
  return model


@pytest.fixture(scope='module')
def exported(prior, tmp_path_factory):
  path = str(tmp_path_factory.mktemp('prior') / 'export')
  export.export_prior(prior, path, 'safer', 'uint8', {'seed': 7})
  return path


@pytest.fixture
def copy(exported, tmp_path):
  path = str(tmp_path / 'copy')
  shutil.copytree(exported, path)
  return path


def _arguments(batch):
  random = np.random.default_rng(batch)

  def normal(*shape):
    return tf.constant(random.normal(size=[batch, *shape]), tf.float32)

  observation = tf.constant(random.integers(0, 256, [batch, *_SHAPE]), tf.uint8)
  window = normal(4, 128), tf.constant([[False, True, True, True]] * batch)
  flow = normal(6), normal(128), normal(8)
  return {
      'embed': (observation,), 'infer_context': window, 'decode': flow,
      'encode': flow, 'log_prob': flow, 'observe': (observation, *window),
  }


@pytest.mark.parametrize('batch', [1, 5])
def test_saved_model_equals_the_live_module(prior, exported, batch):
  loaded = export.load_prior(exported)
  for name, arguments in _arguments(batch).items():
    live = tf.nest.flatten(getattr(prior, name)(*arguments))
    saved = tf.nest.flatten(getattr(loaded, name)(*arguments))
    assert len(live) == len(saved)
    for expected, found in zip(live, saved):
      np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_loads_without_this_package(prior, exported, tmp_path):
  arguments = _arguments(2)
  np.savez(
      tmp_path / 'arguments.npz',
      **{
          f'{name}_{i}': value.numpy()
          for name, values in arguments.items()
          for i, value in enumerate(values)
      },
  )
  script = textwrap.dedent("""
      import sys
      import numpy as np
      import tensorflow as tf
      try:
        import safer_tf
        sys.exit('safer_tf can be imported: the test shows nothing')
      except ImportError:
        pass
      prior = tf.saved_model.load(sys.argv[1])
      given = np.load(sys.argv[2])
      results = {}
      for name, count in [('embed', 1), ('infer_context', 2), ('decode', 3),
                          ('encode', 3), ('log_prob', 3), ('observe', 3)]:
        arguments = [tf.constant(given[f'{name}_{i}']) for i in range(count)]
        values = tf.nest.flatten(getattr(prior, name)(*arguments))
        for i, value in enumerate(values):
          results[f'{name}_{i}'] = value.numpy()
      np.savez(sys.argv[3], **results)
  """)
  # -I keeps the working folder and PYTHONPATH out; -S and the one folder of
  # TensorFlow keep an editable install of this package out too.
  packages = os.path.dirname(os.path.dirname(tf.__file__))
  script = f'import sys; sys.path.append({packages!r})\n' + script
  subprocess.run(
      [
          sys.executable, '-I', '-S', '-c', script, exported,
          str(tmp_path / 'arguments.npz'), str(tmp_path / 'results.npz'),
      ],
      check=True, cwd=tmp_path,
  )
  results = np.load(tmp_path / 'results.npz')
  for name, values in arguments.items():
    live = tf.nest.flatten(getattr(prior, name)(*values))
    for i, expected in enumerate(live):
      np.testing.assert_allclose(
          results[f'{name}_{i}'], expected, rtol=1e-4, atol=1e-5
      )


def test_another_process_is_handed_a_path(exported, monkeypatch):
  """As by `ParallelPyEnvironment`; that of a relative path may be elsewhere."""
  monkeypatch.chdir(os.path.dirname(exported))
  loaded = export.load_prior('export')
  pickled = pickle.dumps(loaded)
  monkeypatch.chdir('/')
  again = pickle.loads(pickled)
  assert again.spec == loaded.spec
  arguments = _arguments(2)['decode']
  np.testing.assert_array_equal(
      again.decode(*arguments), loaded.decode(*arguments)
  )


def test_card_says_what_the_model_is(exported):
  with open(os.path.join(exported, layout.PRIOR_SPEC)) as file:
    card = json.load(file)
  assert card['format_version'] == export.FORMAT_VERSION
  assert card['method'] == 'safer'
  assert card['observation'] == {'shape': list(_SHAPE), 'dtype': 'uint8'}
  assert card['action']['shape'] == [6]
  assert (card['window'], card['embedding'], card['context']) == (4, 128, 8)
  assert card['provenance'] == {'seed': 7}
  spec = export.load_prior(exported).spec
  assert export.PriorSpec.from_json(spec.to_json()) == spec


def test_a_missing_prior_is_told(tmp_path):
  with pytest.raises(errors.UserError, match='nowhere.*missing.*train_prior'):
    export.load_prior(str(tmp_path / 'nowhere'))


def _edit(path, **changes):
  file = os.path.join(path, layout.PRIOR_SPEC)
  with open(file) as stream:
    card = json.load(stream)
  card.update(changes)
  with open(file, 'w') as stream:
    json.dump(card, stream)


def test_another_version_is_told(copy):
  _edit(copy, format_version=99)
  with pytest.raises(errors.UserError, match='version 99, expected 1'):
    export.load_prior(copy)


def test_a_damaged_card_is_told(copy):
  _edit(copy, window='many')
  with pytest.raises(errors.UserError, match='damaged'):
    export.load_prior(copy)
  with open(os.path.join(copy, layout.PRIOR_SPEC), 'w') as file:
    file.write('[1, 2')
  with pytest.raises(errors.UserError, match='JSON'):
    export.load_prior(copy)


def test_a_prior_of_another_method_is_told(exported):
  with pytest.raises(errors.UserError, match='method safer, expected parrot'):
    export.load_prior(exported, prior='parrot')


@pytest.mark.parametrize('shape, dtype, message', [
    ((9, 9, 3), 'uint8', r'shape \[12, 12, 3\], expected \[9, 9, 3\]'),
    (_SHAPE, 'float32', 'dtype uint8, expected float32'),
])
def test_features_of_other_observations_are_told(
    exported, shape, dtype, message
):
  other = skill_prior.SkillPrior(shape, 6, window=4)
  with pytest.raises(errors.UserError, match=message):
    export.take_features(other, exported, dtype)


def test_a_prior_that_matches_is_loaded(exported):
  loaded = export.load_prior(exported, prior='safer')
  assert loaded.path == exported
  assert (loaded.spec.prior, loaded.spec.action_dim) == ('safer', 6)


def test_a_flipped_bit_is_told(copy):
  folder = os.path.join(copy, 'variables')
  name = next(n for n in os.listdir(folder) if '.data-' in n)
  with open(os.path.join(folder, name), 'r+b') as file:
    file.seek(100)
    byte = file.read(1)[0]
    file.seek(100)
    file.write(bytes([byte ^ 1]))
  with pytest.raises(errors.UserError, match=f'{name}.*differs'):
    export.load_prior(copy)


def test_a_failed_export_leaves_the_old_one(prior, copy, monkeypatch):
  def fail(*_):
    raise RuntimeError('differs')

  monkeypatch.setattr(export, '_check_equal', fail)
  with pytest.raises(RuntimeError, match='differs'):
    export.export_prior(prior, copy, 'parrot', 'uint8', {})
  assert export.load_prior(copy).spec.prior == 'safer'
  assert os.listdir(os.path.dirname(copy)) == ['copy']


def test_loaded_functions_work_inside_another_function(exported):
  loaded = export.load_prior(exported)
  arguments = _arguments(3)['decode']

  @tf.function
  def outer(*inputs):
    return loaded.decode(*inputs)

  np.testing.assert_allclose(
      outer(*arguments), loaded.decode(*arguments), rtol=1e-6
  )


@pytest.mark.parametrize('name', ['observe', 'decode'])
def test_functions_for_one_give_the_same_values(exported, name):
  loaded = export.load_prior(exported)
  arguments = _arguments(1)[name]
  compiled = loaded.for_one(name)
  assert compiled is not getattr(loaded, name)
  assert compiled is loaded.for_one(name)
  for ours, plain in zip(
      tf.nest.flatten(compiled(*arguments)),
      tf.nest.flatten(getattr(loaded, name)(*arguments)),
  ):
    np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_what_xla_cannot_compile_is_used_as_it_is(exported):
  loaded = export.load_prior(exported)

  def with_python(*arguments):
    return tf.py_function(lambda x: x, [arguments[0]], tf.float32)

  strange = dataclasses.replace(loaded, module=tf.Module())
  strange.module.decode = with_python
  plain = strange.for_one('decode')
  assert plain is loaded.decode
  # Environments hand arrays over, here as to what is compiled.
  arguments = [argument.numpy() for argument in _arguments(1)['decode']]
  np.testing.assert_allclose(
      plain(*arguments), loaded.for_one('decode')(*arguments), atol=1e-5
  )
