"""The spellings of a name with Ñ: which are merged, on what evidence, and what is conserved."""

import doctest
import itertools
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molino.schemas.names import REPAIRS
from molino.transforms.names import repair as module
from molino.transforms.names.repair import (
    BROKEN,
    apply_repairs,
    curp_evidence,
    plan_repairs,
    same_person_counts,
    skeleton,
)

NUMBERS = ("a", "b", "curp_x", "curp_n", "same_person")
COUNTS = pa.schema([pa.field("name", pa.string(), nullable=False), *(pa.field(n, pa.int64()) for n in NUMBERS)])
VOWELS = set("AEIOUÁÉÍÓÚÜ")
PASSED_OVER = {"DA", "DAS", "DD", "DE", "DEL", "DER", "DI", "DIE", "EL", "LA", "LAS", "LE", "LES", "LOS", "MAC", "MC"}
PASSED_OVER |= {"MI", "VAN", "VON", "Y"}
COMMON = {"MARIA", "MARÍA", "MA", "MA.", "M.", "JOSE", "JOSÉ", "J", "J."}

# Few letters, so that spellings of one name meet often.
words = st.lists(st.sampled_from(["N", "Ñ", "!", "Ï¿½", "U", "VAN"]), min_size=1, max_size=3).map("".join)
prefixes = st.sampled_from(["", "", "", "", "", "DE ", "DE LA ", "VAN ", "MARIA ", "JOSE ", "MA. ", "MARIA DE LOS "])
names_ = st.builds("".join, st.tuples(prefixes, words, st.sampled_from(["", " NUÑO", " DE"])))
amounts = st.integers(0, 12)
counts_ = st.dictionaries(names_, st.tuples(*[amounts] * len(NUMBERS)), max_size=30).map(
    lambda rows: counts_of(*((name, *numbers) for name, numbers in rows.items()))
)


def counts_of(*rows):
    """A table of counts from (name, a, b, curp_x, curp_n, same_person), of which the last may be left out as 0."""
    return pa.Table.from_pylist(
        [dict(zip(COUNTS.names, (*row, 0, 0, 0, 0, 0), strict=False)) for row in rows], schema=COUNTS
    )


def plan(*rows, kind="apellido", **options):
    """The repairs as (written, repaired, merged, evidence)."""
    repairs = plan_repairs(counts_of(*rows), kind=kind, **options)
    return [(r["written"], r["repaired"], r["merged"], r["evidence"]) for r in repairs.to_pylist()]


def evidence_of(name, letters, *, given=False):
    codes = np.zeros(len(letters), np.int64)
    x, n = curp_evidence(pa.array([name]), codes, np.frombuffer(letters.encode(), np.uint8), is_given=given)
    return int(x[0]), int(n[0])


def kept_letter(name, *, given):
    """The letter that a CURP keeps of a name, as the rule reads; ! for any broken sequence."""
    for sequence in BROKEN:
        name = name.replace(sequence, "!")
    first, *rest = name.split(" ")
    if given and first in COMMON and rest:
        first, *rest = rest
    while first in PASSED_OVER and rest:
        first, *rest = rest
    return next((letter for letter in first[1:] if letter not in VOWELS), "X")


# skeleton


def test_spellings_of_one_name_share_a_skeleton():
    names = ["MUÑOZ", "MUNOZ", *(f"MU{sequence}OZ" for sequence in BROKEN)]
    assert set(skeleton(pa.array(names)).to_pylist()) == {"MUNOZ"}


def test_other_names_are_their_own_skeleton():
    names = pa.array(["GARCIA", None, "", "JOSÉ", "MA. DE LOS ANGELES", "ARGÜELLO", "N/A"])
    assert skeleton(names).equals(names)


@given(st.lists(names_))
def test_skeleton_is_idempotent(names):
    once = skeleton(pa.array(names, pa.string()))
    assert skeleton(once).equals(once)
    assert not any(sequence in name for name in once.to_pylist() for sequence in (*BROKEN, "Ñ"))


# curp_evidence


