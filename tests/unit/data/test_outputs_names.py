"""No array of a file of outputs is lost by a mistake in its name."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from safecompress import audit
from safecompress.data import read_outputs
from safecompress.data.outputs_names import KNOWN, unread
from safecompress.errors import DataError
from tests.recorded_outputs import arrays, saved, with_references
from tests.support import count

MEANT = [name for name in KNOWN if "reference" in name or name == "class_names"]


def _mistaken(name: str, draw: random.Random) -> str:
    """Return a name with a letter lost, doubled, changed or swapped, or in capitals."""
    at = draw.randrange(len(name) - 1)
    letter = draw.choice(string.ascii_lowercase)
    return draw.choice(
        [
            name[:at] + name[at + 1 :],
            name[:at] + letter + name[at:],
            name[:at] + letter + name[at + 1 :],
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name.upper(),
            name.removesuffix("s"),
        ]
    )


@pytest.mark.parametrize("seed", range(count(40, 2000)))
def test_a_name_with_a_mistake_is_refused_and_the_right_one_is_named(seed: int) -> None:
    draw = random.Random(seed)
    meant = draw.choice(MEANT)
    wrong = _mistaken(meant, draw)
    if wrong in KNOWN or wrong.startswith(("member_group_", "nonmember_group_")):
        pytest.skip("another known name")
    present = [wrong if name == meant else name for name in KNOWN]
    with pytest.raises(DataError, match=r"nothing reads the array|of both groups|but no member"):
        unread(present, Path("a.npz"))


def test_references_under_another_name_are_not_left_out_of_an_audit(tmp_path: Path) -> None:
    found = with_references(200, leak=1.0)
    for group in ("member", "nonmember"):
        found[f"{group}_reference_logit"] = found.pop(f"{group}_reference_logits")
    with pytest.raises(DataError, match="has member_reference_seen, but no member_reference_logit"):
        audit(saved(tmp_path, found))
    for group in ("member", "nonmember"):
        del found[f"{group}_reference_seen"]
    with pytest.raises(DataError, match="did you mean 'member_reference_logits'"):
        audit(saved(tmp_path, found))


def test_what_is_of_one_group_only_is_refused(tmp_path: Path) -> None:
    found = with_references(200)
    del found["nonmember_reference_seen"]
    with pytest.raises(DataError, match="member_reference_seen only; expected that of both"):
        read_outputs(saved(tmp_path, found))


def test_other_arrays_are_named_and_do_no_harm(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(200, customer_ids=[1, 2], when=[3.0]))
    assert read_outputs(path).remarks[-1].endswith("of the file: customer_ids, when.")
    assert read_outputs(saved(tmp_path, arrays(200))).remarks == ()
