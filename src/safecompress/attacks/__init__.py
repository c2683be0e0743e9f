"""Simulated membership attacks, and the controls that test them."""

from __future__ import annotations

from safecompress.attacks.registry import ATTACKS

# Importing a module adds its attacks, so this is the order in which they are listed.
# isort: off
from safecompress.attacks import (
    metric as metric,
    neural as neural,
    neural_published as neural_published,
    samia as samia,
    gap as gap,
    pair as pair,
    family as family,
    joint as joint,
    six_numbers as six_numbers,
    per_output as per_output,
    augmentation as augmentation,
    boundary as boundary,
    quantile as quantile,
    lira as lira,
    bavaria as bavaria,
    rmia as rmia,
    learnt as learnt,
    learnt_set as learnt_set,
    informia as informia,
    indirect as indirect,
    white_box as white_box,
    white_box_published as white_box_published,
)

# isort: on

__all__ = ["ATTACKS"]