@pytest.mark.parametrize(
    ("name", "informative"),
    [
        ("MUNOZ", True),
        ("MU!OZ", True),
        ("MUÏ¿½OZ", True),
        ("AUNON", True),
        ("INIGUEZ", True),
        ("MÚNOZ", True),
        ("CASTANEDA", False),  # keeps S
        ("CASTA%EDA", False),
        ("ORDONEZ", False),
        ("NIETO", False),  # its N is the first letter, which is not internal
        ("!IETO", False),
        ("Ã¿UNEZ", True),
        ("GARCIA", False),
        ("MUÑOZ", False),  # not doubtful
        ("O.NUEZ", False),  # the CURP has X for the dot
        ("", False),
        # compound surnames
        ("DE LA PENA", True),
        ("DE LA PE#A", True),
        ("DE LEON", True),  # its only consonant inside
        ("DEL PINO", True),
        ("MC NEIL", False),
        ("Y MUNOZ", True),
        ("VAN DYKE", False),  # VAN itself is passed over
        ("VON MUNOZ", True),
        ("VAN", True),  # unless it is the whole name
        ("NUNEZ DE CACERES", True),
        ("GARCIA NUNEZ", False),
        ("DELNO", False),  # DEL only as a word
    ],
)
def test_only_the_kept_letter_is_evidence(name, informative):
    assert evidence_of(name, "XXNXS?") == ((3, 1) if informative else (0, 0))


@pytest.mark.parametrize(
    ("name", "as_given", "as_surname"),
    [
        ("MARIA INES", True, False),
        ("JOSE INAKI", True, False),
        ("MA. DE LOS ANGELES", True, False),
        ("MARIA DE LOS ANGELES", True, False),
        ("J. INES", True, False),
        ("M. INES", True, False),
        ("MA ENA", True, False),
        ("MARIA JOSE INES", False, False),  # one common name is passed over, not two
        ("MARIA", False, False),
        ("MARIANA", False, False),
        ("INES MARIA", True, True),
        ("ANA MARIA", True, True),
        ("MA! GUADALUPE", True, True),  # harmless: no Spanish name is MAÑ, so it has no candidate
    ],
)
def test_common_given_names_are_passed_over(name, as_given, as_surname):
    assert evidence_of(name, "XXN", given=True) == ((2, 1) if as_given else (0, 0))
    assert evidence_of(name, "XXN", given=False) == ((2, 1) if as_surname else (0, 0))


@given(st.lists(names_, unique=True, max_size=20), st.booleans(), st.data())
def test_curp_evidence_agrees_with_a_loop_over_the_rows(names, is_given, data):
    rows = data.draw(
        st.lists(st.tuples(st.integers(0, len(names) - 1), st.sampled_from("XNS\0")), max_size=50)
        if names
        else st.just([])
    )
    expected = Counter((c, l) for c, l in rows if kept_letter(names[c], given=is_given) in "N!")  # noqa: E741
    codes = np.array([code for code, _ in rows], np.int32)
    letters = np.array([ord(letter) for _, letter in rows], np.uint8)
    x, n = curp_evidence(pa.array(names, pa.string()), codes, letters, is_given=is_given)
    assert (x.dtype, n.dtype) == (np.int64, np.int64)
    assert x.tolist() == [expected[code, "X"] for code in range(len(names))]
    assert n.tolist() == [expected[code, "N"] for code in range(len(names))]


# same_person_counts


def test_same_person_counts_pairs_with_and_without_the_ene():
    pairs = [
        ("MUÑOZ", "MUNOZ"),
        ("MUNOZ", "MUÑOZ"),
        ("MU!OZ", "MUÑOZ"),
        ("PEÑA MUÑOZ", "PEÑA MU%OZ"),  # both have an Ñ; one lacks its second
        ("MUÑOZ", "MUÑOZ"),  # equal
        ("MUNOZ", "MU!OZ"),  # neither has it
        ("MU!OZ", "MU%OZ"),
        ("MUÑOZ", "PENA"),  # other names
        ("PENA MU!OZ", "PEÑA MUÑOZ"),  # no single step from one to the other
        ("PENA MUNOZ", "PEÑA MU!OZ"),
        (None, "MUÑOZ"),
    ]
    kept, dropped = (pa.array(side, pa.string()) for side in zip(*pairs, strict=True))
    people = same_person_counts(kept, dropped)
    assert people.to_pylist() == [
        {"name": "MU!OZ", "people": 1},
        {"name": "MUNOZ", "people": 2},
        {"name": "PEÑA MU%OZ", "people": 1},
    ]
    assert same_person_counts(dropped, kept).equals(people)


