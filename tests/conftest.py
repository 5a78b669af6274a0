"""Settings for every test; read before TensorFlow is imported."""

from __future__ import annotations

import os

# Tests run side by side, so each keeps to one core, and to the CPU.
for name in (
    'OMP_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'
):
  os.environ.setdefault(name, '1')
os.environ['CUDA_VISIBLE_DEVICES'] = ''
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')
