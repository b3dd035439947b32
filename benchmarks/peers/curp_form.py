"""The form of a CURP as a regular expression, for the peers that check it."""

STATES = "AS BC BS CC CL CM CS CH DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS NE"
DATE = "(0[13578]|1[02])(0[1-9]|[12][0-9]|3[01])|(0[469]|11)(0[1-9]|[12][0-9]|30)|02(0[1-9]|[12][0-9])"
FORM = f"[A-Z][AEIOUX][A-Z]{{2}}[0-9]{{2}}({DATE})[HMX]({STATES.replace(' ', '|')})[B-DF-HJ-NP-TV-Z]{{3}}[A-Z0-9][0-9]"
