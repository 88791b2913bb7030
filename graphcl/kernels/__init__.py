"""Kernels: the few operators whose speed or memory decides what can be trained.

Each kernel is one public function with a readable float64-able reference and
backends that must agree with it. They need torch, numpy and scipy only, and
are imported from their own modules (`from graphcl.kernels.contrast import
contrast`), so that using one does not load the others.
"""
