"""Wiring faults: changes to an honest audit of a leaking model after which a PASS would be false.

A fault turns the arrays of an outputs file into those that a wrongly wired program would write. It
may be refused, be an ERROR, or still be judged as the leak it is; it must never PASS.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.made_audits import (
    FORMS,
    GROUPS,
    Arrays,
    Draw,
    leaking,
    leaking_beside_references,
    probabilities,
)


def one_bit_above_one(draw: Draw) -> Arrays:
    found = probabilities(leaking_beside_references(draw))
    name = str(draw.choice([n for n in found if n.endswith("logits")]))
    values = found[name].copy()
    row = int(draw.integers(values.shape[-2]))
    values[..., row, :] = 0
    values[..., row, int(draw.integers(values.shape[-1]))] = np.nextafter(
        np.float32(1), np.float32(2)
    )
    return found | {name: values}


def one_bit_below_zero(draw: Draw) -> Arrays:
    found = probabilities(leaking_beside_references(draw))
    name = str(draw.choice([n for n in found if n.endswith("logits")]))
    values = found[name].copy()
    values[..., int(draw.integers(values.shape[-2])), 0] = -1.2e-7
    return found | {name: values}


def another_form(draw: Draw) -> Arrays:
    """Write the outputs in another form, the references perhaps in yet another."""
    found = leaking_beside_references(draw)
    first, second = draw.choice(list(FORMS), 2)
    own = {n: v for n, v in found.items() if "reference" not in n}
    other = {n: v for n, v in found.items() if "reference" in n}
    return FORMS[str(first)](own) | FORMS[str(second)](other)


def some_rows_as_probabilities(draw: Draw) -> Arrays:
    found = leaking(draw)
    told = probabilities(found)
    group = str(draw.choice(GROUPS))
    values = found[f"{group}_logits"].copy()
    some = draw.random(len(values)) < draw.choice([0.02, 0.3, 0.98])
    values[some] = told[f"{group}_logits"][some]
    return found | {f"{group}_logits": values}


def one_group_as_probabilities(draw: Draw) -> Arrays:
    found = leaking(draw)
    name = f"{draw.choice(GROUPS)}_logits"
    return found | {name: probabilities(found)[name]}


def top_three_only(draw: Draw) -> Arrays:
    found = leaking(draw)
    while found["member_logits"].shape[1] < 5:
        found = leaking(draw)
    told = probabilities(found)
    for group in GROUPS:
        p = told[f"{group}_logits"].copy()
        p[p < np.sort(p, axis=1)[:, [-3]]] = 0
        told |= {f"{group}_logits": p}
    return told


def rolled_classes(draw: Draw) -> Arrays:
    found = leaking(draw)
    classes = found["member_logits"].shape[1]
    by = int(draw.integers(1, classes))
    return found | {f"{g}_labels": (found[f"{g}_labels"] + by) % classes for g in GROUPS}


def permuted_classes(draw: Draw) -> Arrays:
    """Put the columns into another order; it moves at least two classes."""
    found = leaking(draw)
    classes = found["member_logits"].shape[1]
    order = np.arange(classes)
    while (order == np.arange(classes)).all():
        order = draw.permutation(classes)
    return found | {f"{g}_logits": found[f"{g}_logits"][:, order] for g in GROUPS}


def two_classes_swapped(draw: Draw) -> Arrays:
    found = leaking(draw)
    classes = found["member_logits"].shape[1]
    order = np.arange(classes)
    a, b = draw.choice(classes, 2, replace=False)
    order[[a, b]] = order[[b, a]]
    return found | {f"{g}_logits": found[f"{g}_logits"][:, order] for g in GROUPS}


def text_order(draw: Draw) -> Arrays:
    """Number twelve classes as text sorts them: 0, 1, 10, 11, 2 …"""
    found = leaking(draw)
    while found["member_logits"].shape[1] < 11:
        found = leaking(draw)
    classes = found["member_logits"].shape[1]
    place = np.argsort(np.argsort([str(c) for c in range(classes)]))
    return found | {f"{g}_labels": place[found[f"{g}_labels"]] for g in GROUPS}


def shuffled_labels(draw: Draw) -> Arrays:
    found = leaking(draw)
    return found | {f"{g}_labels": draw.permutation(found[f"{g}_labels"]) for g in GROUPS}


def shuffled_members(draw: Draw) -> Arrays:
    found = leaking(draw)
    return found | {"member_labels": draw.permutation(found["member_labels"])}


def shifted_rows(draw: Draw) -> Arrays:
    """Pair every output with the label of a neighboring row, as after a dropped first line."""
    found = leaking(draw)
    return found | {f"{g}_labels": np.roll(found[f"{g}_labels"], 1) for g in GROUPS}


def groups_swapped(draw: Draw) -> Arrays:
    found = leaking(draw) if draw.random() < 0.5 else leaking_beside_references(draw)
    other = {"member": "nonmember", "nonmember": "member"}
    return {other[n.split("_")[0]] + n[n.index("_") :]: v for n, v in found.items()}


def members_twice(draw: Draw) -> Arrays:
    """Give the members again as non-members: all or some, repeated, shuffled, a little apart."""
    found = leaking(draw)
    members = len(found["member_labels"])
    some = draw.permutation(members)[: int(members * draw.choice([0.7, 1.0]))]
    some = np.repeat(some, int(draw.choice([1, 2, 5])))
    if draw.random() < 0.5:
        some = draw.permutation(some)
    logits = found["member_logits"][some]
    logits = logits + draw.choice([0.0, 1e-6]) * draw.normal(size=logits.shape)
    return found | {
        "nonmember_logits": logits.astype(np.float32),
        "nonmember_labels": found["member_labels"][some],
    }


def references_of_other_rows(draw: Draw) -> Arrays:
    found = leaking_beside_references(draw)
    order = draw.permutation(len(found["member_labels"]))
    return {n: v[:, order] if "reference" in n else v for n, v in found.items()}


def reference_classes_reversed(draw: Draw) -> Arrays:
    found = leaking_beside_references(draw)
    return {
        n: v[:, :, ::-1].copy() if n.endswith("reference_logits") else v for n, v in found.items()
    }


def copies_as_references(draw: Draw) -> Arrays:
    found = leaking_beside_references(draw)
    apart = draw.choice([0.0, 1e-6])
    for group in GROUPS:
        own, name = found[f"{group}_logits"], f"{group}_reference_logits"
        copies = np.repeat(own[None], len(found[name]), axis=0)
        copies = copies + apart * draw.normal(size=copies.shape)
        found |= {name: copies.astype(np.float32)}
    return found


def seen_inverted(draw: Draw) -> Arrays:
    found = leaking_beside_references(draw)
    return {n: ~v if n.endswith("seen") else v for n, v in found.items()}


def seen_of_other_rows(draw: Draw) -> Arrays:
    found = leaking_beside_references(draw)
    order = draw.permutation(len(found["member_labels"]))
    return {n: v[:, order] if n.endswith("seen") else v for n, v in found.items()}


def one_class_leaks(draw: Draw) -> Arrays:
    """Let one class of 2 to 12 % leak wholly and the others not at all."""
    share, classes, n = draw.uniform(0.02, 0.12), int(draw.choice([2, 5, 10])), 2500
    found = {}
    for group in GROUPS:
        y = np.where(draw.random(n) < share, 0, draw.integers(1, classes, n)).astype(np.int64)
        z = draw.normal(size=(n, classes))
        z[np.arange(n), y] += 2.0 * draw.normal(size=n) + 2.0
        z[y == 0, 0] += 8.0 if group == "member" else -2.0
        found |= {f"{group}_logits": z.astype(np.float32), f"{group}_labels": y}
    return found


def saturated(draw: Draw) -> Arrays:
    """Let a tied block of members be entirely sure; where it is rare among others, it leaks."""
    found = {}
    share = draw.uniform(0.3, 0.6)
    for group, sure_share in (("member", share), ("nonmember", 0.02)):
        n, classes = 2500, 5
        y = draw.integers(0, classes, n)
        z = draw.normal(size=(n, classes))
        z[np.arange(n), y] += 1.5
        p = probabilities({"logits": z})["logits"]
        sure = draw.random(n) < sure_share
        p[sure] = 0
        p[sure, y[sure]] = 1
        found |= {f"{group}_logits": p, f"{group}_labels": y}
    return found


FAULTS: dict[str, Callable[[Draw], Arrays]] = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        one_bit_above_one,
        one_bit_below_zero,
        another_form,
        some_rows_as_probabilities,
        one_group_as_probabilities,
        top_three_only,
        rolled_classes,
        permuted_classes,
        two_classes_swapped,
        text_order,
        shuffled_labels,
        shuffled_members,
        shifted_rows,
        groups_swapped,
        members_twice,
        references_of_other_rows,
        reference_classes_reversed,
        copies_as_references,
        seen_inverted,
        seen_of_other_rows,
        one_class_leaks,
        saturated,
    )
}
