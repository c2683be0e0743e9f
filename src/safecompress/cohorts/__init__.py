"""Cohorts: many models of one configuration, and what each says of every row."""
