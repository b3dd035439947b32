"""What the names job writes."""

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema
from molino.schemas.rejects import TEXT_COUNTERS, TEXT_REASONS

PEOPLE = schema(
    "names.people",
    1,
    optional("curp", pa.string(), "Population registry key; a keyed hash or null by option"),
    field("primer_apellido", pa.string(), "First surname, as written in the kept row"),
    field("segundo_apellido", pa.string(), "Second surname, as written in the kept row"),
    field("nombre", pa.string(), "Given names, as written in the kept row"),
    optional("sex", pa.string(), "H (man) or M (woman), from character 11 of the CURP; null when it is neither"),
    optional("birth_year", pa.int16(), "From characters 5 and 6 of the CURP; null when they are not digits"),
    optional("age", pa.int16(), "Reference year less birth year, in years; null when unknown or negative"),
    field("source", pa.string(), "Input file of the kept row, relative to the inputs' common folder"),
    field("line", pa.int64(), "Line of the kept row in that file; the header is line 1"),
)

APELLIDOS = schema(
    "names.apellidos",
    1,
    field("apellido", pa.string(), "Surname, as written"),
    field("frec_pri", pa.int64(), "People who bear it as first surname; 0 when below the threshold"),
    field("frec_seg", pa.int64(), "People who bear it as second surname; 0 when below the threshold"),
)

NOMBRES = schema(
    "names.nombres",
    1,
    field("nombre", pa.string(), "Given names, as written"),
    field("frec", pa.int64(), "People of this table's sex who bear it"),
    optional("edad_media", pa.float64(), "Mean age in years of everyone who bears it, of either sex, 2 decimals"),
    field("prob", pa.float64(), "frec divided by the sum of the table's frec"),
)

CONFLICTS = schema(
    "names.conflicts",
    1,
    optional("curp", pa.string(), "The repeated CURP; a keyed hash or null by option"),
    field("kept_source", pa.string(), "Input file of the kept row"),
    field("kept_line", pa.int64(), "Line of the kept row"),
    field("kept_primer_apellido", pa.string(), "First surname of the kept row"),
    field("kept_segundo_apellido", pa.string(), "Second surname of the kept row"),
    field("kept_nombre", pa.string(), "Given names of the kept row"),
    field("dropped_source", pa.string(), "Input file of the dropped row"),
    field("dropped_line", pa.int64(), "Line of the dropped row"),
    field("dropped_primer_apellido", pa.string(), "First surname of the dropped row"),
    field("dropped_segundo_apellido", pa.string(), "Second surname of the dropped row"),
    field("dropped_nombre", pa.string(), "Given names of the dropped row"),
    field("differs", list_of(pa.string(), item="item"), "Columns in which the two rows differ"),
)

REPAIRS = schema(
    "names.repairs",
    1,
    field("kind", pa.string(), "apellido or nombre"),
    field("written", pa.string(), "The name as written"),
    field("repaired", pa.string(), "The name with Ñ that it was compared with"),
    field("merged", pa.bool_(), "Whether the data proves the two to be one name"),
    field("evidence", pa.string(), "What decided: symbol, curp, same_person, contradicted or insufficient"),
    field(
        "written_people", pa.int64(), "People who bear the name as written; first plus second surname for an apellido"
    ),
    field("repaired_people", pa.int64(), "People who bear the name with Ñ"),
    field("curp_x", pa.int64(), "Bearers of the written name whose CURP has X where the name has the doubtful letter"),
    field("curp_n", pa.int64(), "Bearers of the written name whose CURP has N there"),
    field("same_person", pa.int64(), "CURPs found with both spellings"),
)

COUNTERS = {
    "rows_read": "Records read, headers apart",
    "people": "Rows kept: one for each CURP",
    "duplicates": "Rows dropped because their CURP had been kept",
    "conflicts": "Duplicates whose names differ from those of the row that was kept",
    **TEXT_COUNTERS,
    "curp.normalized": "CURPs that had to be put in capitals or freed of white space",
    "curp.format": "CURPs that do not have the form of one",
    "curp.check_digit": "CURPs whose last digit does not follow from the others: mistyped, or issued by hand",
    "curp.empty": "Rows without a CURP",
    "curp.placeholder": "Rows with what stands for no CURP: SIN CURP, NULL, XXXX, or nothing but signs",
    "curp.symbols": "Of these, rows whose CURP is nothing but signs, or a comment",
    "curp.invalid": "Rows with any other CURP of a wrong form or last digit",
    "curp.quoted": "Of these, rows whose CURP stands in quotes",
    "curp.shared": "Rows that share no name with the first row of their CURP, where it has five such rows or more",
    "curp.in_name": "Rows in which a CURP stood in a column of names, and was masked",
    "curp.letter_17": "Rows with a valid CURP of someone born from 2000 on",
    "sex.x": "People whose CURP says X; they are in no table of given names",
    "sex.unknown": "People whose CURP says neither H, M nor X; they are in no table of given names",
    "birth_year.unknown": "People whose CURP holds no birth year",
    "age.negative": "People born after the reference year; their age counts as unknown",
    "age.over_100": "People who were over 100 years old in the reference year",
    "apellidos": "Surnames: rows of that table, like the next ones",
    "hombres": "Given names of men",
    "mujeres": "Given names of women",
    "rare.apellidos": "Surnames that are not in that table, since fewer people than --min-count bear them",
    "rare.hombres": "Given names of men that are not in it, likewise",
    "rare.mujeres": "Given names of women that are not in it, likewise",
    "apellidos_repaired": "Surnames, with Ñ put back",
    "hombres_repaired": "Given names of men, with Ñ put back",
    "mujeres_repaired": "Given names of women, with Ñ put back",
    "repairs": "Names that may have lost their Ñ",
}

REASONS = {
    **TEXT_REASONS,
    "curp_empty": "No CURP; only with --missing-curp reject or --invalid-curp reject",
    "curp_placeholder": "What stands for no CURP; likewise",
    "curp_symbols": "A CURP of nothing but signs, or a comment; likewise",
    "curp_format": "A CURP of a wrong form; only with --invalid-curp reject or --missing-curp reject",
    "curp_check_digit": "A CURP with a wrong check digit; likewise",
}