def test_same_person_counts_of_nothing():
    empty = pa.array([], pa.string())
    people = same_person_counts(empty, empty)
    assert people.schema.names == ["name", "people"]
    assert people.schema.types == [pa.string(), pa.int64()]
    assert people.num_rows == 0


@given(st.lists(st.tuples(names_, names_), max_size=10))
def test_same_person_counts_only_what_plan_repairs_compares(pairs):
    kept, dropped = (pa.array([pair[side] for pair in pairs], pa.string()) for side in (0, 1))
    expected: Counter[str] = Counter()
    for pair in pairs:
        for repair in plan(*((name, 9) for name in set(pair))):
            expected[repair[0]] += 1
    found = same_person_counts(kept, dropped).to_pylist()
    assert {row["name"]: row["people"] for row in found} == expected


# plan_repairs


@pytest.mark.parametrize("sequence", BROKEN)
def test_a_symbol_proves_the_name(sequence):
    assert plan((f"MU{sequence}OZ", 1), ("MUÑOZ", 3, 2)) == [(f"MU{sequence}OZ", "MUÑOZ", True, "symbol")]


def test_every_broken_sequence_of_a_name_is_repaired_at_once():
    assert plan(("NU!O MU%OZ", 1), ("NUÑO MUÑOZ", 5), ("NUÑO MU%OZ", 5)) == [
        ("NU!O MU%OZ", "NUÑO MUÑOZ", True, "symbol"),
        ("NUÑO MU%OZ", "NUÑO MUÑOZ", True, "symbol"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [("MA! GUADALUPE", 16), ("MA GUADALUPE", 90), ("MARIA GUADALUPE", 900)],  # there is no MAÑ GUADALUPE
        [("MU!OZ", 90), ("MUNOZ", 90), ("MUÑOZ", 2, 2)],  # too few bear it
        [("MU!OA", 90), ("MUNOZ", 90)],
        [("MUÑOZ", 90), ("MUNOS", 90), ("MUÑOS", 4)],
        [("PENA MUNOZ", 90), ("PEÑA MU!OZ", 90)],  # its Ñ is itself in doubt
        [("NUÑEZ", 90), ("ÑUNEZ", 90)],  # each has its Ñ
        [],
    ],
)
def test_without_a_name_with_ene_there_is_no_candidate(rows):
    assert plan(*rows) == []


@pytest.mark.parametrize(
    ("x", "n", "same_person", "merged", "evidence"),
    [
        (9, 1, 0, True, "curp"),  # nine in ten is enough
        (90, 11, 0, False, "contradicted"),
        (5, 0, 0, True, "curp"),
        (4, 0, 0, False, "insufficient"),
        (3, 1, 0, False, "insufficient"),
        (4, 1, 0, False, "contradicted"),
        (0, 0, 1, False, "insufficient"),
        (0, 0, 2, True, "same_person"),
        (3, 1, 2, True, "same_person"),  # too few CURPs to contradict it
        (4, 1, 9, False, "contradicted"),
        (9, 1, 9, True, "curp"),
        (0, 50, 0, False, "contradicted"),
    ],
)
def test_what_proves_that_munoz_is_muñoz(x, n, same_person, merged, evidence):
    assert plan(("MUNOZ", 50, 0, x, n, same_person), ("MUÑOZ", 9)) == [("MUNOZ", "MUÑOZ", merged, evidence)]


@pytest.mark.parametrize(("x", "n", "evidence"), [(9, 1, "symbol"), (4, 1, "contradicted"), (1, 3, "symbol")])
def test_the_curp_may_contradict_a_symbol(x, n, evidence):
    assert plan(("MU!OZ", 50, 0, x, n), ("MUÑOZ", 9)) == [("MU!OZ", "MUÑOZ", evidence == "symbol", evidence)]


def test_few_people_and_little_evidence_decide_nothing():
    rows = [("MUNOZ", 50, 0, 5, 0), ("MUÑOZ", 2)]
    assert plan(*rows, min_count=3) == []
    assert plan(*rows, min_count=2) == [("MUNOZ", "MUÑOZ", True, "curp")]
    assert plan(("MUNOZ", 50, 0, 4, 0), rows[1], min_count=2) == [("MUNOZ", "MUÑOZ", False, "insufficient")]


