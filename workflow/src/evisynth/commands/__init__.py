"""The commands of ``evisynth``, one module each: `add` its arguments, `run` it."""
