"""Pictures and films of episodes, played again from their recorded actions."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

import matplotlib
import numpy as np
from matplotlib import figure as figure_lib

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.evaluation import style

_FILM_PIXELS = 320
_TASK_PIXELS = 128
_FRAMES_PER_SECOND = 6
_HOLD_FRAMES = 6  # The last picture stays for a second.
_BORDER_PIXELS = 8
_STRIP_FRAMES = 7
_CONTACT_COLOUR = style.UNSAFE_COLOUR


class Take(NamedTuple):
  """An episode played again.

  Attributes:
    frames: uint8 [T + 1, H, W, 3], the first state's included.
    unsafe: bool [T] label of each step; step t leads to frame t + 1.
    title: who acted in which task, and how it ended.
  """

  frames: np.ndarray
  unsafe: np.ndarray
  title: str


def play(replay: Mapping[str, Any], pixels: int = _FILM_PIXELS) -> Take:
  """Plays a recorded episode again: it is a pure function of its seed.

  Args:
    replay: `task`, `method`, `seed`, `success`, `actions` [T, A] and `unsafe`
      [T].
    pixels: height and width of a frame.

  Returns:
    Its frames and labels.

  Raises:
    UserError: the simulator now gives other labels than were recorded.
  """
  env = envs.load_task(replay['task'])
  env.seed(replay['seed'])
  env.reset()
  frames = [env.render('rgb_array', height=pixels, width=pixels)]
  unsafe = []
  for action in np.asarray(replay['actions'], np.float32):
    env.step(action)
    unsafe.append(bool(env.get_info()['unsafe']))
    frames.append(env.render('rgb_array', height=pixels, width=pixels))
  env.close()
  if unsafe != [bool(label) for label in replay['unsafe']]:
    raise errors.UserError(
        f'The recorded episode {replay["seed"]} of {replay["task"]} no longer '
        'plays as recorded: the environment has changed since. Run evaluate '
        'again.'
    )
  kind = 'unsafe' if any(unsafe) else 'safe'
  end = 'object extracted' if replay['success'] else 'object not extracted'
  who = f'{style.label(replay["method"])}, {replay["task"]}'
  title = f'{who}: {kind} episode, {end}'
  return Take(np.stack(frames), np.array(unsafe, bool), title)


def write_video(take: Take, path: str) -> None:
  """Writes an MP4; frames of unsafe steps have a border.

  Args:
    take: episode.
    path: file to write, whole or not at all.
  """
  # ffmpeg is looked for on import.
  import imageio  # pylint: disable=g-import-not-at-top

  frames = take.frames.copy()
  for frame, unsafe in zip(frames[1:], take.unsafe):
    if unsafe:
      _mark(frame)
  frames = np.concatenate([frames, np.repeat(frames[-1:], _HOLD_FRAMES, 0)])
  with files.replacing(path) as beside:
    imageio.mimwrite(
        beside, list(frames), format='FFMPEG', fps=_FRAMES_PER_SECOND,
        codec='libx264', quality=8, pixelformat='yuv420p',
    )


def filmstrip(takes: Sequence[Take]) -> figure_lib.Figure:
  """Figure 3: one row of frames an episode, unsafe steps framed and named."""
  rows = len(takes)
  figure = figure_lib.Figure(figsize=(1.5 * _STRIP_FRAMES, 1.75 * rows + 0.1))
  axes = figure.subplots(rows, _STRIP_FRAMES, squeeze=False)
  for row, take in zip(axes, takes):
    for panel, t in zip(row, strip_steps(take.unsafe, _STRIP_FRAMES)):
      panel.imshow(take.frames[t])
      panel.set_xticks([])
      panel.set_yticks([])
      contact = t > 0 and take.unsafe[t - 1]
      colour = _CONTACT_COLOUR if contact else '#cccccc'
      for spine in panel.spines.values():
        spine.set(color=colour, linewidth=2.5 if contact else 0.8)
      panel.set_xlabel(
          f'step {t}: contact' if contact else f'step {t}', fontsize=8,
          color=_CONTACT_COLOUR if contact else '#555555',
      )
    row[0].set_title(take.title, loc='left', fontsize=9, fontweight='bold')
    for panel in row[len(strip_steps(take.unsafe, _STRIP_FRAMES)):]:
      panel.set_visible(False)
  figure.subplots_adjust(0.01, 0.09, 0.99, 0.92, wspace=0.06, hspace=0.35)
  return figure


def strip_steps(unsafe: np.ndarray, count: int) -> list[int]:
  """Which frames stand in a strip: evenly spaced, the first contact included.

  Args:
    unsafe: bool [T] label of each step.
    count: frames wanted.

  Returns:
    At most `count` increasing frame numbers in [0, T].
  """
  length = len(unsafe)
  count = min(count, length + 1)
  chosen = [int(round(t)) for t in np.linspace(0, length, count)]
  if unsafe.any():
    contact = int(np.argmax(unsafe)) + 1
    if contact not in chosen:
      # The nearest one gives way, but neither the first nor the last frame.
      inner = range(1, count - 1) if count > 2 else [count - 1]
      nearest = min(inner, key=lambda i: abs(chosen[i] - contact))
      chosen[nearest] = contact
  return sorted(set(chosen))


def tasks_figure(names: Sequence[str] = envs.ALL) -> figure_lib.Figure:
  """Figure 10: the tasks as the camera sees them, evaluation tasks framed."""
  columns = min(8, len(names))
  rows = -(-len(names) // columns)
  with matplotlib.rc_context({'font.size': 7}):
    figure = figure_lib.Figure(figsize=(1.25 * columns, 1.42 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for panel in axes[len(names):]:
    panel.set_visible(False)
  for panel, name in zip(axes, names):
    env = envs.load_task(name)
    env.reset()
    panel.imshow(
        env.render('rgb_array', height=_TASK_PIXELS, width=_TASK_PIXELS)
    )
    env.close()
    panel.set_xticks([])
    panel.set_yticks([])
    evaluated = name in envs.EVALUATION
    for spine in panel.spines.values():
      spine.set(
          color='#0072b2' if evaluated else '#dddddd',
          linewidth=2.5 if evaluated else 0.6,
      )
    title = name
    if evaluated:
      title = f'Task {envs.EVALUATION.index(name) + 1}: {name}'
    panel.set_title(title, fontsize=7, pad=2.5)
  figure.subplots_adjust(0.01, 0.01, 0.99, 0.97, wspace=0.06, hspace=0.16)
  return figure


def _mark(frame: np.ndarray) -> None:
  """Draws a border into a frame [H, W, 3]."""
  colour = [int(_CONTACT_COLOUR[i:i + 2], 16) for i in (1, 3, 5)]
  for edge in (
      frame[:_BORDER_PIXELS], frame[-_BORDER_PIXELS:],
      frame[:, :_BORDER_PIXELS], frame[:, -_BORDER_PIXELS:],
  ):
    edge[:] = colour
