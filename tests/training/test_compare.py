import numpy as np

from molino.training import compare


def test_models_of_other_sizes_are_compared_too():
    assert compare.read_traits("es-dim16-norm") == {"language": "es", "normalized": "yes", "dim": "16"}
    traits = [compare.read_traits(f"es-dim{dim}") for dim in (16, 8, 4)]
    members = [[0, 1], [2, 3], [4, 5]]
    numbers = np.array([0.9, 0.9, 0.8, 0.8, 0.5, 0.5])
    effects = compare.find_effects(traits, members, numbers, lambda own: np.full(10, numbers[own].mean()), 10, 0)
    assert [(*(one[name] for name in ("factor", "high", "low")), round(one["difference"], 6)) for one in effects] == [
        ("dim", "16", "8", 0.1),
        ("dim", "8", "4", 0.3),
    ]
