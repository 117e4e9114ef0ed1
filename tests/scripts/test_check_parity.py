"""What `scripts/check_parity.py --smallest`, as CI runs it, leaves out: only what another network stands for."""

from __future__ import annotations

import importlib.util
from collections import Counter

from converters.mapping.variants import parameters
from tests.helpers.paths import REPOSITORY


def test_every_family_source_and_layout_has_its_smallest_network() -> None:
    spec = importlib.util.spec_from_file_location("check_parity", REPOSITORY / "scripts" / "check_parity.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    every = list(script.cases(["*"]))
    weights = {case.one.name: parameters(case.one, script.sizes_of(case.one), {}) for case in every}
    chosen = Counter()
    for layout, one, _, targets in script.smallest(every):
        for to in targets:
            chosen[layout.name, one.family, to] += 1
            assert all(
                weights[one.name] <= weights[other.name]
                for source, other, _, reached in every
                if (source.name, other.family) == (layout.name, one.family) and to in reached
            )
    assert set(chosen.values()) == {1}
    assert set(chosen) == {(case.layout.name, case.one.family, to) for case in every for to in case.targets}
    assert len(chosen) > 40
