"""Cohorts: many models of one configuration, with the outputs of each model on every row."""