def test_of_several_names_with_ene_the_commonest_is_compared():
    assert plan(("NUNEZ", 9), ("ÑUNEZ", 5), ("NUÑEZ", 3, 3))[0][1] == "NUÑEZ"
    assert plan(("NUNEZ", 9), ("ÑUNEZ", 7), ("NUÑEZ", 3, 3))[0][1] == "ÑUNEZ"
    assert plan(("NUNEZ", 9), ("ÑUNEZ", 6), ("NUÑEZ", 3, 3))[0][1] == "NUÑEZ"


def test_the_curp_is_no_evidence_for_an_ene_that_it_does_not_keep():
    # The CURPs of NUNEZ tell whether it is NUÑEZ. Of ÑUNEZ they say nothing, though its N is counted.
    (repair,) = plan_repairs(counts_of(("NUNEZ", 90, 0, 1, 80), ("ÑUNEZ", 9)), kind="apellido").to_pylist()
    assert (repair["evidence"], repair["curp_x"], repair["curp_n"]) == ("insufficient", 0, 0)


def test_the_kind_decides_which_word_the_curp_keeps():
    rows = [("MARIA INAKI", 9, 0, 9, 0), ("MARIA IÑAKI", 9)]
    assert plan(*rows, kind="nombre") == [("MARIA INAKI", "MARIA IÑAKI", True, "curp")]
    assert plan(*rows, kind="apellido") == [("MARIA INAKI", "MARIA IÑAKI", False, "insufficient")]


def test_repairs_hold_the_counts_and_are_sorted():
    counts = counts_of(
        ("PEÑA", 50, 50),
        ("MUÑOZ", 60, 40),
        ("NUÑO", 200),
        ("MUNOZ", 9, 1, 7, 8, 9),
        ("MU!OZ", 4, 3, 2, 0, 1),
        ("PE%A", 1),
        ("NUNO", 1),
    )
    repairs = plan_repairs(counts, kind="apellido")
    assert repairs.schema.equals(REPAIRS, check_metadata=True)
    assert [tuple(row.values()) for row in repairs.to_pylist()] == [
        ("apellido", "NUNO", "NUÑO", False, "insufficient", 1, 200, 0, 0, 0),
        ("apellido", "MU!OZ", "MUÑOZ", True, "symbol", 7, 100, 2, 0, 1),
        ("apellido", "MUNOZ", "MUÑOZ", False, "contradicted", 10, 100, 7, 8, 9),
        ("apellido", "PE%A", "PEÑA", True, "symbol", 1, 100, 0, 0, 0),
    ]


def rows_of(table):
    return sorted(map(tuple, (row.values() for row in table.to_pylist())))


@given(counts_, st.sampled_from(["apellido", "nombre"]))
def test_the_plan_does_not_depend_on_the_partition(counts, kind):
    whole = plan_repairs(counts, kind=kind)
    skeletons = skeleton(counts["name"].combine_chunks())
    parts = [plan_repairs(counts.filter(pc.equal(skeletons, one)), kind=kind) for one in skeletons.unique()]
    assert rows_of(whole) == rows_of(pa.concat_tables([REPAIRS.empty_table(), *parts]))


@given(counts_, st.randoms())
def test_the_plan_does_not_depend_on_the_order(counts, random):
    order = random.sample(range(counts.num_rows), counts.num_rows)
    shuffled = counts.take(pa.array(order, pa.int64()))
    assert plan_repairs(shuffled, kind="apellido").equals(plan_repairs(counts, kind="apellido"))


def spellings(name):
    """Every name that differs from this one by Ñ in the place of one or more N."""
    return {"".join(letters) for letters in itertools.product(*("NÑ" if c == "N" else c for c in name))} - {name}


@given(counts_)
def test_candidates_agree_with_the_definition(counts):
    people = {row["name"]: row["a"] + row["b"] for row in counts.to_pylist()}
    expected = {}
    for name in people:
        restored = name
        for sequence in BROKEN:
            restored = restored.replace(sequence, "Ñ")
        by_letter = set() if "Ñ" in name else spellings(name)
        possible = {restored} if restored != name else by_letter
        possible = {other for other in possible if people.get(other, 0) >= 5}
        if possible:
            expected[name] = min(possible, key=lambda other: (-people[other], other))
    repairs = plan_repairs(counts, kind="apellido").to_pylist()
    assert {row["written"]: row["repaired"] for row in repairs} == expected
    assert len(repairs) == len(expected)


# apply_repairs


