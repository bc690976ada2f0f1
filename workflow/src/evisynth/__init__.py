"""Evisynth: from study files to a meta-analysis that can be checked."""
