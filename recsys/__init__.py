"""Recommenders built on graphcl: sequence views, sequential and graph recommenders."""
