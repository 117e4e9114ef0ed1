"""What `scripts/check_parity.py --smallest`, as CI runs it, leaves out: only what another network stands for."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter

from converters.mapping.variants import parameters
from tests.helpers.paths import REPOSITORY


def test_every_family_source_and_layout_has_its_smallest_network() -> None:
    spec = importlib.util.spec_from_file_location("check_parity", REPOSITORY / "scripts" / "check_parity.py")
    script = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    every = list(script.cases(["*"]))
    weights = {
        case.variant.name: parameters(case.variant, script.sizes_of(case.variant), {}) for case in every
    }
    chosen = Counter()
    for case in script.smallest(every):
        for target in case.targets:
            chosen[case.layout.name, case.variant.family, target] += 1
            assert all(
                weights[case.variant.name] <= weights[other.variant.name]
                for other in every
                if (other.layout.name, other.variant.family) == (case.layout.name, case.variant.family)
                and target in other.targets
            )
    assert set(chosen.values()) == {1}
    assert set(chosen) == {
        (case.layout.name, case.variant.family, target) for case in every for target in case.targets
    }
    assert len(chosen) > 40
