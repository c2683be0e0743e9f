"""`CLAIMS`: what the documents say of attacks in figures, computed from committed cells.

A claim is the document's own words with the figures left out.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.claimed_figures import (
    HEADINGS,
    ahead,
    covered,
    mean,
    of_kind,
    of_table,
    other_accuracy,
    sharpened,
)

RMIA_OF_ONE = "RMIA offline, 1 for each row"
LIRA = "LiRA online, fixed variance"
DEFENSES = "docs/defenses.md"
ALL = ("location30", "banking77", "cifar100-alexnet")


def pairs(kind: str, *labels: str) -> list[float]:
    return [mean(data, kind, label) for data in ALL for label in labels]


CLAIMS: list[tuple[str, str, Callable[[], list[float]]]] = [
    (
        "docs/attacks.md",
        "is ahead of the loss on dense models (AUC {} against {}, {} against {}, {} against {})",
        lambda: pairs("dense", RMIA_OF_ONE, "loss"),
    ),
    (
        "docs/attacks.md",
        "the loss sees {} and LiRA {}; on Banking77 {} and {}, on CIFAR-100 {} and {}.",
        lambda: pairs("compressed", "loss", LIRA),
    ),
    (
        "docs/attacks.md",
        "(`pair`: {}, {} and {})",
        lambda: pairs("compressed", "pair: the dense model, too"),
    ),
    (
        "docs/attacks.md",
        "on CIFAR-100 to {} against {}.",
        lambda: [mean("cifar100-alexnet", "compressed", name) for name in (RMIA_OF_ONE, "loss")],
    ),
    (
        "docs/table.md",
        "the random mask on Banking77 ({}), which",
        lambda: [of_table("table", "banking77-0.05-static", "strongest")],
    ),
    (
        "docs/table.md",
        "on CIFAR-100 the lottery ticket ({}), right",
        lambda: [of_table("table", "cifar100-alexnet-0.05-lottery", "strongest")],
    ),
    (
        "docs/table.md",
        "the safest of them HAMP with {}.",
        lambda: [of_table("table", "synthetic-0.05-hamp", "strongest")],
    ),
    (
        "docs/table.md",
        "temperatures of 1, .5, .25 and .1 give {}, {}, {} and {}:",
        lambda: [covered(f"banking77-0.05-temperature {t}") for t in ("1", "0.5", "0.25", "0.1")],
    ),
    (
        "docs/table.md",
        "The synthetic set agrees ({} at 2, {} at 1, {} at .25).",
        lambda: [covered(f"synthetic-0.05-temperature {t}") for t in ("2", "1", "0.25")],
    ),
    (
        "docs/table.md",
        "the neural attack sees who is fitted ({} at .5, {} at 1)",
        lambda: [covered(f"location30-0.05-temperature {t}") for t in ("0.5", "1")],
    ),
    (
        "docs/table.md",
        "at .05 dropout ({}) and HAMP ({}), then SNIP and lottery tickets ({}), soft labels and "
        "the default ({}) after them; at .1 the default, dropout ({}) after it",
        lambda: [
            *(covered(f"synthetic-0.05-{m}", "table") for m in ("dropout", "hamp", "snip")),
            covered("synthetic-0.05-safecompress", "table"),
            covered("synthetic-0.1-dropout", "table"),
        ],
    ),
    (
        "docs/defenses.md",
        "RMIA an AUC of {} in the pruned one",
        lambda: [of_table("table", "banking77-0.05-mia-pruning", "rmia")],
    ),
    (
        "docs/attacks.md",
        "on Location30 they find {} where `learnt-references` finds {}. Of pruning by magnitude "
        "they find {} of {}. HAMP, whose answers are flat, leaks more there than the dense model "
        "does: {} against {}; attacks on the answer alone find {}. Whoever holds the dense model "
        "as well as a student finds {},",
        lambda: [
            *(of_kind(m, k) for m in ("student", "magnitude") for k in ("label", "comparison")),
            *(of_kind(m, "comparison") for m in ("hamp", "dense")),
            of_kind("hamp", "vector"),
            of_kind("student", "versions"),
        ],
    ),
    (
        "README.md",
        "in students above all: {} instead of {} on Location30.",
        lambda: [of_kind("student", kind) for kind in ("comparison", "label")],
    ),
    *(
        (
            "docs/attacks.md",
            f"{heading} Accuracy on other rows: dense {{}}, compressed {{}}.",
            lambda data=data: other_accuracy(data),
        )
        for heading, data in HEADINGS.items()
    ),
    (
        "docs/table.md",
        "the 17 alone have an accuracy of 76.6 % and an AUC of {}.",
        lambda: [sharpened()],
    ),
    (
        "docs/table.md",
        "come second, by {} at .05 and {} at .1;",
        lambda: [
            ahead("table", "0.05", "student", ("location30", "banking77", "synthetic", ALL[2])),
            ahead("table", "0.1", "student", ("location30", "banking77", "synthetic")),
        ],
    ),
    (
        "docs/table.md",
        "rises by 3 points and the AUC falls by {}.",
        lambda: [
            of_table("students", "banking77-0.05-temperature 1", "strongest")
            - of_table("students", "banking77-0.05-temperature 0.1", "strongest")
        ],
    ),
    (
        "docs/table.md",
        "the tests took it on Banking77 for every model ({}).",
        lambda: [covered("banking77-0.05-search with 0.25 1 and 2")],
    ),
    (
        "docs/table.md",
        "and .04 of AUC ({}).",
        lambda: [covered("location30-0.05-8 teachers each without 2 folds")],
    ),
    (
        "docs/table.md",
        "does as well on Banking77 ({}) and the synthetic set ({});",
        lambda: [
            covered(f"{data}-0.05-snip then temperature 0.1") for data in ("banking77", "synthetic")
        ],
    ),
    (
        "docs/table.md",
        "the default is ahead by {} of students with flattened labels, by {} of soft labels, by {} "
        "of SNIP.",
        lambda: [
            ahead("table-seed500", "0.05", m, ("location30", "banking77", "synthetic"))
            for m in ("student", "soft-labels", "snip")
        ],
    ),
    (
        "docs/table.md",
        "and behind SNIP on the synthetic set ({},",
        lambda: [-ahead("table-seed500", "0.05", "snip", ("synthetic",))],
    ),
]
"""The document, its words with {} for each figure, and the figures."""

EXEMPT = {
    "docs/table.md": (
        "finds .512 ± .001 in simulated outputs",
        "in place of .500; with 20 models, and by every other attack, .500.",
        "(p .02, .01, .007)",
        "p .009)",
    ),
}
"""Figures to three digits that no cell holds: of simulations, and p values of tests."""