def test_merged_names_are_added_up():
    counts = counts_of(
        ("PEREZ", 8, 8), ("MUÑOZ", 60, 40), ("MUNOZ", 9, 1, 9), ("MU!OZ", 4, 3), ("PENA", 3), ("PEÑA", 9)
    )
    counts = counts.append_column(pa.field("age_sum", pa.int64()), pa.array([1, 2, 4, 8, 16, 32]))
    repaired = apply_repairs(counts, plan_repairs(counts, kind="apellido"))
    assert repaired.select(["name", "a", "b", "age_sum"]).to_pylist() == [
        {"name": "MUÑOZ", "a": 73, "b": 44, "age_sum": 14},
        {"name": "PENA", "a": 3, "b": 0, "age_sum": 16},
        {"name": "PEREZ", "a": 8, "b": 8, "age_sum": 1},
        {"name": "PEÑA", "a": 9, "b": 0, "age_sum": 32},
    ]


def test_a_repaired_name_need_not_be_in_the_counts():
    # One sex may bear only the broken spelling.
    repairs = plan_repairs(counts_of(("IÑAKI", 5), ("I!AKI", 0, 2)), kind="nombre")
    women = pa.table({"name": ["I!AKI"], "frec": [2]})
    assert apply_repairs(women, repairs).to_pylist() == [{"name": "IÑAKI", "frec": 2}]


@given(counts_)
def test_every_column_is_conserved(counts):
    repairs = plan_repairs(counts, kind="apellido")
    repaired = apply_repairs(counts, repairs)
    assert repaired.schema.equals(counts.schema, check_metadata=True)
    for column in NUMBERS:
        assert sum(repaired[column].to_pylist()) == sum(counts[column].to_pylist())
    names = repaired["name"].to_pylist()
    assert names == sorted(names)
    assert set(names) == set(counts["name"].to_pylist()) - set(repairs.filter(repairs["merged"])["written"].to_pylist())


@given(counts_)
def test_repairs_agree_with_a_loop_over_the_names(counts):
    repairs = plan_repairs(counts, kind="apellido").to_pylist()
    renamed = {row["written"]: row["repaired"] for row in repairs if row["merged"]}
    expected: dict[str, list[int]] = defaultdict(lambda: [0] * len(NUMBERS))
    for name, *numbers in (row.values() for row in counts.to_pylist()):
        for position, number in enumerate(numbers):
            expected[renamed.get(name, name)][position] += number
    repaired = apply_repairs(counts, plan_repairs(counts, kind="apellido"))
    assert {name: numbers for name, *numbers in (row.values() for row in repaired.to_pylist())} == expected


# all of it


def test_nothing_gives_nothing():
    empty = COUNTS.empty_table()
    repairs = plan_repairs(empty, kind="nombre")
    assert repairs.equals(REPAIRS.empty_table())
    assert apply_repairs(empty, repairs).equals(empty)
    x, n = curp_evidence(pa.array([], pa.string()), np.array([], np.int64), np.array([], np.uint8), is_given=True)
    assert len(x) == len(n) == 0
    assert len(skeleton(pa.array([], pa.string()))) == 0


def test_from_the_rows_to_the_repaired_counts():
    """MUNOZ whose CURPs have X is MUÑOZ; PENA whose CURPs have N are another family, and stay."""
    rows = [*[("MUÑOZ", "X")] * 9, *[("MUNOZ", "X")] * 6, *[("MU?OZ", "X")] * 3]
    rows += [
        *[("PEÑA", "X")] * 7,
        *[("PENA", "N")] * 4,
        *[("PENA", "X")] * 2,
        *[("CASTAÑEDA", "S")] * 5,
        ("CASTANEDA", "S"),
    ]
    encoded = pa.array([name for name, _ in rows]).dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary
    x, n = curp_evidence(names, codes, np.array([ord(letter) for _, letter in rows], np.uint8), is_given=False)
    zero = np.zeros(len(names), np.int64)
    numbers = [np.bincount(codes), zero, x, n, zero]
    counts = pa.table([names, *numbers], schema=COUNTS)
    repaired = apply_repairs(counts, plan_repairs(counts, kind="apellido"))
    assert dict(zip(repaired["name"].to_pylist(), repaired["a"].to_pylist(), strict=True)) == {
        "CASTANEDA": 1,
        "CASTAÑEDA": 5,
        "MUÑOZ": 18,
        "PENA": 6,
        "PEÑA": 7,
    }


def test_doctests():
    assert doctest.testmod(module).failed == 0
